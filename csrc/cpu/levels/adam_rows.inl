// Adam fused with the penalties; see adam_rows.hpp. The loops carry no dependence and are left to the vectoriser.
#pragma once

#include "core/penalty.hpp"
#include "cpu/levels/adam_rows.hpp"
#include "cpu/levels/lanes.inl"

namespace pn::cpu {
namespace {

template <class T>
void adam_rows_update(const AdamStretch<T>& row, const AdamStep<T>& step, T l1, T twice_l2) {
  T* __restrict p = row.p, * __restrict m = row.m, * __restrict v = row.v;
  const T* __restrict g = row.gradient;
  const T loss_scale = row.scale;
  const AdamStep<T> s = step;
  for (std::int64_t i = 0; i < row.n; ++i) {
    const T gradient = loss_scale * g[i] + l1 * sign(p[i]) + twice_l2 * p[i];
    p[i] = adam_update(p[i] * s.retention, gradient, m[i], v[i], s);
  }
}

template <class T>
void adam_rows_update_path(const AdamStretch<T>& row, const AdamStep<T>& step, T factor, const T* __restrict scale) {
  T* __restrict p = row.p, * __restrict m = row.m, * __restrict v = row.v;
  const T* __restrict g = row.gradient;
  const T loss_scale = row.scale;
  const AdamStep<T> s = step;
  for (std::int64_t i = 0; i < row.n; ++i) {
    const T gradient = loss_scale * g[i] + factor * scale[i] * sign(p[i]);
    p[i] = adam_update(p[i] * s.retention, gradient, m[i], v[i], s);
  }
}

template <class T>
inline T magnitude_of(T value) {
  return value < T(0) ? -value : value;
}

template <class T>
inline T sum_of_lanes(const T* partial) {
  T sum = T(0);
  for (int lane = 0; lane < kLanes<T>; ++lane) sum += partial[lane];
  return sum;
}

enum class Summed { before, after };  // which values of the row

template <class T, Summed kSummed>
inline T adam_rows_update_and_sum(const AdamStretch<T>& row, const AdamStep<T>& step, T factor,
                                  const T* __restrict old_c, const T* __restrict c, T abs_w3, T* __restrict e) {
  T* __restrict p = row.p, * __restrict m = row.m, * __restrict v = row.v;
  const T* __restrict g = row.gradient;
  const T loss_scale = row.scale;
  const AdamStep<T> s = step;
  T partial[kLanes<T>] = {};  // q_k, a partial sum a lane
  by_lanes<T>(row.n, [&](std::int64_t i, int lane) __attribute__((always_inline)) {
    const T now = p[i];
    const T gradient = loss_scale * g[i] + factor * old_c[i] * sign(now);
    const T next = adam_update(now * s.retention, gradient, m[i], v[i], s);
    const T size = magnitude_of(kSummed == Summed::before ? now : next);
    p[i] = next;
    e[i] += abs_w3 * size;
    partial[lane] += size * c[i];
  });
  return sum_of_lanes(partial);
}

template <class T>
T adam_rows_update_path_sums(const AdamStretch<T>& row, const AdamStep<T>& step, T factor, const T* old_c,
                             const T* new_c, T new_abs_w3, T* e) {
  return adam_rows_update_and_sum<T, Summed::after>(row, step, factor, old_c, new_c, new_abs_w3, e);
}

template <class T>
T adam_rows_update_path_old_sums(const AdamStretch<T>& row, const AdamStep<T>& step, T factor, const T* c, T abs_w3,
                                 T* e) {
  return adam_rows_update_and_sum<T, Summed::before>(row, step, factor, c, c, abs_w3, e);
}

template <class T>
T adam_rows_path_sums(const T* __restrict row, std::int64_t count, const T* __restrict c, T abs_w3, T* __restrict e) {
  T partial[kLanes<T>] = {};
  by_lanes<T>(count, [&](std::int64_t i, int lane) __attribute__((always_inline)) {
    const T size = magnitude_of(row[i]);
    e[i] += abs_w3 * size;
    partial[lane] += size * c[i];
  });
  return sum_of_lanes(partial);
}

template <class T>
bool adam_rows_update_idle(const AdamStretch<T>& row, const AdamStep<T>& step) {
  T* __restrict p = row.p, * __restrict m = row.m, * __restrict v = row.v;
  const AdamStep<T> s = step;
  int changed = 0;
  for (std::int64_t i = 0; i < row.n; ++i) {
    const T next = adam_update(p[i], T(0), m[i], v[i], s);
    changed |= next == p[i] ? 0 : 1;  // NaN never rests
    p[i] = next;
  }
  return changed != 0;
}

template <class T>
void adam_rows_decay(const AdamStretch<T>& row, T m_factor, T v_factor) {
  T* __restrict m = row.m, * __restrict v = row.v;
  for (std::int64_t i = 0; i < row.n; ++i) {
    m[i] *= m_factor;
    v[i] *= v_factor;
  }
}

template <class T>
constexpr AdamRowFunctions<T> adam_row_functions() {
  return {adam_rows_update<T>,
          adam_rows_update_path<T>,
          adam_rows_update_path_sums<T>,
          adam_rows_update_path_old_sums<T>,
          adam_rows_path_sums<T>,
          adam_rows_update_idle<T>,
          adam_rows_decay<T>};
}

}  // namespace
}  // namespace pn::cpu
