// Vectors of doubles from and to arrays of T, and horizontal sums of them.
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
inline __attribute__((always_inline)) Vec<double> widen(const T* p) {
  const typename NarrowOf<T>::type narrow = *reinterpret_cast<const typename NarrowOf<T>::loose*>(p);
  return __builtin_convertvector(narrow, Vec<double>);
}

template <class T>
inline __attribute__((always_inline)) void narrow_to(T* p, Vec<double> v) {
  *reinterpret_cast<typename NarrowOf<T>::loose*>(p) = __builtin_convertvector(v, typename NarrowOf<T>::type);
}

// The same where only n < kDoubles elements are there; the other lanes are 0.
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
