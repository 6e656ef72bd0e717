// A block with one input and ReLU is a continuous piecewise-linear function of that input (kernels.md, section 2). Here
// is the arithmetic of its breakpoints and places that every backend shares; tables and moments are each backend's own.
//
// Distinct breakpoints t_0 < ... < t_{n-1} cut the line into 2n + 1 *places*: place 2q is the open piece left of t_q,
// place 2q + 1 the point t_q itself, place 2n the open piece on the right. So a unit that is active right of its hinge
// t_q (w > 0) is active on places [2q + 2, 2n + 1), one that is active left of it on [0, 2q + 1): neither has the
// hinge, since ReLU'(0) = 0.
#pragma once

#include <cstdint>

#include "core/host_device.hpp"

namespace pn::piecewise {

// An interval with all data strictly inside.
struct Range {
  double low = -1.0, high = 1.0;
};

// The range of data from `lowest` to `highest`, finite numbers; where there are none, lowest > highest. A margin on
// both sides keeps all data strictly inside, also where they are all the same.
PN_INLINE Range range_around(double lowest, double highest) {
  if (!(lowest <= highest)) return {};
  constexpr double most = 1.7976931348623157e308;
  const double low_size = lowest < 0.0 ? -lowest : lowest, high_size = highest < 0.0 ? -highest : highest;
  const double size = low_size > high_size ? low_size : high_size;
  const double margin = (highest / 2 - lowest / 2) * 0x1p-8 + size * 0x1p-20 + 1e-30;
  const double low = lowest - margin, high = highest + margin;
  return {low > -most ? low : -most, high < most ? high : most};
}

// A uniform grid on the range. Its cell numbers are a monotone function of x, so a point in another cell than a
// breakpoint is on the side of it that the cells say.
template <class T>
struct Grid {
  T low, scale, last;  // last: number of cells - 1
};

template <class T>
PN_INLINE Grid<T> make_grid(const Range& range, std::int64_t cells) {
  const double width = range.high - range.low;
  return {static_cast<T>(range.low), static_cast<T>(static_cast<double>(cells) / width), static_cast<T>(cells - 1)};
}

// Truncated to an integer this is the cell of x; in [0, last] for any x, NaN too.
template <class T>
PN_INLINE T cell_coordinate(T x, const Grid<T>& grid) {
  const T raw = (x - grid.low) * grid.scale;
  const T bounded = raw < grid.last ? raw : grid.last;
  return bounded > T(0) ? bounded : T(0);
}

enum class Side : std::int32_t { off, on, falls, rises };  // falls: active left of its hinge; rises: right of it

struct Hinge {
  double at;  // inside the range, for falls and rises
  Side side;
};

// Of relu(w x + b) on the range.
PN_INLINE Hinge hinge(double w, double b, const Range& range) {
  if (!(w != 0.0)) return {0.0, b > 0.0 ? Side::on : Side::off};
  const double at = -b / w;
  if (at > range.low && at < range.high) return {at, w > 0.0 ? Side::rises : Side::falls};
  return {at, (w > 0.0) == (at <= range.low) ? Side::on : Side::off};
}

// The zero of slope x + intercept, which has opposite signs at left and right. Rounding may not carry it out of there.
PN_INLINE double zero_between(double slope, double intercept, double left, double right) {
  const double at = -intercept / slope;
  return at > left ? (at < right ? at : right) : left;
}

// What one breakpoint adds to the place of x: 0 left of it, 1 on it, 2 right of it.
PN_INLINE std::int32_t places_passed(double x, double breakpoint) {
  return static_cast<std::int32_t>(x > breakpoint) + static_cast<std::int32_t>(x >= breakpoint);
}

}  // namespace pn::piecewise
