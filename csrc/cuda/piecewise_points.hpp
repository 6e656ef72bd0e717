// Points in a table of pieces: their values and moments (kernels.md, section 2, steps 2 and 3).
#pragma once

#include <cstdint>

#include "core/piecewise_linear.hpp"
#include "cuda/fixed_point.hpp"
#include "cuda/piecewise_table.hpp"

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

// Several copies of the sums, so that neighbouring threads seldom meet at one.
constexpr std::int32_t kMomentCopies = 8;

struct MomentArrays {
  Moments *small, *large;  // (kMomentCopies, places + 1) for few events, and for any number
};

PN_INLINE MomentArrays take_moments(Arena& arena, const BlockShape& b) {
  const std::int64_t most = most_events(b), few = most < kSmallEvents ? most : kSmallEvents;
  MomentArrays m;
  m.small = arena.take<Moments>(kMomentCopies * (2 * few + 2));
  m.large = most > few ? arena.take_slow<Moments>(kMomentCopies * (2 * most + 2)) : m.small;
  return m;
}

PN_INLINE Moments* moments_of(const MomentArrays& m, const Table& table) {
  return table.sizes[kEvents] <= table.small_capacity ? m.small : m.large;
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

// moments: (kMomentCopies, places + 1) becomes 0. Ends without a sync.
template <class Team>
PN_TEAM void clear_moments(const Team& team, const Table& table, Moments* moments) {
  team.for_each(kMomentCopies * (places_of(table) + 1), [&](std::int32_t i) { moments[i] = {0, 0}; });
}

// Adds the points x(i), i = 0 .. count-1, with residuals r(i). Ends without a sync.
template <class Team, class T, class X, class R>
PN_TEAM void add_moments(const Team& team, const Lookup<T>& lookup, std::int32_t stride, std::int32_t count, X x, R r,
                         const MomentScales& scales, Moments* moments) {
  team.for_each(count, [&](std::int32_t i) {
    const T point = x(i);
    const double residual = r(i);
    Moments* const to = moments + (i % kMomentCopies) * stride + lookup.place(point);
    team.add(&to->first, to_fixed(residual * static_cast<double>(point), scales.first));
    team.add(&to->zeroth, to_fixed(residual, scales.zeroth));
  });
}

// The first copy becomes the prefix sums, (places + 1,): sums over the places before each one. scratch: (places + 1,)
// of the second copy's memory. Begins and ends with a sync.
template <class Team>
PN_TEAM void sum_moments(const Team& team, std::int32_t places, Moments* moments) {
  const std::int32_t stride = places + 1;
  team.sync();
  team.for_each(stride, [&](std::int32_t place) {
    Moments sum = moments[place];
    for (std::int32_t copy = 1; copy < kMomentCopies; ++copy) {
      sum.first += moments[copy * stride + place].first;
      sum.zeroth += moments[copy * stride + place].zeroth;
    }
    moments[place] = sum;
  });
  team.sync();
  // In arrays of their own while they are summed up: those of the copies are free now.
  auto* const first = reinterpret_cast<std::int64_t*>(moments + stride);
  std::int64_t* const zeroth = first + stride;
  team.for_each(stride, [&](std::int32_t place) {
    first[place] = moments[place].first;
    zeroth[place] = moments[place].zeroth;
  });
  team.exclusive_scan(first, stride);
  team.exclusive_scan(zeroth, stride);
  team.for_each(stride, [&](std::int32_t place) { moments[place] = {first[place], zeroth[place]}; });
  team.sync();
}

}  // namespace pn::cuda
