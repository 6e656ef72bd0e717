// The backward pass of a dense network besides its products: output layer, masks, split factors, hidden layer.
#pragma once

#include <cstdint>

#include "cuda/dense/bfloat16.hpp"
#include "cuda/dense/dense_forward.hpp"
#include "cuda/dense/unit_classes.hpp"

namespace pn::cuda {

// Of the last hidden layer: dw_k = sum_b r_b h_bk, db_k = sum_b dz_bk with dz_bk = r_b w_k act'(z_bk), and on how many
// rows the unit is active. dz: (n, width) may be h, or null where it is not wanted.
template <class T>
struct OutputColumn {
  static constexpr int kSums = 3;
  const T* h;  // (n, width)
  const T *residual, *w;
  std::int64_t width;
  Activation activation;
  T* dz;

  PN_TEAM void add(std::int64_t b, std::int64_t k, double (&sums)[kSums]) const {
    const T value = h[b * width + k];
    const T slope = residual[b] * w[k] * activation_slope(activation, value);
    sums[0] += static_cast<double>(residual[b]) * static_cast<double>(value);
    sums[1] += static_cast<double>(slope);
    sums[2] += static_cast<double>(value > T(0));
    if (dz != nullptr) dz[b * width + k] = slope;
  }
};

// The same for layer 2 on the active way, where dz is not wanted, and in the same launches u_j = sum_b r_b h1_bj: with
// w3_k the gradient of row k of W2 for a unit that is on.
template <class T>
struct ActiveColumn {
  static constexpr int kSums = OutputColumn<T>::kSums + 1;
  OutputColumn<T> output;
  const T* h1;  // (n, width)

  PN_TEAM void add(std::int64_t b, std::int64_t j, double (&sums)[kSums]) const {
    double of_output[OutputColumn<T>::kSums] = {};
    output.add(b, j, of_output);
    for (int s = 0; s < OutputColumn<T>::kSums; ++s) sums[s] += of_output[s];
    sums[kSums - 1] += static_cast<double>(output.residual[b]) * static_cast<double>(h1[b * output.width + j]);
  }
};

// s_j = sum over the units that are on of w3_k W2_kj: with r_b what they add to dH1.
template <class T>
struct LinearColumn {
  static constexpr int kSums = 1;
  const T *w2, *w3;  // w2: (width, width) [out, in]
  const std::int32_t* slot;
  std::int64_t width;

  PN_TEAM void add(std::int64_t k, std::int64_t j, double (&sums)[kSums]) const {
    if (slot[k] == kOn) sums[0] += static_cast<double>(w3[k]) * static_cast<double>(w2[k * width + j]);
  }
};

// dz1 = dh1 act'(z1), in place, and db1_j = sum_b dz1_bj. dh1: (n, width) is the product dZ2 W2; with linear given it
// is P_bj = sum_k mask_bk w3_k W2_kj over the mixed units, and dh1_bj = r_b (P_bj + s_j). Without mixed units P is not
// read.
template <class T>
struct HiddenColumn {
  static constexpr int kSums = 1;
  const T* h1;  // (n, width)
  const T* residual;
  const T* linear;  // (width,) s, or null
  const std::int32_t* mixed_count;
  std::int64_t width;
  Activation activation;
  T* dz;  // (n, width)

  PN_TEAM void add(std::int64_t b, std::int64_t j, double (&sums)[kSums]) const {
    const std::int64_t at = b * width + j;
    T dh;
    if (linear == nullptr) {
      dh = dz[at];
    } else {
      dh = residual[b] * ((*mixed_count > 0 ? dz[at] : T(0)) + linear[j]);
    }
    const T value = dh * activation_slope(activation, h1[at]);
    dz[at] = value;
    sums[0] += static_cast<double>(value);
  }
};

// A factor of masked products in terms whose sum it is, a product for each, the smallest first: three of bfloat16, in
// which the mask is exact, for float32; itself for float64.
template <class T>
struct SplitMatrix;

template <>
struct SplitMatrix<float> {
  using Element = Bfloat16;
  static constexpr int kTerms = 3;
  Element* term[kTerms];

  static PN_TEAM Element element(float value) { return to_bfloat16(value); }
  PN_TEAM void store(std::int64_t at, float value) const {
    const ThreeTerms terms = split(value);
    term[0][at] = terms.low;
    term[1][at] = terms.middle;
    term[2][at] = terms.high;
  }
};

template <>
struct SplitMatrix<double> {
  using Element = double;
  static constexpr int kTerms = 1;
  Element* term[kTerms];

  static PN_TEAM Element element(double value) { return value; }
  PN_TEAM void store(std::int64_t at, double value) const { term[0][at] = value; }
};

// mask: (n, capacity) = [h2_bk > 0] of the mixed units, zeros beyond them.
template <class T>
struct PackMask {
  const T* h2;  // (n, width)
  std::int64_t width;
  const std::int32_t *mixed, *mixed_count;
  std::int64_t capacity;
  typename SplitMatrix<T>::Element* mask;

  PN_TEAM void at(std::int64_t i) const {
    const std::int64_t b = i / capacity, p = i % capacity;
    const bool active = p < *mixed_count && h2[b * width + mixed[p]] > T(0);
    mask[i] = SplitMatrix<T>::element(active ? T(1) : T(0));
  }
};

// to: (n, stride) = r_b h1_bj, zeros beyond the width.
template <class T>
struct SplitWeightedRows {
  const T* h1;  // (n, width)
  const T* residual;
  std::int64_t width, stride;
  SplitMatrix<T> to;

  PN_TEAM void at(std::int64_t i) const {
    const std::int64_t b = i / stride, j = i % stride;
    to.store(i, j < width ? residual[b] * h1[b * width + j] : T(0));
  }
};

// to: (capacity, stride) = w3_k W2_kj of the mixed units k, zeros beyond them and beyond the width.
template <class T>
struct SplitMixedRows {
  const T *w2, *w3;
  const std::int32_t *mixed, *mixed_count;
  std::int64_t width, stride;
  SplitMatrix<T> to;

  PN_TEAM void at(std::int64_t i) const {
    const std::int64_t p = i / stride, j = i % stride;
    const bool inside = p < *mixed_count && j < width;
    to.store(i, inside ? w3[mixed[p]] * w2[static_cast<std::int64_t>(mixed[p]) * width + j] : T(0));
  }
};

// The gradient of W2 as the backward pass leaves it: whole, or by the units' slots. Row k is scale times row, or 0
// where row is null.
template <class T>
struct HiddenGradient {
  const T* whole = nullptr;              // (groups width, width)
  const std::int32_t* slot = nullptr;    // (width,); null: whole is used
  const T *w3 = nullptr, *on = nullptr;  // (width,) w3 of the forward pass, and u
  const T* panel = nullptr;              // (capacity, width) of the mixed units, to be multiplied by w3_k
  std::int64_t width = 0;

  struct Row {
    const T* row;
    T scale;
    PN_TEAM T at(std::int64_t j) const { return row == nullptr ? T(0) : scale * row[j]; }
  };
  PN_TEAM bool is_zero(std::int64_t k) const { return slot != nullptr && slot[k] == kDead; }
  PN_TEAM Row row(std::int64_t k) const { return row(k, slot == nullptr ? T(1) : w3[k]); }
  // The same where w3 has changed since: former_w3 is what it was.
  PN_TEAM Row row(std::int64_t k, T former_w3) const {
    if (slot == nullptr) return {whole + k * width, T(1)};
    if (slot[k] == kDead) return {nullptr, T(0)};
    return {slot[k] == kOn ? on : panel + slot[k] * width, former_w3};
  }
};

// w2: (width, width) = the gradient, whole.
template <class T>
struct ExpandGradient {
  HiddenGradient<T> gradient;
  T* w2;

  PN_TEAM void at(std::int64_t i) const { w2[i] = gradient.row(i / gradient.width).at(i % gradient.width); }
};

}  // namespace pn::cuda
