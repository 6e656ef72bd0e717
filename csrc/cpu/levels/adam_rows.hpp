// Adam fused with the penalties, on contiguous stretches of one tensor.
#pragma once

#include <cstdint>

#include "core/adam.hpp"

namespace pn::cpu {

// p, m, v are updated; scale times gradient is that of the loss alone. All (n,).
template <class T>
struct AdamStretch {
  T* p;
  const T* gradient;
  T *m, *v;
  std::int64_t n;
  T scale = T(1);
};

template <class T>
struct AdamRowFunctions {
  // gradient + l1 sign(p) + twice_l2 p
  void (*update)(const AdamStretch<T>& row, const AdamStep<T>& step, T l1, T twice_l2);
  // gradient + scale[j] sign(p_j): one tensor of the path norm; scale: (n,), multiplied by factor.
  void (*update_path)(const AdamStretch<T>& row, const AdamStep<T>& step, T factor, const T* scale);
  // A row k of W2: as update_path with scale = c of the old w1, then the sums that the next step needs, of the new
  // values: e: (n,) += |w3_k| |W2_kj|; returns q_k = sum_j |W2_kj| c_j.
  T (*update_path_sums)(const AdamStretch<T>& row, const AdamStep<T>& step, T factor, const T* old_c, const T* new_c,
                        T new_abs_w3, T* e);
  // The same update with the sums that this step needs, of the old values: c and |w3_k| are old, too.
  T (*update_path_old_sums)(const AdamStretch<T>& row, const AdamStep<T>& step, T factor, const T* c, T abs_w3, T* e);
  // The sums of a row as it is, in the same order.
  T (*path_sums)(const T* row, std::int64_t n, const T* c, T abs_w3, T* e);
  // A gradient of 0 and no penalty; whether a parameter has changed.
  bool (*update_idle)(const AdamStretch<T>& row, const AdamStep<T>& step);
  // m and v times a factor each.
  void (*decay)(const AdamStretch<T>& row, T m_factor, T v_factor);
};

}  // namespace pn::cpu
