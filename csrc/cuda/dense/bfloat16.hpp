// bfloat16, and a float32 number as the sum of three: 8 significant bits each make the 24 of float32, so the sum is
// exact (but for what falls below the smallest denormal). A product of a 0/1 matrix, which is exact in bfloat16, with
// the three parts therefore has the accuracy of a float32 product.
#pragma once

#include <bit>
#include <cstdint>

#include "core/host_device.hpp"

namespace pn::cuda {

struct Bfloat16 {
  std::uint16_t bits;
};

PN_INLINE std::uint32_t bits_of(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  return std::bit_cast<std::uint32_t>(value);
#endif
}

PN_INLINE float float_of(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

PN_INLINE float widen(Bfloat16 value) { return float_of(std::uint32_t{value.bits} << 16); }

// To nearest, ties to even; NaN stays NaN.
PN_INLINE Bfloat16 to_bfloat16(float value) {
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

struct ThreeTerms {
  Bfloat16 high, middle, low;
};

PN_INLINE ThreeTerms split(float value) {
  const Bfloat16 high = to_bfloat16(value);
  const float rest = value - widen(high);  // exact
  const Bfloat16 middle = to_bfloat16(rest);
  return {high, middle, to_bfloat16(rest - widen(middle))};
}

}  // namespace pn::cuda
