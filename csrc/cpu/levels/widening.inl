// Vectors of doubles from and to arrays of T, and parts of vectors.
#pragma once

#include <cstdint>

namespace pn::cpu {
namespace {

constexpr int kDoubles = kLanes<double>;

// As many elements of T as a vector has doubles.
template <class T>
struct NarrowOf {
  typedef T type __attribute__((vector_size(kDoubles * sizeof(T))));
  typedef T loose __attribute__((vector_size(kDoubles * sizeof(T)), aligned(sizeof(T)), may_alias));
};
template <class T>
using Narrow = typename NarrowOf<T>::type;

template <class T>
inline __attribute__((always_inline)) Vec<double> widen(const T* p) {
  const Narrow<T> narrow = *reinterpret_cast<const typename NarrowOf<T>::loose*>(p);
  return __builtin_convertvector(narrow, Vec<double>);
}

template <class T>
inline __attribute__((always_inline)) void narrow_to(T* p, Vec<double> v) {
  *reinterpret_cast<typename NarrowOf<T>::loose*>(p) = __builtin_convertvector(v, Narrow<T>);
}

// The same where only n < kDoubles elements are there, perhaps none; the other lanes are 0.
#if defined(__AVX512F__)
inline __attribute__((always_inline)) unsigned first_lanes(std::int64_t n) { return n > 0 ? (1u << n) - 1u : 0u; }
inline __attribute__((always_inline)) Vec<double> widen_some(const float* p, std::int64_t n) {
  return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(static_cast<__mmask8>(first_lanes(n)), p));
}
inline __attribute__((always_inline)) Vec<double> widen_some(const double* p, std::int64_t n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>(first_lanes(n)), p);
}
inline __attribute__((always_inline)) void narrow_some_to(float* p, Vec<double> v, std::int64_t n) {
  _mm256_mask_storeu_ps(p, static_cast<__mmask8>(first_lanes(n)), _mm512_cvtpd_ps(v));
}
inline __attribute__((always_inline)) void narrow_some_to(double* p, Vec<double> v, std::int64_t n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(first_lanes(n)), v);
}
inline __attribute__((always_inline)) Vec<float> load_some(const float* p, std::int64_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>(first_lanes(n)), p);
}
inline __attribute__((always_inline)) Vec<double> load_some(const double* p, std::int64_t n) {
  return widen_some(p, n);
}
inline __attribute__((always_inline)) void store_some(float* p, Vec<float> v, std::int64_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(first_lanes(n)), v);
}
inline __attribute__((always_inline)) void store_some(double* p, Vec<double> v, std::int64_t n) {
  narrow_some_to(p, v, n);
}
#else
template <class T>
inline __attribute__((always_inline)) Vec<double> widen_some(const T* p, std::int64_t n) {
  Vec<double> v{};
  for (int i = 0; i < kDoubles; ++i) {
    if (i < n) v[i] = static_cast<double>(p[i]);
  }
  return v;
}
template <class T>
inline __attribute__((always_inline)) void narrow_some_to(T* p, Vec<double> v, std::int64_t n) {
  for (int i = 0; i < kDoubles; ++i) {
    if (i < n) p[i] = static_cast<T>(v[i]);
  }
}
template <class T>
inline __attribute__((always_inline)) Vec<T> load_some(const T* p, std::int64_t n) {
  Vec<T> v{};
  for (std::int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
template <class T>
inline __attribute__((always_inline)) void store_some(T* p, Vec<T> v, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) p[i] = v[i];
}
#endif

template <class T>
inline __attribute__((always_inline)) Vec<double> widen_up_to(const T* p, std::int64_t n) {
  return n >= kDoubles ? widen(p) : widen_some(p, n);
}
template <class T>
inline __attribute__((always_inline)) void narrow_up_to(T* p, Vec<double> v, std::int64_t n) {
  if (n >= kDoubles) {
    narrow_to(p, v);
  } else {
    narrow_some_to(p, v, n);
  }
}

// Bit i: lane i is > 0.
inline __attribute__((always_inline)) unsigned positive_lanes(Vec<double> v) {
#if defined(__AVX512F__)
  return _mm512_cmp_pd_mask(v, Vec<double>{}, _CMP_GT_OQ);
#elif defined(__AVX2__)
  return static_cast<unsigned>(_mm256_movemask_pd(reinterpret_cast<__m256d>(v > 0.0)));
#else
  unsigned bits = 0;
  for (int i = 0; i < kDoubles; ++i) bits |= static_cast<unsigned>(v[i] > 0.0) << i;
  return bits;
#endif
}

}  // namespace
}  // namespace pn::cpu
