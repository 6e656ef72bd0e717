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
  double* line;               // (2 capacity + 1, 2) slope and intercept of the block's function at each place
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

struct ZeroCrossing {
  double at;
  double slope, intercept;  // of w3_k z_k: what the block's function gains (rises) or loses there
  std::int32_t unit;
  bool rises;
};

// Working memory of a build; rows are padded_units(width) long.
template <class T>
struct BuildScratch {
  double* hinge;          // (width,)
  piecewise::Side* side;  // (width,)
  T* w2t;                 // (padded, padded) W2 transposed
  // Each layer-2 preactivation is (rise_slope + fall_slope) x + rise_intercept + fall_intercept: the units that are
  // always on or rise, summed from the left, and those that fall, summed from the right, so that nothing is ever
  // subtracted.
  double *rise_slope, *rise_intercept;  // (padded,)
  double *fall_slope, *fall_intercept;  // (width + 1, padded): row r has the r rightmost falling units
  double* z;                            // (padded,) preactivations at the left end of the interval
  double* w3;                           // (padded,)
  ZeroCrossing* crossing;               // (width,)
  std::int32_t* last_range;             // (width,)
};

// Tables over the cells of a grid, 16 bytes a cell, and which cells hold a breakpoint.
struct CellTable {
  std::int64_t cells;        // a multiple of 64
  double* line;              // (cells, 2) slope and intercept; zeros where the cell is split by a breakpoint
  double* moment;            // (cells, 2) sums of r x and r; all zero between steps
  std::uint8_t* split;       // (cells,)
  std::int32_t* breakpoint;  // (cells,) the first one of a split cell
  std::uint8_t* hit;         // (cells,) whether a point has been there, for the activity of units
};

// A stretch of points of one block or of all blocks of a shared network.
struct Points {
  std::int64_t count = 0, listed_count = 0;
  std::uint32_t* offset;  // (capacity,) 16 times the cell
  double* pair;           // (capacity, 2) x and 1
  std::uint32_t* listed;  // (capacity,) points in split cells
  std::int32_t* place;    // (capacity,) of the listed points
};

template <class T>
struct PiecewiseLinearFunctions {
  // Builds the pieces. False: the capacity did not suffice; the pieces are of no use then.
  bool (*build)(const BlockWeights<T>& block, const piecewise::Range& range, const BuildScratch<T>& scratch,
                Pieces& pieces);
  // Cells of the breakpoints, and the cell table.
  void (*fill_cells)(const piecewise::Grid<T>& grid, Pieces& pieces, const CellTable& table);
  // Cells of points x: (count,), and the list of those in split cells, with their places.
  void (*find)(const piecewise::Grid<T>& grid, const Pieces& pieces, const CellTable& table, const T* x,
               std::int64_t count, Points& points);
  // output: (rows,) = sum over the row's points of the block's function; points: (rows, inputs).
  void (*sum_rows)(const Pieces& pieces, const CellTable& table, const Points& points, std::int64_t rows,
                   std::int64_t inputs, double* output);
  // output: (count,) += the block's function.
  void (*add_values)(const Pieces& pieces, const CellTable& table, const Points& points, double* output);
  // Adds r x and r of every point to its cell or, where it is listed, to moment: (places, 2). residual: (rows,).
  void (*add_moments)(const CellTable& table, const Points& points, std::int64_t rows, std::int64_t inputs,
                      const double* residual, double* moment);
  // Notes the cells and, of listed points, the places that hold points; place_hit: (places,).
  void (*mark)(const CellTable& table, const Points& points, std::uint8_t* place_hit);
  // Adds the cells' moments to the places' and zeroes them.
  void (*fold)(const Pieces& pieces, const CellTable& table, double* moment);
  // Gradient of one block from the moments, (places + 1, 2) with room for one more, overwritten.
  void (*gradient)(const BlockWeights<T>& block, const Pieces& pieces, double* moment, double* scratch,
                   const BlockGradient<T>& gradient);
  std::int64_t gradient_rows;  // of scratch, padded_units(width) doubles each
};

}  // namespace pn::cpu
