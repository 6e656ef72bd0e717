// Piecewise-linear kernels for one block with one input (core/piecewise_linear.hpp has the terms): the table of its
// pieces, the look-up of points in it, their moments, and the gradient from these.
#pragma once

#include <cstdint>

#include "core/piecewise_linear.hpp"
#include "cpu/levels/block_tile.hpp"

namespace pn::cpu {

// Places [first, end) on which a unit of layer 2 is active; next: the unit's next range, -1: none.
struct OnRange {
  std::int32_t first, end, next;
};

// The pieces of one block. Arrays belong to the caller.
struct Pieces {
  std::int64_t breakpoint_capacity, range_capacity;
  std::int64_t count = 0;     // n, number of distinct breakpoints
  std::int64_t ranges = 0;    // in use
  bool finite = true;         // no parameter is NaN or infinite
  double* breakpoint;         // (capacity,) ascending
  std::int32_t* cell;         // (capacity + 1,) grid cell of each breakpoint; after the last one, the number of cells
  double* line;               // (2 capacity + 1, 2) slope and intercept at each place, in the slot table that is in use
  std::int32_t* edge;         // (width,) a unit of layer 1 is active on places [0, edge), or
  std::uint8_t* rises;        // (width,) where this is 1, on [edge, 2n + 1)
  std::int32_t* first_range;  // (width,) of a unit of layer 2; -1: dead
  OnRange* range;             // (range capacity,)
  std::int32_t* order;        // (width,) units of layer 1 by hinge, kept from one build to the next
};

PN_INLINE std::int64_t places(const Pieces& pieces) { return 2 * pieces.count + 1; }

// Units of a row of the build's scratch: the width, rounded up to whole vectors of any level.
constexpr std::int64_t kRowUnits = 8;
PN_INLINE std::int64_t padded_units(std::int64_t width) { return (width + kRowUnits - 1) / kRowUnits * kRowUnits; }

PN_INLINE std::int64_t w2t_stride(std::int64_t width) { return (width + 15) / 16 * 16; }  // whole tiles of any level

struct ZeroCrossing {
  double at;
  double slope, intercept;  // of w3_k z_k: what the block's function gains (rises) or loses there
  std::int32_t unit, pass;
  bool rises;
};

// A hinge on the walk from left to right.
template <class T>
struct HingePass {
  double at;
  double w, b;                 // what rises there: w1 and b1 of the unit, or zeros
  const T* column;             // of W2, the unit's
  std::int32_t falling_after;  // units that fall right of it
};

// Units of layer 2 that walk together, at most.
constexpr std::int64_t kWalkUnits = 32;

// Working memory of a build.
template <class T>
struct BuildScratch {
  double* hinge;          // (width,)
  piecewise::Side* side;  // (width,)
  std::int32_t* on;       // (width + 1,) units of layer 1 that are always on
  // The rest: with two hidden layers only.
  std::int32_t* falling;   // (width,) units that fall, from the right
  T* w2t;                  // (stride, stride) W2 transposed
  const T* zeros;          // (width,)
  HingePass<T>* pass;      // (width,)
  std::int32_t* pass_end;  // (width,) of the hinges at one place
  // Each layer-2 preactivation is a sum over the units that are on or rise, from the left, and over those that fall,
  // from the right, so that nothing is ever subtracted. Row r of the latter has the r rightmost ones.
  double* fall_sum;                // (width + 1, 2 kWalkUnits) slopes and intercepts
  double* line_sum;                // (width + 1, 2, lanes) of the block's function at the left end of each interval
  double* w3;                      // (padded,)
  std::int64_t crossing_capacity;  // with room for a vector of them beyond the last
  ZeroCrossing* crossing;          // (crossing capacity,)
  std::int32_t* crossing_order;    // the same
  std::int32_t *crossing_first, *crossing_next;  // (width + 2,) by interval
  std::int32_t* last_range;                      // (width,)
  std::uint8_t* positive;                        // (padded,) units that are on at the right end
};

constexpr std::int64_t kMostCells = 1024;  // of a grid

// What points look up: a slot for each cell of a grid and, from first_place on, for each place. A point in a cell that
// holds no breakpoint uses the cell's slot, another its place's.
struct SlotTable {
  std::int64_t cells;   // a multiple of 64
  double* line;         // (slots, 2) slope and intercept; for a cell with breakpoints, these
  double* moment;       // (slots, 2) sums of r x and r; all zero between steps
  std::uint8_t* hit;    // (slots,) whether a point has been there, for the activity of units
  std::uint8_t* split;  // (kMostCells,) which cells hold a breakpoint; in a form that each level has for itself
};

PN_INLINE std::int64_t first_place(std::int64_t cells) { return cells + 2; }  // filling may go beyond the cells

// Points of one or more inputs that look up the same table: (inputs, rows), of the block's inputs at the same rows.
// With more than one input, rows is a power of two; always a multiple of kPointRows.
constexpr std::int64_t kPointRows = 16;

template <class T>
struct PointPanel {
  const T* x;  // x: (inputs, rows)
  std::int64_t inputs, rows;
};

// Where the points of a panel are.
struct Points {
  std::uint32_t* offset;  // (capacity,) 16 times the slot
  std::uint32_t* listed;  // (capacity + kPointRows,) scratch: points in split cells
};

// Some rows of a batch, as cpu/kernel.hpp's Rows.
template <class T>
struct RowBlock {
  const T* x;                  // x: (n, inputs)
  const T* y;                  // y: (n,), perhaps null
  const std::uint32_t* index;  // (count,) or null: rows first ..
  std::int64_t first, count, inputs;
};

template <class T>
struct PiecewiseLinearFunctions {
  // Asks for the rows' data, x and y, which will be wanted soon.
  void (*fetch_rows)(const RowBlock<T>& rows);
  // out: (inputs, stride): column b of it is the batch's row b; missing ones of the last kPointRows repeat the last
  // row.
  void (*turn_rows)(const RowBlock<T>& rows, T* out, std::int64_t stride);
  // Builds the pieces. False: the capacity did not suffice; the pieces are of no use then.
  bool (*build)(const BlockWeights<T>& block, const piecewise::Range& range, const BuildScratch<T>& scratch,
                Pieces& pieces);
  // The breakpoints' cells, and the cells' lines.
  void (*fill_cells)(const piecewise::Grid<T>& grid, Pieces& pieces, const SlotTable& table);
  // Slots of points x: (count,), a multiple of kPointRows.
  void (*find)(const piecewise::Grid<T>& grid, const Pieces& pieces, const SlotTable& table, const T* x,
               std::int64_t count, const Points& points);
  // output: (rows,) += sum over inputs of the block's function at the points.
  void (*add_values)(const SlotTable& table, const Points& points, const PointPanel<T>& panel, double* output);
  // output: (count,) += the other parts, which are `stride` apart.
  void (*join_outputs)(double* output, std::int64_t parts, std::int64_t stride, std::int64_t count);
  // Adds r x and r of every point to its slot. residual: (rows,).
  void (*add_moments)(const SlotTable& table, const Points& points, const PointPanel<T>& panel, const double* residual);
  // Notes the slots that hold points.
  void (*mark)(const SlotTable& table, const Points& points, std::int64_t count);
  // moment: (places, 2) becomes the moments of the places, their cells' included; the slots are zeroed.
  void (*fold)(const Pieces& pieces, const SlotTable& table, double* moment);
  // Gradient of one block from the moments, (places + 1, 2) with room for one more, overwritten.
  void (*gradient)(const BlockWeights<T>& block, const Pieces& pieces, double* moment, double* scratch,
                   const BlockGradient<T>& gradient);
  std::int64_t gradient_rows;  // of scratch, padded_units(width) doubles each
};

}  // namespace pn::cpu
