// What the active-unit kernel (kernels.md, section 3) does besides products: ranges, sums and quantized copies.
#pragma once

#include <cstdint>

namespace pn::cpu {

// A panel that is only read.
template <class T>
struct View {
  const T* data;
  std::int64_t rows, columns, stride;
};

// Of a row w of W2, with the scales s_j of H1's columns and v_j = w_j s_j.
template <class T>
struct RowBound {
  T positive = T(0);   // sum_j max(v_j, 0)
  T magnitude = T(0);  // sum_j |v_j|
  T largest = T(0);    // max_j |w_j|
  T unit = T(0);       // t = max_j |v_j| / kWeightLevels
  T norm = T(0);       // ||v||
  T rounding = T(0);   // ||v - t q||, q: the quantized row
};

// Two products fit into 16 bits, which AVX2 and AVX-512 without VNNI add them up in. Twice the levels would certify
// 1 to 3% more of the units that are asked for, half of them 2 to 25% fewer (d = 40, 20 and 8).
constexpr int kWeightLevels = 127, kUnitLevels = 127;

template <class T>
struct ActiveRowFunctions {
  // largest[c] = max over rows of h, which is >= 0; poison[c] is NaN where one is NaN or infinite, else 0; both
  // (columns,).
  void (*column_range)(const View<T>& h, T* largest, T* poison);
  // count: (columns,) of the entries > 0.
  void (*count_positive)(const View<T>& h, T* count);
  // dot: (rows,) = h w, in double: an error of w would be the same for every row and would not average out.
  void (*dot_rows)(const View<T>& h, const double* w, double* dot);
  // sum: (columns,) += sum_i factor_k h_k, k = index[i], or i where index is null; h.rows is how many. In double: an
  // error of such a sum is the same for every row that it is multiplied with, and does not average out as a product's
  // do.
  void (*sum_rows)(const View<T>& h, const std::int32_t* index, const T* factor, double* sum);
  // q: (rows, stride) = h inverse_scale rounded to at most kUnitLevels, zeros beyond the columns; norm and rounding:
  // (rows,) are the lengths of q_r and of h_r inverse_scale - q_r.
  void (*quantize_units)(const View<T>& h, const T* inverse_scale, std::int64_t stride, std::uint8_t* q, T* norm,
                         T* rounding);
  // q: (stride,) = w scale / t rounded, zeros beyond n; null where nobody wants it.
  RowBound<T> (*bound_row)(std::int64_t n, const T* w, const T* scale, std::int64_t stride, std::int8_t* q);
};

// Extreme products of quantized rows, |w| at most kWeightLevels and h at most kUnitLevels.
struct ScreenFunctions {
  // largest[i], smallest[i]: over the rows r, of sum_j h[r stride + j] w[unit[i] stride + j]. stride: a multiple of
  // kScreenStride and at most kMostScreenWidth, so that no sum overflows.
  void (*extremes)(const std::uint8_t* h, std::int64_t rows, const std::int8_t* w, const std::int32_t* unit,
                   std::int64_t units, std::int64_t stride, std::int32_t* largest, std::int32_t* smallest);
};

constexpr std::int64_t kScreenStride = 64, kMostScreenWidth = 65536;

}  // namespace pn::cpu
