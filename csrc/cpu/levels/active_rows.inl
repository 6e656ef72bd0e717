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

// Whole numbers, as many as a vector of T has lanes.
template <class T>
struct LevelsOf {
  typedef std::int32_t type __attribute__((vector_size(kLanes<T> * sizeof(std::int32_t))));
};
template <class T>
using Levels = typename LevelsOf<T>::type;

// Fills q: (stride,) with levels(c), those of columns [c, c + lanes), which fit a Byte. They are narrowed by the
// kScreenStride, in loops that compilers make vectors of.
template <class T, class Byte, class Quantize>
inline __attribute__((always_inline)) void quantize(std::int64_t stride, Byte* __restrict q, Quantize levels) {
  for (std::int64_t first = 0; first < stride; first += kScreenStride) {
    std::int32_t wide[kScreenStride];
    for (int c = 0; c < kScreenStride; c += kLanes<T>) {
      const Levels<T> some = levels(first + c);
      __builtin_memcpy(wide + c, &some, sizeof some);
    }
    for (int c = 0; c < kScreenStride; ++c) q[first + c] = static_cast<Byte>(wide[c]);
  }
}

template <class T>
void active_quantize_units(const View<T>& h, const T* inverse_scale, std::int64_t stride, std::uint8_t* q, T* norm,
                           T* rounding) {
  const Vec<T> most = broadcast(T(kUnitLevels));
  for (std::int64_t r = 0; r < h.rows; ++r) {
    const T* row = h.data + r * h.stride;
    Vec<T> norm2{}, rounding2{};
    quantize<T>(stride, q + r * stride, [&](std::int64_t c) __attribute__((always_inline)) {
      const Vec<T> value = load_up_to(row + c, h.columns - c) * load_up_to(inverse_scale + c, h.columns - c);
      const auto levels = __builtin_convertvector((value < most ? value : most) + T(0.5), Levels<T>);
      const Vec<T> whole = __builtin_convertvector(levels, Vec<T>), rest = value - whole;
      norm2 += whole * whole;
      rounding2 += rest * rest;
      return levels;
    });
    norm[r] = root(lane_sum<T>(norm2));
    rounding[r] = root(lane_sum<T>(rounding2));
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
  Vec<T> norm2{}, rounding2{};  // in units of t, so that no square underflows
  quantize<T>(stride, q, [&](std::int64_t j) __attribute__((always_inline)) {
    const Vec<T> value = load_up_to(w + j, columns - j) * load_up_to(scale + j, columns - j) * inverse;
    const Vec<T> rounded = value + (value < T(0) ? broadcast(T(-0.5)) : broadcast(T(0.5)));
    // What no level can hold, NaN above all, shows in the rest.
    const auto fits = (rounded > T(-128)) & (rounded < T(128));
    const auto levels = __builtin_convertvector(fits ? rounded : Vec<T>{}, Levels<T>);
    const Vec<T> rest = value - __builtin_convertvector(levels, Vec<T>);
    norm2 += value * value;
    rounding2 += rest * rest;
    return levels;
  });
  b.norm = b.unit * root(lane_sum<T>(norm2));
  b.rounding = b.unit * root(lane_sum<T>(rounding2));
  return b;
}

template <class T>
constexpr ActiveRowFunctions<T> active_row_functions() {
  return {active_column_range<T>, active_count_positive<T>, active_dot_rows<T>,
          active_sum_rows<T>,     active_quantize_units<T>, active_bound_row<T>};
}

}  // namespace
}  // namespace pn::cpu
