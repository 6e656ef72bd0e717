// Rows of a batch lie anywhere in the data: they are fetched a block ahead of their use, and copied.
#pragma once

#include "cpu/levels/piecewise_linear.hpp"
#include "cpu/levels/transpose.inl"

namespace pn::cpu {
namespace {

constexpr std::int64_t kLineBytes = 64;

template <class T>
inline __attribute__((always_inline)) const T* row_of(const RowBlock<T>& rows, std::int64_t b) {
  return rows.x + (rows.index ? static_cast<std::int64_t>(rows.index[b]) : rows.first + b) * rows.inputs;
}

template <class T>
void fetch_rows(const RowBlock<T>& rows) {
  const std::int64_t bytes = rows.inputs * static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t b = 0; b < rows.count; ++b) {
    const char* row = reinterpret_cast<const char*>(row_of(rows, b));
    for (std::int64_t at = 0; at < bytes; at += kLineBytes) __builtin_prefetch(row + at);
    __builtin_prefetch(row + bytes - 1);
  }
}

// out: (count, inputs).
template <class T>
void copy_rows(const RowBlock<T>& rows, T* out) {
  typedef T Sixteen __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));
  constexpr std::int64_t few = 16 / static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t b = 0; b < rows.count; ++b) {
    const T* row = row_of(rows, b);
    std::int64_t i = 0;
    for (; i + kLanes<T> <= rows.inputs; i += kLanes<T>) store(out + i, load(row + i));
    for (; i + few <= rows.inputs; i += few)
      *reinterpret_cast<Sixteen*>(out + i) = *reinterpret_cast<const Sixteen*>(row + i);
    for (; i < rows.inputs; ++i) out[i] = row[i];
    out += rows.inputs;
  }
}

// out: (inputs, stride), whose rows have room for whole vectors.
template <class T>
void copy_columns(const RowBlock<T>& rows, T* out, std::int64_t stride) {
  constexpr std::int64_t n = kLanes<T>;
  for (std::int64_t b = 0; b < rows.count; b += n) {
    const T* row[n];
    for (std::int64_t r = 0; r < n; ++r) row[r] = row_of(rows, b + r < rows.count ? b + r : rows.count - 1);
    std::int64_t i = 0;
    for (; i + n <= rows.inputs; i += n) {
      Vec<T> tile[n];
      for (int r = 0; r < n; ++r) tile[r] = load(row[r] + i);
      transpose<T>(tile);
      for (int r = 0; r < n; ++r) store(out + (i + r) * stride + b, tile[r]);
    }
    for (; i < rows.inputs; ++i) {
      for (int r = 0; r < n; ++r) out[i * stride + b + r] = row[r][i];
    }
  }
}

}  // namespace
}  // namespace pn::cpu
