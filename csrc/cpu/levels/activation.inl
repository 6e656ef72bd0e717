// Activations on vectors and their derivatives in terms of the activation's value h:
// relu' = [h > 0] (so relu'(0) = 0), tanh' = 1 - h^2, sigmoid' = h (1 - h).
#pragma once

#include <cstdint>

namespace pn::cpu {
namespace {

constexpr std::int32_t kRelu = 0, kTanh = 1, kSigmoid = 2;  // the values of core's Activation

template <class T>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  using Bits = std::int32_t;
  static constexpr float magic = 0x1.8p23f, ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
  static constexpr float tanh_limit = 30.0f, exp_limit = 87.0f;
  static constexpr int mantissa_bits = 23, exponent_bias = 127, terms = 8;
};
template <>
struct ExpConstants<double> {
  using Bits = std::int64_t;
  static constexpr double magic = 0x1.8p52, ln2_high = 0x1.62e42fefap-1, ln2_low = 0x1.cf79abc9e3b39p-40;
  static constexpr double tanh_limit = 60.0, exp_limit = 708.0;
  static constexpr int mantissa_bits = 52, exponent_bias = 1023, terms = 14;
};

// x = n ln 2 + r with |r| <= ln 2 / 2: fraction = e^r - 1 from its Taylor series, scale = 2^n. |x| below exp_limit, or
// NaN.
template <class T>
inline void exp_parts(Vec<T> x, Vec<T>& fraction, Vec<T>& scale) {
  using C = ExpConstants<T>;
  typedef typename C::Bits BitsVec __attribute__((vector_size(PN_VECTOR_BYTES)));
  const Vec<T> shifted = x * T(1.4426950408889634) + C::magic;
  const Vec<T> n = shifted - C::magic;
  const Vec<T> r = (x - n * C::ln2_high) - n * C::ln2_low;
  Vec<T> sum = Vec<T>{} + T(1) / T(C::terms);
  for (int k = C::terms - 1; k >= 1; --k) sum = (r * sum + T(1)) * (T(1) / T(k));
  fraction = r * sum;
  // The low bits of the shifted value's mantissa are n in two's complement.
  const BitsVec exponent = (reinterpret_cast<BitsVec>(shifted) + C::exponent_bias) << C::mantissa_bits;
  scale = reinterpret_cast<Vec<T>>(exponent);
}

template <class T>
inline Vec<T> magnitude(Vec<T> x) {
  return x < T(0) ? -x : x;
}

// tanh |x| = u / (u + 2) with u = e^(2|x|) - 1.
template <class T>
inline Vec<T> tanh_of(Vec<T> x) {
  Vec<T> fraction, scale;
  const Vec<T> twice = magnitude<T>(x) * T(2);
  const Vec<T> limit = broadcast(ExpConstants<T>::tanh_limit);
  exp_parts<T>(twice > limit ? limit : twice, fraction, scale);
  const Vec<T> u = scale * fraction + (scale - T(1));
  const Vec<T> h = u / (u + T(2));
  return x < T(0) ? -h : h;
}

// With e = e^-|x|: 1 / (1 + e) for x >= 0, e / (1 + e) below, so that nothing overflows.
template <class T>
inline Vec<T> sigmoid_of(Vec<T> x) {
  Vec<T> fraction, scale;
  const Vec<T> size = magnitude<T>(x);
  const Vec<T> limit = broadcast(ExpConstants<T>::exp_limit);
  exp_parts<T>(size > limit ? -limit : -size, fraction, scale);
  const Vec<T> e = scale * fraction + scale;
  return (x < T(0) ? e : broadcast(T(1))) / (T(1) + e);
}

template <std::int32_t kActivation, class T>
inline Vec<T> activate(Vec<T> z) {
  if constexpr (kActivation == kRelu) {
    const Vec<T> zero{};
    return zero > z ? zero : z;  // in this order a NaN stays a NaN
  } else if constexpr (kActivation == kTanh) {
    return tanh_of<T>(z);
  } else {
    return sigmoid_of<T>(z);
  }
}

// upstream * act'(z), from h = act(z).
template <std::int32_t kActivation, class T>
inline Vec<T> times_derivative(Vec<T> upstream, Vec<T> h) {
  if constexpr (kActivation == kRelu) {
    return h > T(0) ? upstream : Vec<T>{};
  } else if constexpr (kActivation == kTanh) {
    return upstream * (T(1) - h * h);
  } else {
    return upstream * (h * (T(1) - h));
  }
}

// Calls body with the activation as a compile-time constant.
template <class Body>
inline void with_activation(std::int32_t activation, Body body) {
  if (activation == kRelu) {
    body(Constant<kRelu>{});
  } else if (activation == kTanh) {
    body(Constant<kTanh>{});
  } else {
    body(Constant<kSigmoid>{});
  }
}

}  // namespace
}  // namespace pn::cpu
