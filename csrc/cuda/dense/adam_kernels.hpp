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
  PN_INLINE_MEMBER std::int64_t units() const { return groups * width; }

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

// c of some units, and with one hidden layer their e and q.
template <class T, class Team>
PN_TEAM void find_path_units(const Team& team, const UnitShape& shape, std::int64_t first, std::int64_t units,
                             const Tensors<const T>& p, const PathNormVectors& path) {
  const T* const w1 = p.w1 + first * shape.block_in;
  team.row_sums(
      units, static_cast<std::int32_t>(shape.block_in),
      [&](std::int64_t u, std::int32_t i) { return Pair{absolute(w1[u * shape.block_in + i]), 0.0}; },
      [&](std::int64_t u, const Pair& sum) {
        path.c[first + u] = sum.first;
        if (shape.two_layers) return;
        path.e[first + u] = absolute(p.w3[first + u]);
        path.q[first + u] = sum.first;
      });
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
      if (with_path) path.old_c[u] = path.c[u];
    });
    if (!with_path) return;
    team.sync();
    find_path_units(team, shape, first, units, as_const(p), path);
  }
};

// c, and with one hidden layer e and q, of parameters whose step did not come from AdamUnits.
template <class T>
struct PathUnits {
  UnitShape shape;
  Tensors<const T> p;
  PathNormVectors path;

  static constexpr std::int64_t kUnits = 32;
  std::int64_t blocks() const { return parts_of(shape.units(), kUnits); }
  static constexpr int threads() { return kThreads; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    const std::int64_t first = block * kUnits;
    find_path_units(team, shape, first, least(kUnits, shape.units() - first), p, path);
  }
};

constexpr std::int64_t kHiddenRows = 8;  // of W2, taken together

// Blocks of the pass over a group's W2 without a path norm.
PN_INLINE std::int64_t hidden_chunks(std::int64_t width) { return parts_of(width, kHiddenRows); }

// Rows of W2 that are left out of the pass (kernels.md, section 3): dead ones that a step has left as they are. Until a
// gradient wakes them, or the epoch is over, their moments stay as that step has left them.
struct RestingRows {
  std::int32_t* since = nullptr;  // (width,) 1 + the step of the epoch that no longer changed the row, or 0; or null
  const std::int32_t* may = nullptr;  // whether rows may rest in this epoch
  double beta1 = 0.0, beta2 = 0.0;

  // What the moments of a row are to be multiplied by before a step.
  struct Decay {
    double first, second;
  };
  PN_TEAM Decay decay(std::int32_t since_step, std::int64_t step) const {
    const auto steps = static_cast<double>(step - since_step);
    return {pow(beta1, steps), pow(beta2, steps)};
  }
};

// W2 without a path norm.
template <class T>
struct AdamHidden {
  UnitShape shape;
  T *p, *m, *v;  // (groups, width, width)
  HiddenGradient<T> gradient;
  StepScalars<T> scalars;
  PenaltyFactors<T> penalty;
  RestingRows rest;  // of one group, with scalars from a table; or without `since`

  std::int64_t blocks() const { return shape.groups * hidden_chunks(shape.width); }
  static constexpr int threads() { return kThreads; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    const AdamStep<T> s = scalars.get();
    const std::int64_t width = shape.width, chunks = hidden_chunks(width);
    const std::int64_t group = block / chunks, first = block % chunks * kHiddenRows;
    const std::int64_t end = least(width, first + kHiddenRows);
    for (std::int64_t k = first; k < end; ++k) {
      if (rest.since == nullptr) {
        update_row(team, group * width + k, s);
      } else {
        update_row_or_rest(team, k, s);
      }
    }
  }

  template <class Team>
  PN_TEAM void update_row(const Team& team, std::int64_t unit, const AdamStep<T>& s) const {
    const typename HiddenGradient<T>::Row row = gradient.row(unit);
    team.for_each(shape.width, [&](std::int64_t j) {
      const std::int64_t at = unit * shape.width + j;
      update(p[at], m[at], v[at], row.at(j) + penalty.plain(p[at]), s, s.retention);
    });
  }

  template <class Team>
  PN_TEAM void update_row_or_rest(const Team& team, std::int64_t k, const AdamStep<T>& s) const {
    const std::int32_t since = rest.since[k];
    const bool idle = gradient.is_zero(k);
    if (idle && since != 0) return;
    if (since != 0) wake(team, k, since);
    if (!idle || *rest.may == 0) {
      update_row(team, k, s);
    } else {
      update_idle_row(team, k, s);
    }
  }

  // Each number by the thread that updates it next.
  template <class Team>
  PN_TEAM void wake(const Team& team, std::int64_t k, std::int32_t since) const {
    const RestingRows::Decay decay = rest.decay(since, scalars.cursor->step);
    team.for_each(shape.width, [&](std::int64_t j) {
      const std::int64_t at = k * shape.width + j;
      m[at] *= static_cast<T>(decay.first);
      v[at] *= static_cast<T>(decay.second);
    });
    team.sync();  // all have seen that it was at rest
    team.one([&] { rest.since[k] = 0; });
  }

  template <class Team>
  PN_TEAM void update_idle_row(const Team& team, std::int64_t k, const AdamStep<T>& s) const {
    double changed = 0.0;
    team.for_each(shape.width, [&](std::int64_t j) {
      const std::int64_t at = k * shape.width + j;
      const T before = p[at];
      update(p[at], m[at], v[at], T(0), s, s.retention);
      if (!(p[at] == before)) changed += 1.0;
    });
    changed = team.total(changed);
    team.one([&] {
      if (changed == 0.0) rest.since[k] = static_cast<std::int32_t>(scalars.cursor->step + 1);
    });
  }
};

// At the end of an epoch: gives every row at rest the moments that it would have, and wakes it.
template <class T>
struct SettleRows {
  std::int64_t width;
  T *m, *v;  // (width, width)
  RestingRows rest;
  const Cursor* cursor;

  std::int64_t blocks() const { return hidden_chunks(width); }
  static constexpr int threads() { return kThreads; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    const std::int64_t first = block * kHiddenRows, end = least(width, first + kHiddenRows);
    for (std::int64_t k = first; k < end; ++k) {
      const std::int32_t since = rest.since[k];
      if (since == 0) continue;
      const RestingRows::Decay decay = rest.decay(since, cursor->step);
      team.for_each(width, [&](std::int64_t j) {
        m[k * width + j] *= static_cast<T>(decay.first);
        v[k * width + j] *= static_cast<T>(decay.second);
      });
      team.sync();
      team.one([&] { rest.since[k] = 0; });
    }
  }
};

// Tiles of W2 that the path norm's sums are formed of: e in parts of so many rows, q in parts of so many columns. Of a
// small W2 they are narrow, so that there are blocks for all of the device; of a large one wide, since each block joins
// q over its threads.
struct PathTiles {
  static constexpr std::int64_t kRows = 32, kNarrow = kThreads, kWide = 4 * kThreads, kLarge = 2048;
  std::int64_t down, across, columns;  // columns: of a tile

  static PN_INLINE_MEMBER PathTiles of(std::int64_t width) {
    const std::int64_t columns = width > kLarge ? kWide : kNarrow;
    return {parts_of(width, kRows), parts_of(width, columns), columns};
  }
};

// Sums over tiles, one after the other: e (groups, down, width), q (groups, across, width).
struct PathParts {
  double *e = nullptr, *q = nullptr;
};

// W2 under a path norm: the step, where there is one to take, and of the new values q and e in parts. A block a tile.
template <class T>
struct PathHidden {
  UnitShape shape;
  T *p, *m, *v;  // m == null: no step, the vectors alone
  HiddenGradient<T> gradient;
  StepScalars<T> scalars;
  T factor;  // lambda times core's path_norm_factor
  const T* new_w3;
  PathNormVectors path;
  PathParts parts;

  std::int64_t blocks() const {
    const PathTiles tiles = PathTiles::of(shape.width);
    return shape.groups * tiles.down * tiles.across;
  }
  static constexpr int threads() { return kThreads; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    AdamStep<T> s{};
    if (m != nullptr) s = scalars.get();
    const PathTiles tiles = PathTiles::of(shape.width);
    const std::int64_t group = block / (tiles.down * tiles.across), tile = block % (tiles.down * tiles.across);
    const std::int64_t down = tile / tiles.across, across = tile % tiles.across;
    double* const e = parts.e + (group * tiles.down + down) * shape.width;
    double* const q = parts.q + (group * tiles.across + across) * shape.width;
    const std::int64_t first = down * PathTiles::kRows, end = least(shape.width, first + PathTiles::kRows);
    for (std::int64_t row = first; row < end; row += kHiddenRows) {
      some_rows(team, group, row, across * tiles.columns, tiles.columns, s, row > first, e, q);
    }
  }

  // kHiddenRows rows of a group, or those there are. e: (width,), added to where `more` is set; q: (width,).
  template <class Team>
  PN_TEAM void some_rows(const Team& team, std::int64_t group, std::int64_t row, std::int64_t column,
                         std::int64_t columns, const AdamStep<T>& s, bool more, double* e, double* q) const {
    const std::int64_t width = shape.width;
    double sums[kHiddenRows] = {};
    team.for_each(least(columns, width - column), [&](std::int64_t i) {
      const std::int64_t j = column + i;
      const double c = path.c[group * width + j];
      double sum = more ? e[j] : 0.0;
      PN_UNROLL
      for (int r = 0; r < kHiddenRows; ++r) {
        if (row + r >= width) continue;
        const std::int64_t unit = group * width + row + r, at = unit * width + j;
        if (m != nullptr) step(unit, j, s);
        const double size = absolute(p[at]);
        sums[r] += size * c;
        sum += size * absolute(new_w3[unit]);
      }
      e[j] = sum;
    });
    PN_UNROLL
    for (int r = 0; r < kHiddenRows; ++r) sums[r] = team.total(sums[r]);
    team.one([&] {
      PN_UNROLL
      for (int r = 0; r < kHiddenRows; ++r) {
        if (row + r < width) q[row + r] = sums[r];
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

// e and q: (groups, width) from the tiles' parts, which it overwrites. A block has a few columns, and for each of them
// several threads, which share the parts of e.
struct JoinPath {
  UnitShape shape;
  PathParts parts;
  double *e, *q;

  static constexpr std::int64_t kColumns = 32, kShares = 16;
  std::int64_t blocks() const { return shape.groups * parts_of(shape.width, kColumns); }
  static constexpr int threads() { return static_cast<int>(kColumns * kShares); }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    const PathTiles tiles = PathTiles::of(shape.width);
    const std::int64_t blocks_each = parts_of(shape.width, kColumns), group = block / blocks_each;
    const std::int64_t first = block % blocks_each * kColumns, columns = least(kColumns, shape.width - first);
    double* const own_e = parts.e + group * tiles.down * shape.width + first;
    const double* const own_q = parts.q + group * tiles.across * shape.width + first;
    const std::int64_t shares = least(kShares, tiles.down);
    team.for_each(kColumns * shares, [&](std::int64_t i) {
      const std::int64_t column = i % kColumns, share = i / kColumns;
      if (column >= columns) return;
      double sum = 0.0;
      for (std::int64_t t = share; t < tiles.down; t += kShares) sum += own_e[t * shape.width + column];
      own_e[share * shape.width + column] = sum;  // in the place of a part that nobody else reads
    });
    team.sync();
    team.for_each(columns, [&](std::int64_t column) {
      const std::int64_t unit = group * shape.width + first + column;
      e[unit] = in_order(own_e + column, shares);
      q[unit] = in_order(own_q + column, tiles.across);
    });
  }

  // Of the first parts of a column.
  PN_TEAM double in_order(const double* part, std::int64_t count) const {
    double sum = 0.0;
    for (std::int64_t t = 0; t < count; ++t) sum += part[t * shape.width];
    return sum;
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
