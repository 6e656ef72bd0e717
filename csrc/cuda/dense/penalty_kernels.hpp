// Values and gradients of the penalties as functions of their own.
#pragma once

#include <cstdint>

#include "cuda/dense/adam_kernels.hpp"

namespace pn::cuda {

// partial: (blocks,) sums of |w|, or of w^2.
template <class T>
struct SumWeights {
  const T* w;
  std::int64_t count;
  bool squares;
  double* partial;

  static constexpr std::int64_t kEach = 64 * kThreads;
  std::int64_t blocks() const { return parts_of(count, kEach); }
  static constexpr int threads() { return kThreads; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    const std::int64_t first = block * kEach;
    const double sum = sum_of(team, least(kEach, count - first), [&](std::int64_t i) {
      const double size = absolute(w[first + i]);
      return squares ? size * size : size;
    });
    team.one([&] { partial[block] = sum; });
  }
};

// *value += factor sum of terms: (count,).
struct AddTotal {
  const double* terms;
  std::int64_t count;
  double factor;
  double* value;

  static std::int64_t blocks() { return 1; }
  static constexpr int threads() { return kThreads; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t) const {
    const double sum = sum_of(team, count, [&](std::int64_t i) { return terms[i]; });
    team.one([&] { *value += factor * sum; });
  }
};

// *value += factor sum_k |w3_k| q_k.
template <class T>
struct AddPathNorm {
  const T* w3;
  const double* q;
  std::int64_t units;
  double factor;
  double* value;

  static std::int64_t blocks() { return 1; }
  static constexpr int threads() { return 1024; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t) const {
    const double sum = sum_of(team, units, [&](std::int64_t k) { return absolute(w3[k]) * q[k]; });
    team.one([&] { *value += factor * sum; });
  }
};

// gradient += that of L1 or L2.
template <class T>
struct AddPlainGradient {
  const T* w;
  PenaltyFactors<T> penalty;
  T* gradient;

  PN_TEAM void at(std::int64_t i) const { gradient[i] += penalty.plain(w[i]); }
};

// gradient += the path norm's. of: which tensor this is.
template <class T>
struct AddPathGradient {
  enum class Of { w1, w2, w3 };
  Of of;
  UnitShape shape;
  const T *w, *w3;
  double factor;  // lambda times core's path_norm_factor
  PathNormVectors path;
  T* gradient;

  PN_TEAM double scale(std::int64_t i) const {
    if (of == Of::w1) return path.e[i / shape.block_in];
    if (of == Of::w3) return path.q[i];
    const std::int64_t unit = i / shape.width, j = i % shape.width;
    return absolute(w3[unit]) * path.c[unit / shape.width * shape.width + j];
  }
  PN_TEAM void at(std::int64_t i) const { gradient[i] += static_cast<T>(factor * scale(i)) * sign(w[i]); }
};

}  // namespace pn::cuda
