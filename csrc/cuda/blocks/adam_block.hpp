// Adam with penalties on one block's tensors, by a team (kernels.md, section 4).
#pragma once

#include <cstdint>

#include "core/adam.hpp"
#include "core/penalty.hpp"
#include "cuda/blocks/arena.hpp"
#include "cuda/device/team.hpp"
#include "cuda/tensors.hpp"

namespace pn::cuda {

// A penalty's strengths as they enter the gradient; at most one is not 0.
template <class T>
struct PenaltyStrengths {
  T l1 = T(0), twice_l2 = T(0);
  double path = 0.0;  // times the factor of core/penalty_gradient.hpp
};

template <class T>
inline PenaltyStrengths<T> penalty_strengths(const Penalty& penalty, double path_norm_factor) {
  PenaltyStrengths<T> s;
  if (penalty.kind == PenaltyKind::l1) s.l1 = static_cast<T>(penalty.strength);
  if (penalty.kind == PenaltyKind::l2) s.twice_l2 = static_cast<T>(2 * penalty.strength);
  if (penalty.kind == PenaltyKind::path_norm) s.path = penalty.strength * path_norm_factor;
  return s;
}

// The vectors of the path norm's gradient: c_j = sum_i |w1_ji|, e_j = sum_k |w3_k| |W2_kj|, q_k = sum_j |W2_kj| c_j,
// and |w3_k|; with one hidden layer e_j = |w_j| and q_k = c_k.
struct PathVectors {
  double *c, *e, *q, *w3;  // (width,)
};

PN_INLINE PathVectors take_path_vectors(Arena& arena, const BlockShape& b) {
  PathVectors v;
  v.c = arena.take<double>(b.width);
  v.e = arena.take<double>(b.width);
  v.q = arena.take<double>(b.width);
  v.w3 = arena.take<double>(b.width);
  return v;
}

template <class T>
PN_INLINE double magnitude(T value) {
  return static_cast<double>(value < T(0) ? -value : value);
}

// Begins and ends with a sync.
template <class Team, class T>
PN_TEAM void fill_path_vectors(const Team& team, const BlockShape& b, const Tensors<const T>& p, const PathVectors& v) {
  team.sync();
  team.for_each(b.width, [&](std::int32_t j) {
    double sum = 0.0;
    for (std::int32_t i = 0; i < b.inputs; ++i) sum += magnitude(p.w1[static_cast<std::int64_t>(j) * b.inputs + i]);
    v.c[j] = sum;
    v.w3[j] = magnitude(p.w3[j]);
    if (b.hidden_layers == 1) {
      v.e[j] = magnitude(p.w3[j]);
      v.q[j] = sum;
    }
  });
  team.sync();
  if (b.hidden_layers == 1) return;
  const auto w2 = [&](std::int32_t k, std::int32_t j) {
    return magnitude(p.w2[static_cast<std::int64_t>(k) * b.width + j]);
  };
  team.row_sums(
      b.width, b.width, [&](std::int32_t k, std::int32_t j) { return Pair{w2(k, j) * v.c[j], 0.0}; },
      [&](std::int32_t k, const Pair& sum) { v.q[k] = sum.first; });
  team.row_sums(
      b.width, b.width, [&](std::int32_t j, std::int32_t k) { return Pair{v.w3[k] * w2(k, j), 0.0}; },
      [&](std::int32_t j, const Pair& sum) { v.e[j] = sum.first; });
  team.sync();
}

template <class T>
struct AdamBlock {
  Tensors<T> p, m, v;
  Tensors<const T> gradient;  // of the loss
};

// The penalty's gradient is added on the way. Begins and ends with a sync.
template <class Team, class T>
PN_TEAM void adam_block(const Team& team, const BlockShape& b, const AdamBlock<T>& a, const AdamStep<T>& step,
                        const PenaltyStrengths<T>& penalty, const PathVectors& path) {
  if (penalty.path != 0.0) {
    fill_path_vectors(team, b, as_const(a.p), path);
  } else {
    team.sync();
  }
  const auto weights = [&](std::int32_t count, T* p, const T* gradient, T* m, T* v, auto path_gradient) {
    team.for_each(count, [&](std::int32_t i) {
      const T w = p[i];
      T g = gradient[i] + penalty.l1 * sign(w) + penalty.twice_l2 * w;
      if (penalty.path != 0.0) g += static_cast<T>(penalty.path * path_gradient(i) * static_cast<double>(sign(w)));
      p[i] = adam_update(w * step.retention, g, m[i], v[i], step);
    });
  };
  const auto biases = [&](T* p, const T* gradient, T* m, T* v) {
    team.for_each(b.width, [&](std::int32_t i) { p[i] = adam_update(p[i], gradient[i], m[i], v[i], step); });
  };
  const Tensors<const T>& g = a.gradient;
  weights(b.width * b.inputs, a.p.w1, g.w1, a.m.w1, a.v.w1, [&](std::int32_t i) { return path.e[i / b.inputs]; });
  biases(a.p.b1, g.b1, a.m.b1, a.v.b1);
  if (b.hidden_layers == 2) {
    weights(b.width * b.width, a.p.w2, g.w2, a.m.w2, a.v.w2,
            [&](std::int32_t i) { return path.w3[i / b.width] * path.c[i % b.width]; });
    biases(a.p.b2, g.b2, a.m.b2, a.v.b2);
  }
  weights(b.width, a.p.w3, g.w3, a.m.w3, a.v.w3, [&](std::int32_t i) { return path.q[i]; });
  team.sync();
}

}  // namespace pn::cuda
