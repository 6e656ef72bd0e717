// Points in a table of pieces: their values and moments (kernels.md, section 2, steps 2 and 3).
#pragma once

#include <cstdint>

#include "core/piecewise_linear.hpp"
#include "cuda/blocks/fixed_point.hpp"
#include "cuda/blocks/piecewise_table.hpp"

namespace pn::cuda {

// What looking up needs, in registers.
template <class T>
struct Lookup {
  piecewise::Grid<T> grid;
  const std::int32_t* cell_first;
  const double* breakpoint;
  const Pair* line;

  PN_TEAM Lookup(const Table& table, const piecewise::Range& range, std::int32_t cells)
      : grid(piecewise::make_grid<T>(range, cells)), cell_first(table.cell_first),
        breakpoint(arrays_of(table).breakpoint), line(arrays_of(table).line) {}

  PN_TEAM std::int32_t place(T x) const {
    const auto cell = static_cast<std::int32_t>(piecewise::cell_coordinate(x, grid));
    const std::int32_t first = cell_first[cell], end = cell_first[cell + 1];
    std::int32_t at = 2 * first;
    for (std::int32_t q = first; q < end; ++q) at += piecewise::places_passed(static_cast<double>(x), breakpoint[q]);
    return at;
  }
  PN_TEAM double value(T x) const {
    const Pair piece = line[place(x)];
    return piece.first * static_cast<double>(x) + piece.second;
  }
};

// Sums of r x and r.
struct Moments {
  std::int64_t first, zeroth;
};

// Several copies of the sums, so that neighbouring threads seldom meet at one; at least two.
constexpr std::int32_t kSmallCopies = 8, kLargeCopies = 2;

struct MomentArrays {
  Moments *small, *large;  // (copies, places + 1) for few events, and for any number
};

PN_INLINE MomentArrays take_moments(Arena& arena, const BlockShape& b) {
  const std::int64_t most = most_events(b), few = most < kSmallEvents ? most : kSmallEvents;
  MomentArrays m;
  m.small = arena.take<Moments>(kSmallCopies * (2 * few + 2));
  m.large = most > few ? arena.take_slow<Moments>(kLargeCopies * (2 * most + 2)) : m.small;
  return m;
}

// Those that a table needs. stride: places + 1.
struct MomentSums {
  Moments* copy;  // (copies, stride)
  std::int32_t copies, stride;
};

PN_INLINE MomentSums moments_of(const MomentArrays& m, const Table& table) {
  const bool few = table.sizes[kEvents] <= table.small_capacity;
  return {few ? m.small : m.large, few ? kSmallCopies : kLargeCopies, places_of(table) + 1};
}

// Scales of the two sums.
struct MomentScales {
  FixedPoint first, zeroth;
};
PN_INLINE double reach(const piecewise::Range& range) {
  return -range.low > range.high ? -range.low : range.high;  // of the data: one of the two is positive
}
// largest: of the residuals' sizes.
PN_INLINE bool finite_moments(double largest, const piecewise::Range& range) {
  const double most = largest + largest * reach(range);
  return most - most == 0.0;
}
PN_INLINE MomentScales moment_scales(double largest, const piecewise::Range& range, double points) {
  return {fixed_point(largest * reach(range), points), fixed_point(largest, points)};
}

// Ends without a sync.
template <class Team>
PN_TEAM void clear_moments(const Team& team, const MomentSums& sums) {
  team.for_each(sums.copies * sums.stride, [&](std::int32_t i) { sums.copy[i] = {0, 0}; });
}

// Adds the points x(i), i = 0 .. count-1, with residuals r(i). Ends without a sync.
template <class Team, class T, class X, class R>
PN_TEAM void add_moments(const Team& team, const Lookup<T>& lookup, std::int32_t count, X x, R r,
                         const MomentScales& scales, const MomentSums& sums) {
  team.for_each(count, [&](std::int32_t i) {
    const T point = x(i);
    const double residual = r(i);
    Moments* const to = sums.copy + (i % sums.copies) * sums.stride + lookup.place(point);
    team.add(&to->first, to_fixed(residual * static_cast<double>(point), scales.first));
    team.add(&to->zeroth, to_fixed(residual, scales.zeroth));
  });
}

// The first copy becomes the prefix sums, (places + 1,): sums over the places before each one. Begins and ends with a
// sync.
template <class Team>
PN_TEAM void sum_moments(const Team& team, const MomentSums& sums) {
  const std::int32_t stride = sums.stride;
  team.sync();
  team.for_each(stride, [&](std::int32_t place) {
    Moments sum = sums.copy[place];
    for (std::int32_t copy = 1; copy < sums.copies; ++copy) {
      sum.first += sums.copy[copy * stride + place].first;
      sum.zeroth += sums.copy[copy * stride + place].zeroth;
    }
    sums.copy[place] = sum;
  });
  team.sync();
  // In arrays of their own while they are summed up: the second copy's memory is free now.
  auto* const first = reinterpret_cast<std::int64_t*>(sums.copy + stride);
  std::int64_t* const zeroth = first + stride;
  team.for_each(stride, [&](std::int32_t place) {
    first[place] = sums.copy[place].first;
    zeroth[place] = sums.copy[place].zeroth;
  });
  team.exclusive_scan(first, stride);
  team.exclusive_scan(zeroth, stride);
  team.for_each(stride, [&](std::int32_t place) { sums.copy[place] = {first[place], zeroth[place]}; });
  team.sync();
}

}  // namespace pn::cuda
