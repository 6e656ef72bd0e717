// Sums of many numbers as 64-bit integers: exact, and so the same in any order, which is what lets a whole block of
// threads add to them at once.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.hpp"

namespace pn::cuda {

struct FixedPoint {
  double scale = 1.0, inverse = 1.0;  // powers of two
};

// For sums of at most `count` numbers of at most this size, finite and >= 0: they can not overflow.
PN_INLINE FixedPoint fixed_point(double most, double count) {
  if (!(most > 0.0)) return {};
  const int exponent = 61 - ilogb(most) - 1 - ilogb(count);  // most < 2^(ilogb + 1), as is the count
  const int bounded = exponent > 1000 ? 1000 : (exponent < -1000 ? -1000 : exponent);
  return {ldexp(1.0, bounded), ldexp(1.0, -bounded)};
}

PN_INLINE std::int64_t to_fixed(double value, const FixedPoint& f) {
  return static_cast<std::int64_t>(llrint(value * f.scale));
}
PN_INLINE double from_fixed(std::int64_t sum, const FixedPoint& f) { return static_cast<double>(sum) * f.inverse; }

}  // namespace pn::cuda
