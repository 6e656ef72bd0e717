// Transposition in registers: log2(lanes) rounds of interleaving vectors i and i + lanes/2.
#pragma once

#include <cstdint>

namespace pn::cpu {
namespace {

template <int... kIndex>
struct Indices {};
template <int kCount, int... kIndex>
struct MakeIndices : MakeIndices<kCount - 1, kCount - 1, kIndex...> {};
template <int... kIndex>
struct MakeIndices<0, kIndex...> {
  using type = Indices<kIndex...>;
};

template <class T>
struct MaskOf;
template <>
struct MaskOf<float> {
  typedef std::int32_t type __attribute__((vector_size(PN_VECTOR_BYTES)));
};
template <>
struct MaskOf<double> {
  typedef std::int64_t type __attribute__((vector_size(PN_VECTOR_BYTES)));
};

// Lanes first, first+1, ... of a and b in turn.
template <int kFirst, class T, int... kIndex>
inline __attribute__((always_inline)) Vec<T> interleave(Vec<T> a, Vec<T> b, Indices<kIndex...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, (kFirst + kIndex / 2 + (kIndex % 2) * kLanes<T>)...);
#else
  return __builtin_shuffle(a, b, typename MaskOf<T>::type{(kFirst + kIndex / 2 + (kIndex % 2) * kLanes<T>)...});
#endif
}

// rows: a square tile of as many rows as a vector has lanes.
template <class T>
inline __attribute__((always_inline)) void transpose(Vec<T> (&rows)[kLanes<T>]) {
  constexpr int n = kLanes<T>;
  using Lanes = typename MakeIndices<n>::type;
  Vec<T> next[n];
  for (int round = 1; round < n; round *= 2) {
    for (int i = 0; i < n / 2; ++i) {
      next[2 * i] = interleave<0, T>(rows[i], rows[i + n / 2], Lanes{});
      next[2 * i + 1] = interleave<n / 2, T>(rows[i], rows[i + n / 2], Lanes{});
    }
    for (int i = 0; i < n; ++i) rows[i] = next[i];
  }
}

// Rows row(0), ..., row(width - 1) of h: (any, kTileRows) to ht: (kTileRows, padded_width), zeros beyond width.
template <class T, class Row>
void transpose_tile(std::int64_t width, std::int64_t padded_width, Row row, const T* h, T* ht) {
  constexpr int n = kLanes<T>;
  for (std::int64_t u = 0; u < padded_width; u += n) {
    for (int r = 0; r < kTileRows; r += n) {
      Vec<T> rows[n];
      for (int i = 0; i < n; ++i) rows[i] = u + i < width ? load(h + row(u + i) * kTileRows + r) : Vec<T>{};
      transpose<T>(rows);
      for (int i = 0; i < n; ++i) store(ht + (r + i) * padded_width + u, rows[i]);
    }
  }
}

}  // namespace
}  // namespace pn::cpu
