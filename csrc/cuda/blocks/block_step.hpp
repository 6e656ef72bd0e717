// A step of training of networks of blocks in phases that many teams do at once (kernels.md, section 6):
//   values     a team per (member, block): the block's outputs at the batch's rows
//   residuals  a team per (member, stretch of rows): joins the blocks' outputs
//   gradient   a team per (member, set of weights): gradient and Adam
// This file has what all kernels share, and the piecewise-linear ones of locally connected networks (LCN).
#pragma once

#include <cstdint>

#include "cuda/blocks/piecewise_block.hpp"

namespace pn::cuda {

constexpr std::int32_t kStretchRows = 256;  // of the residual phase

PN_INLINE std::int64_t stretches_of(std::int64_t rows) { return (rows + kStretchRows - 1) / kStretchRows; }

// What the teams of one member hand to one another, in device memory.
struct StepExchange {
  double* outputs;      // (blocks, piece rows) of the blocks at the rows in hand
  double* residual;     // (piece rows,) f - y
  double* squares;      // (stretches,) sums of squared residuals
  double* largest;      // (stretches,) of their sizes
  std::int64_t stride;  // piece rows
};

// Begins without a sync, ends with one.
template <class Team, class T>
PN_TEAM void join_outputs(const Team& team, const RowSlice<T>& rows, std::int32_t blocks, std::int64_t stretch,
                          const StepExchange& e) {
  const auto first = static_cast<std::int32_t>(stretch * kStretchRows), left = rows.count - first;
  const std::int32_t count = left < kStretchRows ? left : kStretchRows;
  const double inverse_inputs = 1.0 / rows.inputs;
  double squares = 0.0, largest = 0.0;
  team.for_each(count, [&](std::int32_t i) {
    const std::int32_t b = first + i;
    double sum = 0.0;
    for (std::int32_t block = 0; block < blocks; ++block) sum += e.outputs[block * e.stride + b];
    const double error = sum * inverse_inputs - rows.y(b);
    e.residual[b] = error;
    squares += error * error;
    largest = larger(largest, error < 0.0 ? -error : error);
  });
  const double all = team.total(squares), most = team.most(largest);
  team.one([&] {
    e.squares[stretch] = all;
    e.largest[stretch] = most;
  });
  team.sync();
}

// The batch's sum of squares, and the largest residual, from all stretches.
PN_TEAM inline double sum_of_squares(const StepExchange& e, std::int64_t rows) {
  double sum = 0.0;
  for (std::int64_t s = 0; s < stretches_of(rows); ++s) sum += e.squares[s];
  return sum;
}
PN_TEAM inline double largest_residual(const StepExchange& e, std::int64_t rows) {
  double most = 0.0;
  for (std::int64_t s = 0; s < stretches_of(rows); ++s) most = larger(most, e.largest[s]);
  return most;
}

// The table of an input's block, where it is to be built, and the block's outputs at the rows. mark: notes which places
// were seen. finite: says whether the parameters are. Ends with a sync.
template <class Team, class T>
PN_TEAM void column_values(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                           const PieceWorkspace& w, const RowSlice<T>& rows, std::int32_t input, bool build, bool mark,
                           std::int32_t* finite, double* outputs) {
  const piecewise::Range range = rows.rows.ranges[input];
  if (build) {
    const bool good = TableBuilder<Team, T>(team, shape, p, range, w.table, w.scratch).run(kCells);
    team.one([&] { *finite = good ? 1 : 0; });
    if (good && mark) team.for_each(places_of(w.table) + 1, [&](std::int32_t i) { hits_of(w)[i] = 0; });
    team.sync();
  }
  if (*finite == 0) {
    team.for_each(rows.count, [&](std::int32_t b) { outputs[b] = quiet_nan(); });
    team.sync();
    return;
  }
  const Lookup<T> lookup(w.table, range, kCells);
  std::int32_t* const hit = hits_of(w);
  team.for_each(rows.count, [&](std::int32_t b) {
    const T x = rows.x(b, input);
    outputs[b] = mark ? value_and_mark(team, lookup, x, hit) : lookup.value(x);
  });
  team.sync();
}

// After column_values and join_outputs of the same rows. Ends with a sync.
template <class Team, class T>
PN_TEAM void column_gradient(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                             const PieceWorkspace& w, const RowSlice<T>& rows, std::int32_t input,
                             const std::int32_t* finite, const StepExchange& e, const Tensors<T>& gradient) {
  const piecewise::Range range = rows.rows.ranges[input];
  const double factor = 2.0 / (static_cast<double>(rows.count) * rows.inputs);
  const double most = largest_residual(e, rows.count) * factor;
  if (*finite == 0 || !finite_moments(most, range)) {
    fill_nan(team, shape, gradient);
    team.sync();
    return;
  }
  clear_moments(team, moments_of(w.moments, w.table));
  gradient_of_points(
      team, shape, p, w, range, rows.count, [&](std::int32_t b) { return rows.x(b, input); },
      [&](std::int32_t b) { return e.residual[b] * factor; }, most, gradient);
}

}  // namespace pn::cuda
