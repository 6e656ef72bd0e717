// What the active-unit kernel does besides products; see active_rows.hpp.
#pragma once

#include "cpu/levels/active_rows.hpp"
#include "cpu/levels/dense_rows.inl"
#include "cpu/levels/lanes.inl"
#include "cpu/levels/widening.inl"

namespace pn::cpu {
namespace {

template <class T>
void active_column_range(const View<T>& h, T* __restrict largest, T* __restrict poison) {
  for (std::int64_t c = 0; c < h.columns; ++c) largest[c] = poison[c] = T(0);
  for (std::int64_t r = 0; r < h.rows; ++r) {
    const T* row = h.data + r * h.stride;
    for (std::int64_t c = 0; c < h.columns; ++c) {
      largest[c] = row[c] > largest[c] ? row[c] : largest[c];
      poison[c] += row[c] - row[c];
    }
  }
}

template <class T>
void active_count_positive(const View<T>& h, T* __restrict count) {
  for (std::int64_t c = 0; c < h.columns; ++c) count[c] = T(0);
  for (std::int64_t r = 0; r < h.rows; ++r) {
    const T* row = h.data + r * h.stride;
    for (std::int64_t c = 0; c < h.columns; ++c) count[c] += row[c] > T(0) ? T(1) : T(0);
  }
}

template <class T>
void active_dot_rows(const View<T>& h, const double* w, double* dot) {
  for (std::int64_t r = 0; r < h.rows; ++r) {
    const T* row = h.data + r * h.stride;
    Vec<double> sum[4] = {};
    std::int64_t c = 0;
    for (; c + 4 * kDoubles <= h.columns; c += 4 * kDoubles) {
      for (int i = 0; i < 4; ++i) sum[i] += widen(row + c + i * kDoubles) * load(w + c + i * kDoubles);
    }
    for (; c < h.columns; c += kDoubles) {
      sum[0] += widen_up_to(row + c, h.columns - c) * widen_up_to(w + c, h.columns - c);
    }
    dot[r] = lane_sum<double>((sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
}

constexpr int kSumRows = 8;  // added in T before they are added in double

// kCount rows, a factor each.
template <int kCount, class T>
inline void add_rows(const T* const* rows, const T* factor, std::int64_t columns, double* __restrict sum) {
  for (std::int64_t c = 0; c < columns; ++c) {
    T part = factor[0] * rows[0][c];
    for (int i = 1; i < kCount; ++i) part += factor[i] * rows[i][c];
    sum[c] += static_cast<double>(part);
  }
}

template <class T>
void active_sum_rows(const View<T>& h, const std::int32_t* index, const T* factor, double* sum) {
  const T* rows[kSumRows];
  T factors[kSumRows];
  int held = 0;
  for (std::int64_t i = 0; i < h.rows; ++i) {
    const std::int64_t k = index != nullptr ? index[i] : i;
    rows[held] = h.data + k * h.stride;
    factors[held++] = factor[k];
    if (held < kSumRows) continue;
    add_rows<kSumRows, T>(rows, factors, h.columns, sum);
    held = 0;
  }
  for (int i = 0; i < held; ++i) add_rows<1, T>(rows + i, factors + i, h.columns, sum);
}

// Columns [first, first + kScreenStride) are quantized into 32 bits and then narrowed, each a loop of whole vectors;
// this many of them are there.
inline std::int64_t screen_part(std::int64_t columns, std::int64_t first) {
  return columns - first < kScreenStride ? columns - first : kScreenStride;
}

template <class T>
void active_quantize_units(const View<T>& h, const T* inverse_scale, std::int64_t stride, std::uint8_t* q, T* norm,
                           T* rounding) {
  constexpr int n = kLanes<T>;
  const T* __restrict inverse = inverse_scale;
  for (std::int64_t r = 0; r < h.rows; ++r) {
    const T* __restrict row = h.data + r * h.stride;
    std::uint8_t* __restrict out = q + r * stride;
    T norm2[n] = {}, rounding2[n] = {};
    for (std::int64_t first = 0; first < stride; first += kScreenStride) {
      std::int32_t levels[kScreenStride] = {};
      by_lanes<T>(screen_part(h.columns, first), [&](std::int64_t c, int lane) __attribute__((always_inline)) {
        const T value = row[first + c] * inverse[first + c], most = T(kUnitLevels);
        const auto level = static_cast<std::int32_t>((value < most ? value : most) + T(0.5));
        const T whole = static_cast<T>(level), rest = value - whole;
        levels[c] = level;
        norm2[lane] += whole * whole;
        rounding2[lane] += rest * rest;
      });
      for (int i = 0; i < kScreenStride; ++i) out[first + i] = static_cast<std::uint8_t>(levels[i]);
    }
    T sum = T(0), rest = T(0);
    for (int lane = 0; lane < n; ++lane) {
      sum += norm2[lane];
      rest += rounding2[lane];
    }
    norm[r] = root(sum);
    rounding[r] = root(rest);
  }
}

template <class T>
RowBound<T> active_bound_row(std::int64_t columns, const T* __restrict w, const T* __restrict scale,
                             std::int64_t stride, std::int8_t* __restrict q) {
  constexpr int n = kLanes<T>;
  T positive[n] = {}, magnitude[n] = {}, largest[n] = {}, peak[n] = {};
  by_lanes<T>(columns, [&](std::int64_t j, int lane) __attribute__((always_inline)) {
    const T value = w[j] * scale[j], size = value < T(0) ? -value : value, plain = w[j] < T(0) ? -w[j] : w[j];
    positive[lane] += value > T(0) ? value : T(0);
    magnitude[lane] += size;
    largest[lane] = plain > largest[lane] ? plain : largest[lane];
    peak[lane] = size > peak[lane] ? size : peak[lane];
  });
  RowBound<T> b;
  T most = T(0);
  for (int lane = 0; lane < n; ++lane) {
    b.positive += positive[lane];
    b.magnitude += magnitude[lane];
    b.largest = largest[lane] > b.largest ? largest[lane] : b.largest;
    most = peak[lane] > most ? peak[lane] : most;
  }
  b.unit = most / T(kWeightLevels);
  if (q == nullptr) return b;
  const T inverse = most > T(0) ? T(kWeightLevels) / most : T(0);
  T norm2[n] = {}, rounding2[n] = {};  // in units of t, so that no square underflows
  for (std::int64_t first = 0; first < stride; first += kScreenStride) {
    std::int32_t levels[kScreenStride] = {};
    by_lanes<T>(screen_part(columns, first), [&](std::int64_t j, int lane) __attribute__((always_inline)) {
      const T value = w[first + j] * scale[first + j] * inverse;
      const T rounded = value + (value < T(0) ? T(-0.5) : T(0.5));
      // What no level can hold, NaN above all, shows in the rest.
      const auto level = static_cast<std::int32_t>(rounded > T(-128) && rounded < T(128) ? rounded : T(0));
      const T rest = value - static_cast<T>(level);
      levels[j] = level;
      norm2[lane] += value * value;
      rounding2[lane] += rest * rest;
    });
    for (int i = 0; i < kScreenStride; ++i) q[first + i] = static_cast<std::int8_t>(levels[i]);
  }
  for (int lane = 0; lane < n; ++lane) {
    b.norm += norm2[lane];
    b.rounding += rounding2[lane];
  }
  b.norm = b.unit * root(b.norm);
  b.rounding = b.unit * root(b.rounding);
  return b;
}

template <class T>
constexpr ActiveRowFunctions<T> active_row_functions() {
  return {active_column_range<T>, active_count_positive<T>, active_dot_rows<T>,
          active_sum_rows<T>,     active_quantize_units<T>, active_bound_row<T>};
}

}  // namespace
}  // namespace pn::cpu
