// Adam fused with the penalties (kernels.md, section 4), for every network: first all tensors but W2, unit by unit,
// then W2, a few rows a block. Under a path norm the second pass leaves the vectors of the next step:
//   c_j = sum_i |w1_ji|,  e_j = sum_k |w3_k| |W2_kj|,  q_k = sum_j |W2_kj| c_j;  one hidden layer: e_j = |w_j|, q_k =
//   c_k.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/adam.hpp"
#include "core/penalty.hpp"
#include "cuda/dense/dense_backward.hpp"
#include "cuda/tensors.hpp"

namespace pn::cuda {

// Extents of a network's tensors.
struct UnitShape {
  std::int64_t groups, width, block_in;
  bool two_layers;
  std::int64_t units() const { return groups * width; }

  static UnitShape of(const NetworkShape& shape) {
    return {shape.groups(), shape.width, shape.block_in, shape.hidden_layers == 2};
  }
};

// The scalars of a step, by value or, within a training run, from a table that the cursor points into.
template <class T>
struct StepScalars {
  AdamStep<T> value{};
  const AdamStep<T>* table = nullptr;
  const Cursor* cursor = nullptr;

  PN_TEAM AdamStep<T> get() const { return table == nullptr ? value : table[cursor->step]; }
};

// Factors of the penalties' gradients; at most one is not 0.
template <class T>
struct PenaltyFactors {
  T l1 = T(0), twice_l2 = T(0);
  T path = T(0);  // lambda times core's path_norm_factor

  PN_TEAM T plain(T w) const { return l1 * sign(w) + twice_l2 * w; }
};

// Per unit, double. q is of the units of the last hidden layer, old_c and old_w3 of the parameters before the step.
struct PathNormVectors {
  double *c = nullptr, *e = nullptr, *q = nullptr, *old_c = nullptr, *old_w3 = nullptr;
};

template <class T>
PN_TEAM double absolute(T value) {
  return std::fabs(static_cast<double>(value));
}

template <class T>
PN_TEAM void update(T& p, T& m, T& v, T gradient, const AdamStep<T>& s, T retention) {
  p = adam_update(p * retention, gradient, m, v, s);
}

// All tensors but W2, some units a block. With path, c gets the sums of the new w1, old_c those of the old.
template <class T>
struct AdamUnits {
  UnitShape shape;
  Tensors<T> p, m, v;
  Tensors<const T> gradient;
  StepScalars<T> scalars;
  PenaltyFactors<T> penalty;
  PathNormVectors path;
  bool with_path;

  static constexpr std::int64_t kUnits = 8;
  std::int64_t blocks() const { return parts_of(shape.units(), kUnits); }
  static constexpr int threads() { return kThreads; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    const AdamStep<T> s = scalars.get();
    const std::int64_t first = block * kUnits, units = least(kUnits, shape.groups * shape.width - first);
    const std::int64_t in = shape.block_in;
    team.for_each(units * in, [&](std::int64_t i) {
      const std::int64_t at = first * in + i;
      const T w = p.w1[at];
      const T extra =
          with_path ? static_cast<T>(static_cast<double>(penalty.path) * path.e[at / in]) * sign(w) : penalty.plain(w);
      update(p.w1[at], m.w1[at], v.w1[at], gradient.w1[at] + extra, s, s.retention);
    });
    team.sync();
    team.for_each(units, [&](std::int64_t i) {
      const std::int64_t u = first + i;
      update(p.b1[u], m.b1[u], v.b1[u], gradient.b1[u], s, T(1));
      if (shape.two_layers) update(p.b2[u], m.b2[u], v.b2[u], gradient.b2[u], s, T(1));
      const T w = p.w3[u];
      const T extra =
          with_path ? static_cast<T>(static_cast<double>(penalty.path) * path.q[u]) * sign(w) : penalty.plain(w);
      if (with_path) path.old_w3[u] = static_cast<double>(w);
      update(p.w3[u], m.w3[u], v.w3[u], gradient.w3[u] + extra, s, s.retention);
      if (with_path) renew(u);
    });
  }

  PN_TEAM void renew(std::int64_t u) const {
    double sum = 0.0;
    for (std::int64_t i = 0; i < shape.block_in; ++i) sum += absolute(p.w1[u * shape.block_in + i]);
    path.old_c[u] = path.c[u];
    path.c[u] = sum;
    if (!shape.two_layers) {
      path.e[u] = absolute(p.w3[u]);
      path.q[u] = sum;
    }
  }
};

// c, and with one hidden layer e and q, of parameters whose step did not come from AdamUnits.
template <class T>
struct PathUnits {
  UnitShape shape;
  Tensors<const T> p;
  PathNormVectors path;

  PN_TEAM void at(std::int64_t u) const {
    double sum = 0.0;
    for (std::int64_t i = 0; i < shape.block_in; ++i) sum += absolute(p.w1[u * shape.block_in + i]);
    path.c[u] = sum;
    if (!shape.two_layers) {
      path.e[u] = absolute(p.w3[u]);
      path.q[u] = sum;
    }
  }
};

constexpr std::int64_t kHiddenRows = 8;  // of W2, a block

// Blocks of the passes over a group's W2.
PN_INLINE std::int64_t hidden_chunks(std::int64_t width) { return parts_of(width, kHiddenRows); }

// W2 without a path norm.
template <class T>
struct AdamHidden {
  UnitShape shape;
  T *p, *m, *v;  // (groups, width, width)
  HiddenGradient<T> gradient;
  StepScalars<T> scalars;
  PenaltyFactors<T> penalty;

  std::int64_t blocks() const { return shape.groups * hidden_chunks(shape.width); }
  static constexpr int threads() { return kThreads; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    const AdamStep<T> s = scalars.get();
    const std::int64_t width = shape.width, chunks = hidden_chunks(width);
    const std::int64_t group = block / chunks, first = block % chunks * kHiddenRows;
    const std::int64_t end = least(width, first + kHiddenRows);
    for (std::int64_t k = first; k < end; ++k) {
      const std::int64_t unit = group * width + k;
      const typename HiddenGradient<T>::Row row = gradient.row(unit);
      team.for_each(width, [&](std::int64_t j) {
        const std::int64_t at = unit * width + j;
        update(p[at], m[at], v[at], row.at(j) + penalty.plain(p[at]), s, s.retention);
      });
    }
  }
};

// W2 under a path norm: the step, where there is one to take, and of the new values q and, in parts, e.
template <class T>
struct PathHidden {
  UnitShape shape;
  T *p, *m, *v;  // m == null: no step, the vectors alone
  HiddenGradient<T> gradient;
  StepScalars<T> scalars;
  T factor;  // lambda times core's path_norm_factor
  const T* new_w3;
  PathNormVectors path;
  double* partial_e;  // (groups, chunks, width)

  std::int64_t blocks() const { return shape.groups * hidden_chunks(shape.width); }
  static constexpr int threads() { return kThreads; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    AdamStep<T> s{};
    if (m != nullptr) s = scalars.get();
    const std::int64_t width = shape.width, chunks = hidden_chunks(width);
    const std::int64_t group = block / chunks, first = block % chunks * kHiddenRows;
    double q[kHiddenRows] = {};
    team.for_each(width, [&](std::int64_t j) {
      const double c = path.c[group * width + j];
      double e = 0.0;
      PN_UNROLL
      for (int r = 0; r < kHiddenRows; ++r) {
        if (first + r >= width) continue;
        const std::int64_t unit = group * width + first + r, at = unit * width + j;
        if (m != nullptr) step(unit, j, s);
        const double size = absolute(p[at]);
        q[r] += size * c;
        e += size * absolute(new_w3[unit]);
      }
      partial_e[block * width + j] = e;
    });
    PN_UNROLL
    for (int r = 0; r < kHiddenRows; ++r) q[r] = team.total(q[r]);
    team.one([&] {
      PN_UNROLL
      for (int r = 0; r < kHiddenRows; ++r) {
        if (first + r < width) path.q[group * width + first + r] = q[r];
      }
    });
  }

  PN_TEAM void step(std::int64_t unit, std::int64_t j, const AdamStep<T>& s) const {
    const std::int64_t group = unit / shape.width, at = unit * shape.width + j;
    const double c = path.old_c[group * shape.width + j];
    const T w3 = static_cast<T>(path.old_w3[unit]);
    const T extra = static_cast<T>(static_cast<double>(factor) * absolute(w3) * c) * sign(p[at]);
    update(p[at], m[at], v[at], gradient.row(unit, w3).at(j) + extra, s, s.retention);
  }
};

// e: (groups, width) from the chunks' parts, in order.
struct JoinPath {
  UnitShape shape;
  const double* partial_e;
  double* e;

  PN_TEAM void at(std::int64_t unit) const {
    const std::int64_t chunks = hidden_chunks(shape.width);
    const std::int64_t group = unit / shape.width, j = unit % shape.width;
    double sum = 0.0;
    for (std::int64_t c = 0; c < chunks; ++c) sum += partial_e[(group * chunks + c) * shape.width + j];
    e[unit] = sum;
  }
};

// Any array, as one tensor of weights.
template <class T>
struct AdamElements {
  T *p, *m, *v;
  const T* gradient;
  StepScalars<T> scalars;
  PenaltyFactors<T> penalty;

  PN_TEAM void at(std::int64_t i) const {
    const AdamStep<T> s = scalars.get();
    update(p[i], m[i], v[i], gradient[i] + penalty.plain(p[i]), s, s.retention);
  }
};

}  // namespace pn::cuda
