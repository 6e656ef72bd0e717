// Bias, activation, mask and loss around the products of a dense network; see dense_rows.hpp.
#pragma once

#include "cpu/levels/dense_rows.hpp"

namespace pn::cpu {
namespace {

// Calls body(vector or tail, at) over n elements: whole vectors by load and store, the tail through a padded copy.
template <class T>
inline __attribute__((always_inline)) Vec<T> load_part(const T* p, std::int64_t n) {
  Vec<T> v{};
  for (int i = 0; i < kLanes<T>; ++i) {
    if (i < n) v[i] = p[i];
  }
  return v;
}
template <class T>
inline __attribute__((always_inline)) void store_part(T* p, Vec<T> v, std::int64_t n) {
  for (int i = 0; i < kLanes<T>; ++i) {
    if (i < n) p[i] = v[i];
  }
}
// Access to the first n >= 1 of kLanes elements, whole where n allows.
template <class T>
inline Vec<T> load_up_to(const T* p, std::int64_t n) {
  return n >= kLanes<T> ? load(p) : load_part(p, n);
}
template <class T>
inline void store_up_to(T* p, Vec<T> v, std::int64_t n) {
  if (n >= kLanes<T>) {
    store(p, v);
  } else {
    store_part<T>(p, v, n);
  }
}

template <class T>
void dense_activate(std::int32_t activation, const Panel<T>& z, const T* bias) {
  with_activation(activation, [&](auto a) {
    for (std::int64_t r = 0; r < z.rows; ++r) {
      T* row = z.data + r * z.stride;
      for (std::int64_t c = 0; c < z.columns; c += kLanes<T>) {
        const std::int64_t n = z.columns - c;
        store_up_to<T>(row + c, activate<a.value, T>(load_up_to(row + c, n) + load_up_to(bias + c, n)), n);
      }
    }
  });
}

template <class T>
void dense_activate_dot(std::int32_t activation, const Panel<T>& z, const T* bias, const T* w, T* dot) {
  with_activation(activation, [&](auto a) {
    for (std::int64_t r = 0; r < z.rows; ++r) {
      T* row = z.data + r * z.stride;
      Vec<T> sum{};
      for (std::int64_t c = 0; c < z.columns; c += kLanes<T>) {
        const std::int64_t n = z.columns - c;
        const Vec<T> h = activate<a.value, T>(load_up_to(row + c, n) + load_up_to(bias + c, n));
        sum += h * load_up_to(w + c, n);
        store_up_to<T>(row + c, h, n);
      }
      double lanes = 0.0;  // the residual is a small difference, to which this sum's rounding would show
      for (int i = 0; i < kLanes<T>; ++i) lanes += static_cast<double>(sum[i]);
      dot[r] = static_cast<T>(lanes);
    }
  });
}

template <class T>
inline void add_up_to(T* p, Vec<T> v, std::int64_t n) {
  store_up_to<T>(p, load_up_to(p, n) + v, n);
}

// Sums over rows are taken in two stages: at the start all residuals have one sign, and a sum of hundreds of such terms
// one by one has several times the rounding error of a BLAS's.
constexpr std::int64_t kSummedRows = 8;

template <class T>
void dense_output_backward(std::int32_t activation, const Panel<T>& h, const T* residual, const T* w, T* dw, T* db) {
  for (std::int64_t c = 0; c < h.columns; ++c) dw[c] = db[c] = T(0);
  with_activation(activation, [&](auto a) {
    for (std::int64_t first = 0; first < h.rows; first += kSummedRows) {
      const std::int64_t last = first + kSummedRows < h.rows ? first + kSummedRows : h.rows;
      for (std::int64_t c = 0; c < h.columns; c += kLanes<T>) {
        const std::int64_t n = h.columns - c;
        const Vec<T> weight = load_up_to(w + c, n);
        Vec<T> dw_sum = broadcast(T(0)), db_sum = dw_sum;
        for (std::int64_t r = first; r < last; ++r) {
          T* at = h.data + r * h.stride + c;
          const Vec<T> res = broadcast(residual[r]), value = load_up_to(at, n);
          const Vec<T> dz = times_derivative<a.value, T>(res * weight, value);
          dw_sum += res * value;
          db_sum += dz;
          store_up_to<T>(at, dz, n);
        }
        add_up_to<T>(dw + c, dw_sum, n);
        add_up_to<T>(db + c, db_sum, n);
      }
    }
  });
}

enum class Lacks { nothing, product, factor };

template <Lacks kLacks, std::int32_t kActivation, class T>
inline void hidden_backward_rows(const Panel<T>& dh, const T* h, const OuterProduct<T>& more, T* db) {
  for (std::int64_t r = 0; r < dh.rows; ++r) {
    T* row = dh.data + r * dh.stride;
    const T* value = h + r * dh.stride;
    const Vec<T> factor = broadcast(kLacks != Lacks::nothing ? more.column[r] : T(0));
    for (std::int64_t c = 0; c < dh.columns; c += kLanes<T>) {
      const std::int64_t n = dh.columns - c;
      Vec<T> upstream = load_up_to(row + c, n);
      if constexpr (kLacks == Lacks::product) upstream += factor * load_up_to(more.row + c, n);
      if constexpr (kLacks == Lacks::factor) upstream = factor * (upstream + load_up_to(more.row + c, n));
      const Vec<T> dz = times_derivative<kActivation, T>(upstream, load_up_to(value + c, n));
      add_up_to<T>(db + c, dz, n);
      store_up_to<T>(row + c, dz, n);
    }
  }
}

template <class T>
void dense_hidden_backward(std::int32_t activation, const Panel<T>& dh, const T* h, const OuterProduct<T>& more,
                           T* db) {
  for (std::int64_t c = 0; c < dh.columns; ++c) db[c] = T(0);
  with_activation(activation, [&](auto a) {
    if (more.row == nullptr) {
      hidden_backward_rows<Lacks::nothing, a.value, T>(dh, h, more, db);
    } else if (more.whole) {
      hidden_backward_rows<Lacks::factor, a.value, T>(dh, h, more, db);
    } else {
      hidden_backward_rows<Lacks::product, a.value, T>(dh, h, more, db);
    }
  });
}

template <class T>
void dense_activity(const Panel<T>& h, std::uint8_t* positive, std::uint8_t* nonpositive) {
  for (std::int64_t r = 0; r < h.rows; ++r) {
    const T* row = h.data + r * h.stride;
    for (std::int64_t c = 0; c < h.columns; ++c) {
      const auto active = static_cast<std::uint8_t>(row[c] > T(0));
      positive[c] |= active;
      nonpositive[c] |= static_cast<std::uint8_t>(1 - active);
    }
  }
}

template <class T>
constexpr DenseRowFunctions<T> dense_row_functions() {
  return {dense_activate<T>, dense_activate_dot<T>, dense_output_backward<T>, dense_hidden_backward<T>,
          dense_activity<T>};
}

}  // namespace
}  // namespace pn::cpu
