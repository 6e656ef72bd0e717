// Rows of a batch lie anywhere in the data: they are fetched a block ahead of their use, and turned over, so that the
// rows of one input are contiguous.
#pragma once

#include "cpu/levels/piecewise_linear.hpp"
#include "cpu/levels/transpose.inl"

namespace pn::cpu {
namespace {

constexpr std::uintptr_t kLineBytes = 64;

template <class T>
constexpr int kQuarter = 16 / static_cast<int>(sizeof(T));  // elements of 16 bytes

template <class T>
struct QuarterOf {
  typedef T type __attribute__((vector_size(16)));
  typedef T loose __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));
};

// n elements of p, but not more than 16 bytes; zeros in place of missing ones. n > 0.
template <class T>
inline __attribute__((always_inline)) typename QuarterOf<T>::type load_quarter(const T* p, std::int64_t n) {
  using Quarter = typename QuarterOf<T>::type;
  if (n >= kQuarter<T>) return *reinterpret_cast<const typename QuarterOf<T>::loose*>(p);
  if constexpr (kQuarter<T> == 2) {
    return Quarter{p[0], T(0)};
  } else {
    return n == 1 ? Quarter{p[0], T(0), T(0), T(0)} : Quarter{p[0], p[1], n > 2 ? p[2] : T(0), T(0)};
  }
}

// n elements each of rows 0, kQuarter, 2 kQuarter, ..., 16 bytes for each.
template <class T, class RowAt>
inline __attribute__((always_inline)) Vec<T> load_rows(RowAt row, std::int64_t n) {
  constexpr int q = kQuarter<T>;
#if defined(__AVX512F__)
  const auto at = [&](int i) __attribute__((always_inline)) {
    return reinterpret_cast<__m128>(load_quarter<T>(row(i * q), n));
  };
  __m512 all = _mm512_castps128_ps512(at(0));
  all = _mm512_insertf32x4(all, at(1), 1);
  all = _mm512_insertf32x4(all, at(2), 2);
  all = _mm512_insertf32x4(all, at(3), 3);
  return reinterpret_cast<Vec<T>>(all);
#elif defined(__AVX2__)
  const auto at = [&](int i) __attribute__((always_inline)) {
    return reinterpret_cast<__m128>(load_quarter<T>(row(i * q), n));
  };
  return reinterpret_cast<Vec<T>>(_mm256_insertf128_ps(_mm256_castps128_ps256(at(0)), at(1), 1));
#else
  return load_quarter<T>(row(0), n);
#endif
}

// Elements first, first + 1, ... of every 16 bytes of a and b in turn.
template <int kFirst, class T, int... kIndex>
inline __attribute__((always_inline)) Vec<T> unpack(Vec<T> a, Vec<T> b, Indices<kIndex...>) {
  constexpr int q = kQuarter<T>;
#if defined(__clang__)
  return __builtin_shufflevector(a, b, (kIndex / q * q + kFirst + kIndex % q / 2 + (kIndex % 2) * kLanes<T>)...);
#else
  return __builtin_shuffle(
      a, b, typename MaskOf<T>::type{(kIndex / q * q + kFirst + kIndex % q / 2 + (kIndex % 2) * kLanes<T>)...});
#endif
}

// out: (columns, stride) = the transpose of `kLanes` rows, of which row(r) is the r-th.
template <class T, class RowAt>
inline __attribute__((always_inline)) void turn_over(RowAt row, std::int64_t columns, T* out, std::int64_t stride) {
  constexpr int q = kQuarter<T>;
  using Lanes = typename MakeIndices<kLanes<T>>::type;
  for (std::int64_t c = 0; c < columns; c += q) {
    const std::int64_t n = columns - c;
    Vec<T> in[q], turned[q];
    for (int i = 0; i < q; ++i)
      in[i] = load_rows<T>([&](int r) __attribute__((always_inline)) { return row(r + i) + c; }, n);
    for (int i = 0; i < q / 2; ++i) {
      turned[2 * i] = unpack<0, T>(in[i], in[i + q / 2], Lanes{});
      turned[2 * i + 1] = unpack<q / 2, T>(in[i], in[i + q / 2], Lanes{});
    }
    if constexpr (q == 4) {
      for (int i = 0; i < q; ++i) in[i] = turned[i];
      for (int i = 0; i < q / 2; ++i) {
        turned[2 * i] = unpack<0, T>(in[i], in[i + q / 2], Lanes{});
        turned[2 * i + 1] = unpack<q / 2, T>(in[i], in[i + q / 2], Lanes{});
      }
    }
    for (int i = 0; i < q; ++i) {
      if (i < n) store(out + (c + i) * stride, turned[i]);
    }
  }
}

template <class T>
inline __attribute__((always_inline)) std::int64_t row_number(const RowBlock<T>& rows, std::int64_t b) {
  return rows.index ? static_cast<std::int64_t>(rows.index[b]) : rows.first + b;
}

template <class T>
void fetch_rows(const RowBlock<T>& rows) {
  const std::int64_t bytes = rows.inputs * static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t b = 0; b < rows.count; ++b) {
    const std::int64_t number = row_number(rows, b);
    const auto begin = reinterpret_cast<std::uintptr_t>(rows.x + number * rows.inputs);
    for (std::uintptr_t at = begin / kLineBytes * kLineBytes; at < begin + static_cast<std::uintptr_t>(bytes);
         at += kLineBytes) {
      __builtin_prefetch(reinterpret_cast<const void*>(at));
    }
    if (rows.y) __builtin_prefetch(rows.y + number);
  }
}

// Missing rows of the last kPointRows repeat the last one.
template <class T>
void turn_rows(const RowBlock<T>& rows, T* out, std::int64_t stride) {
  static_assert(kPointRows % kLanes<T> == 0);
  const std::int64_t padded = (rows.count + kPointRows - 1) / kPointRows * kPointRows;
  for (std::int64_t b = 0; b < padded; b += kLanes<T>) {
    const T* row[kLanes<T>];
    for (std::int64_t r = 0; r < kLanes<T>; ++r)
      row[r] = rows.x + row_number(rows, b + r < rows.count ? b + r : rows.count - 1) * rows.inputs;
    turn_over<T>([&](int r) __attribute__((always_inline)) { return row[r]; }, rows.inputs, out + b, stride);
  }
}

}  // namespace
}  // namespace pn::cpu
