// One block with one input and ReLU on some rows: what the kernels of LN and LCN share.
#pragma once

#include <cstdint>

#include "cuda/blocks/member.hpp"
#include "cuda/blocks/piecewise_gradient.hpp"
#include "cuda/blocks/unit_counts.hpp"

namespace pn::cuda {

constexpr std::int32_t kCells = 1024;  // of the grid that points look up

PN_INLINE double quiet_nan() { return __builtin_nan(""); }

// What a table is built and used with, for one block at a time.
struct PieceWorkspace {
  Table table;
  std::int32_t *small_hit, *large_hit;  // (places + 1,) for few events, and for any number
  // Scratch.
  MomentArrays moments;
  TableScratch scratch;
};

// lasting: for what is used again, in another launch.
PN_INLINE PieceWorkspace take_pieces(Arena& lasting, Arena& arena, const BlockShape& b) {
  PieceWorkspace w;
  w.table = take_table(lasting, b, kCells);
  w.small_hit = lasting.take<std::int32_t>(2 * w.table.small_capacity + 2);
  const std::int32_t most = most_events(b);
  w.large_hit = most > w.table.small_capacity ? lasting.take_slow<std::int32_t>(2 * most + 2) : w.small_hit;
  w.moments = take_moments(arena, b);
  w.scratch = take_table_scratch(arena, b);
  return w;
}

PN_INLINE std::int32_t* hits_of(const PieceWorkspace& w) {
  return w.table.sizes[kEvents] <= w.table.small_capacity ? w.small_hit : w.large_hit;
}

// Marks the place of x as seen and returns the value there.
template <class Team, class T>
PN_TEAM double value_and_mark(const Team& team, const Lookup<T>& lookup, T x, std::int32_t* hit) {
  const std::int32_t place = lookup.place(x);
  team.mark(hit + place);
  return lookup.line[place].first * static_cast<double>(x) + lookup.line[place].second;
}

// Gradient from residuals r(i) of points x(i), i = 0 .. count-1, none of them larger than `largest`. The moments are 0
// beforehand. NaN where a number is not finite. Begins and ends with a sync.
template <class Team, class T, class X, class R>
PN_TEAM void gradient_of_points(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                                const PieceWorkspace& w, const piecewise::Range& range, std::int32_t count, X x, R r,
                                double largest, const Tensors<T>& gradient) {
  const MomentSums sums = moments_of(w.moments, w.table);
  const MomentScales scales = moment_scales(largest, range, count);
  team.sync();
  add_moments(team, Lookup<T>(w.table, range, kCells), count, x, r, scales, sums);
  sum_moments(team, sums);
  PiecewiseGradient<Team, T>(team, shape, p, w.table, sums.copy, scales, gradient).run();
}

// Ends without a sync.
template <class Team, class T>
PN_TEAM void fill_nan(const Team& team, const BlockShape& b, const Tensors<T>& g) {
  const T nan = static_cast<T>(quiet_nan());
  const auto fill = [&](T* values, std::int32_t count) {
    team.for_each(count, [&](std::int32_t i) { values[i] = nan; });
  };
  fill(g.w1, b.width * b.inputs);
  fill(g.b1, b.width);
  if (b.hidden_layers == 2) fill(g.w2, b.width * b.width);
  if (b.hidden_layers == 2) fill(g.b2, b.width);
  fill(g.w3, b.width);
}

// Some rows of a data set.
template <class T>
struct RowSlice {
  DeviceRows<T> rows;
  const std::uint32_t* order;  // null: rows first ..
  std::int64_t first;
  std::int32_t count, inputs;

  PN_TEAM std::int64_t row(std::int32_t b) const {
    return order != nullptr ? static_cast<std::int64_t>(order[first + b]) : first + b;
  }
  PN_TEAM T x(std::int32_t b, std::int32_t input) const { return rows.x[row(b) * inputs + input]; }
  PN_TEAM double y(std::int32_t b) const { return static_cast<double>(rows.y[row(b)]); }
};

}  // namespace pn::cuda
