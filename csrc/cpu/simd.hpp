// Vectors of the level that a translation unit is compiled for. Included by files under levels/ alone, inside their
// unnamed namespace's reach: nothing here has external linkage.
#pragma once

#include <cstdint>

#ifndef PN_VECTOR_BYTES
#error "simd.hpp is for the files of an instruction-set level"
#endif

namespace pn::cpu {
namespace {

template <int kValue>
struct Constant {
  static constexpr int value = kValue;
};

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(PN_VECTOR_BYTES)));
  typedef T loose __attribute__((vector_size(PN_VECTOR_BYTES), aligned(sizeof(T)), may_alias));
};
template <class T>
using Vec = typename VectorOf<T>::type;

template <class T>
constexpr int kLanes = PN_VECTOR_BYTES / static_cast<int>(sizeof(T));

template <class T>
inline __attribute__((always_inline)) Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename VectorOf<T>::loose*>(p);
}
template <class T>
inline __attribute__((always_inline)) void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename VectorOf<T>::loose*>(p) = v;
}
template <class T>
inline __attribute__((always_inline)) Vec<T> broadcast(T value) {
  return value - Vec<T>{};
}
// Halves are added until one lane is left.
template <class T>
inline __attribute__((always_inline)) T lane_sum(Vec<T> v) {
  constexpr int kSmall = 16 / static_cast<int>(sizeof(T));  // lanes of the smallest vector register
  typedef T Small __attribute__((vector_size(16)));
  Small part[PN_VECTOR_BYTES / 16];
  __builtin_memcpy(&part, &v, sizeof v);
  for (int parts = PN_VECTOR_BYTES / 32; parts >= 1; parts /= 2) {
    for (int i = 0; i < parts; ++i) part[i] += part[i + parts];
  }
  T lanes[kSmall];
  __builtin_memcpy(&lanes, &part[0], 16);
  for (int count = kSmall / 2; count >= 1; count /= 2) {
    for (int i = 0; i < count; ++i) lanes[i] += lanes[i + count];
  }
  return lanes[0];
}

}  // namespace
}  // namespace pn::cpu
