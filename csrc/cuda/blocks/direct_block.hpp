// Direct kernels for blocks of any shape and activation (kernels.md, section 1): a team takes a tile of points, whose
// activations stay in its fast memory.
#pragma once

#include <cmath>
#include <cstdint>

#include "cuda/blocks/block_step.hpp"

namespace pn::cuda {

template <class T>
PN_INLINE T activate(Activation a, T z) {
  switch (a) {
    case Activation::relu: return z > T(0) || z != z ? z : T(0);
    case Activation::tanh: return static_cast<T>(tanh(z));
    case Activation::sigmoid: return T(1) / (T(1) + static_cast<T>(exp(-z)));
  }
  return z;
}

// From the activation's value.
template <class T>
PN_INLINE T activation_slope(Activation a, T h) {
  switch (a) {
    case Activation::relu: return h > T(0) ? T(1) : T(0);
    case Activation::tanh: return T(1) - h * h;
    case Activation::sigmoid: return h * (T(1) - h);
  }
  return T(1);
}

constexpr std::int32_t kTilePoints = 32;

// The activations of a tile.
template <class T>
struct TileWorkspace {
  T* h1;  // (kTilePoints, width)
  T* h2;  // (kTilePoints, width) with two hidden layers
  T* d1;  // (kTilePoints, width) derivatives of the loss by the preactivations
};

template <class T>
PN_INLINE TileWorkspace<T> take_tile(Arena& arena, const BlockShape& b) {
  const std::int64_t size = static_cast<std::int64_t>(kTilePoints) * b.width;
  TileWorkspace<T> w;
  w.h1 = arena.take<T>(size);
  w.h2 = b.hidden_layers == 2 ? arena.take<T>(size) : w.h1;
  w.d1 = arena.take<T>(size);
  return w;
}

// Points of a tile: rows of a batch, each with the inputs of one block.
template <class T>
struct Tile {
  const RowSlice<T>& rows;
  std::int32_t first, count;  // of the rows
  std::int32_t input;         // the block's first
};

template <class Team, class T>
class DirectTile {
 public:
  PN_TEAM DirectTile(const Team& team, const BlockShape& shape, const Tensors<const T>& p, const TileWorkspace<T>& w)
      : team_(team), b_(shape), p_(p), w_(w) {}

  // Activations. Begins and ends with a sync.
  PN_TEAM void forward(const Tile<T>& tile) const {
    team_.sync();
    team_.for_each(tile.count * b_.width, [&](std::int32_t i) {
      const std::int32_t r = i / b_.width, j = i % b_.width;
      T z = p_.b1[j];
      for (std::int32_t c = 0; c < b_.inputs; ++c) {
        z += p_.w1[static_cast<std::int64_t>(j) * b_.inputs + c] * tile.rows.x(tile.first + r, tile.input + c);
      }
      w_.h1[i] = activate(b_.activation, z);
    });
    team_.sync();
    if (b_.hidden_layers == 1) return;
    team_.for_each(tile.count * b_.width, [&](std::int32_t i) {
      const std::int32_t r = i / b_.width, k = i % b_.width;
      const T* const w2 = p_.w2 + static_cast<std::int64_t>(k) * b_.width;
      const T* const h1 = w_.h1 + r * b_.width;
      T z = p_.b2[k];
      for (std::int32_t j = 0; j < b_.width; ++j) z += w2[j] * h1[j];
      w_.h2[i] = activate(b_.activation, z);
    });
    team_.sync();
  }

  // done(r, the block's output at point r), after forward. Ends without a sync.
  template <class Done>
  PN_TEAM void outputs(const Tile<T>& tile, Done done) const {
    team_.row_sums(
        tile.count, b_.width,
        [&](std::int32_t r, std::int32_t k) {
          return Pair{static_cast<double>(p_.w3[k]) * static_cast<double>(w_.h2[r * b_.width + k]), 0.0};
        },
        [&](std::int32_t r, const Pair& sum) { done(r, sum.first); });
  }

  // Adds the gradient from residuals dloss/doutput; after forward, whose activations are lost. Ends with a sync.
  template <class Residual>
  PN_TEAM void backward(const Tile<T>& tile, Residual residual, const Tensors<T>& g) const {
    team_.for_each(b_.width, [&](std::int32_t k) {
      T sum = T(0);
      for (std::int32_t r = 0; r < tile.count; ++r) sum += static_cast<T>(residual(r)) * w_.h2[r * b_.width + k];
      g.w3[k] += sum;
    });
    team_.sync();
    team_.for_each(tile.count * b_.width, [&](std::int32_t i) {  // h2 becomes dz2 (h1 dz1 with one hidden layer)
      const std::int32_t r = i / b_.width, k = i % b_.width;
      const T h = w_.h2[i];
      (b_.hidden_layers == 2 ? w_.h2 : w_.d1)[i] =
          static_cast<T>(residual(r)) * p_.w3[k] * activation_slope(b_.activation, h);
    });
    team_.sync();
    if (b_.hidden_layers == 2) second_layer(tile, g);
    first_layer(tile, g);
    team_.sync();
  }

 private:
  PN_TEAM void second_layer(const Tile<T>& tile, const Tensors<T>& g) const {
    const T* const d2 = w_.h2;
    team_.for_each(b_.width * b_.width, [&](std::int32_t i) {
      const std::int32_t k = i / b_.width, j = i % b_.width;
      T sum = T(0);
      for (std::int32_t r = 0; r < tile.count; ++r) sum += d2[r * b_.width + k] * w_.h1[r * b_.width + j];
      g.w2[i] += sum;
    });
    team_.for_each(b_.width, [&](std::int32_t k) {
      T sum = T(0);
      for (std::int32_t r = 0; r < tile.count; ++r) sum += d2[r * b_.width + k];
      g.b2[k] += sum;
    });
    team_.for_each(tile.count * b_.width, [&](std::int32_t i) {
      const std::int32_t r = i / b_.width, j = i % b_.width;
      T sum = T(0);
      for (std::int32_t k = 0; k < b_.width; ++k) {
        sum += p_.w2[static_cast<std::int64_t>(k) * b_.width + j] * d2[r * b_.width + k];
      }
      w_.d1[i] = sum * activation_slope(b_.activation, w_.h1[i]);
    });
    team_.sync();
  }

  PN_TEAM void first_layer(const Tile<T>& tile, const Tensors<T>& g) const {
    team_.for_each(b_.width * b_.inputs, [&](std::int32_t i) {
      const std::int32_t j = i / b_.inputs, c = i % b_.inputs;
      T sum = T(0);
      for (std::int32_t r = 0; r < tile.count; ++r) {
        sum += w_.d1[r * b_.width + j] * tile.rows.x(tile.first + r, tile.input + c);
      }
      g.w1[i] += sum;
    });
    team_.for_each(b_.width, [&](std::int32_t j) {
      T sum = T(0);
      for (std::int32_t r = 0; r < tile.count; ++r) sum += w_.d1[r * b_.width + j];
      g.b1[j] += sum;
    });
  }

  const Team& team_;
  const BlockShape& b_;
  const Tensors<const T>& p_;
  const TileWorkspace<T>& w_;
};

// Which units were seen active and inactive: (layers, width) of one set of weights, 0 beforehand. Teams of other rows
// may have the same. Null: not asked for.
struct SeenUnits {
  std::int32_t *positive, *nonpositive;
};

// Rows first .. end-1 of the slice, a tile at a time.
struct RowSpan {
  std::int32_t first, end;
};

template <class Team, class T, class Body>
PN_TEAM void for_tiles(const Team&, const RowSlice<T>& rows, const RowSpan& span, std::int32_t input, Body body) {
  for (std::int32_t first = span.first; first < span.end; first += kTilePoints) {
    const std::int32_t left = span.end - first;
    body(Tile<T>{rows, first, left < kTilePoints ? left : kTilePoints, input});
  }
}

template <class Team, class T>
PN_TEAM void note_units(const Team& team, const BlockShape& b, const T* h, std::int32_t points, std::int32_t layer,
                        const SeenUnits& seen) {
  team.for_each(points * b.width, [&](std::int32_t i) {
    const std::int32_t unit = layer * b.width + i % b.width;
    team.mark((h[i] > T(0) ? seen.positive : seen.nonpositive) + unit);
  });
}

// Outputs of one block at some rows. input: the block's first. Ends with a sync.
template <class Team, class T>
PN_TEAM void direct_values(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                           const TileWorkspace<T>& w, const RowSlice<T>& rows, const RowSpan& span, std::int32_t input,
                           const SeenUnits& seen, double* outputs) {
  const DirectTile<Team, T> direct(team, shape, p, w);
  for_tiles(team, rows, span, input, [&](const Tile<T>& tile) {
    direct.forward(tile);
    if (seen.positive != nullptr) {
      note_units(team, shape, w.h1, tile.count, 0, seen);
      if (shape.hidden_layers == 2) note_units(team, shape, w.h2, tile.count, 1, seen);
    }
    direct.outputs(tile, [&](std::int32_t r, double sum) { outputs[tile.first + r] = sum; });
  });
  team.sync();
}

// Blocks of a network that have one set of weights: [first, end).
struct BlockSpan {
  std::int32_t first, end;
};

// The part of the gradient of one set of weights that some rows contribute. After join_outputs of the same rows. Ends
// with a sync.
template <class Team, class T>
PN_TEAM void direct_gradient(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                             const TileWorkspace<T>& w, const RowSlice<T>& rows, const RowSpan& span,
                             const BlockSpan& blocks, const double* residual, const Tensors<T>& gradient) {
  const auto clear = [&](T* values, std::int32_t count) {
    team.for_each(count, [&](std::int32_t i) { values[i] = T(0); });
  };
  clear(gradient.w1, shape.width * shape.inputs);
  clear(gradient.b1, shape.width);
  if (shape.hidden_layers == 2) clear(gradient.w2, shape.width * shape.width);
  if (shape.hidden_layers == 2) clear(gradient.b2, shape.width);
  clear(gradient.w3, shape.width);
  const double factor = 2.0 / (static_cast<double>(rows.count) * rows.inputs);
  const DirectTile<Team, T> direct(team, shape, p, w);
  for (std::int32_t block = blocks.first; block < blocks.end; ++block) {
    for_tiles(team, rows, span, block * shape.inputs, [&](const Tile<T>& tile) {
      direct.forward(tile);
      direct.backward(tile, [&](std::int32_t r) { return residual[tile.first + r] * factor; }, gradient);
    });
  }
}

// The sum of the parts, (parts, block_size), into the first one. Ends with a sync.
template <class Team, class T>
PN_TEAM void join_parts(const Team& team, const BlockShape& shape, std::int32_t parts, T* gradient) {
  const std::int64_t size = block_size(shape);
  team.for_each(size, [&](std::int64_t i) {
    double sum = 0.0;
    for (std::int32_t part = 0; part < parts; ++part) sum += static_cast<double>(gradient[part * size + i]);
    gradient[i] = static_cast<T>(sum);
  });
  team.sync();
}

// Adds the counts of a set of weights' units. Units of other activations than ReLU are all mixed.
template <class Team>
PN_TEAM void count_seen(const Team& team, const BlockShape& b, const SeenUnits& seen, UnitCounts* units) {
  team.for_each(b.hidden_layers * b.width, [&](std::int32_t unit) {
    UnitCounts& layer = units[unit / b.width];
    const bool relu = b.activation == Activation::relu;
    const bool dead = relu && seen.positive[unit] == 0, on = relu && !dead && seen.nonpositive[unit] == 0;
    team.add(dead ? &layer.dead : (on ? &layer.on : &layer.mixed), std::int64_t{1});
  });
  team.sync();
}

}  // namespace pn::cuda
