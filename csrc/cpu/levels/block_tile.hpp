// Direct kernels for one block on one tile of rows. Units are rows of an array, data rows are lanes: (unit, kTileRows).
#pragma once

#include <cstdint>

namespace pn::cpu {

constexpr int kTileRows = 64;  // rows of a tile; missing ones repeat the last row and carry residual 0

// One block's parameters and sizes; activation as in core/network.hpp.
template <class T>
struct BlockWeights {
  std::int64_t block_in, width;
  std::int32_t hidden_layers, activation;
  const T* w1;  // w1: (width, block_in) [out, in]
  const T* b1;  // b1: (width,)
  const T* w2;  // w2: (width, width) [out, in]
  const T* b2;  // b2: (width,)
  const T* w3;  // w3: (width,)
};

// Units of a layer, ascending.
struct Units {
  std::int32_t* at;  // at: (width,), of which the first count are used
  std::int64_t count;
};

// A block's activations on a tile, which forward leaves for backward.
template <class T>
struct BlockActivations {
  T* h1;  // h1: (width, kTileRows)
  T* h2;  // h2: (width, kTileRows), with two hidden layers
  // Units that are not 0 throughout the tile: only they change anything. All of them where that is not certain: with
  // another activation than ReLU, or weights that are not finite.
  Units active1, active2;
};

// Where the block's gradient is added; same shapes.
template <class T>
struct BlockGradient {
  T *w1, *b1, *w2, *b2, *w3;
};

template <class T>
struct BlockTileFunctions {
  // x: (block_in, kTileRows); h is filled; out: (kTileRows,) = w3 . h.
  void (*forward)(const BlockWeights<T>& block, const T* x, BlockActivations<T>& h, T* out);
  // residual: (kTileRows,) dloss/dout; h as forward left it, its last layer is overwritten; scratch: block_scratch()
  // elements.
  void (*backward)(const BlockWeights<T>& block, const T* x, const T* residual, const BlockActivations<T>& h,
                   T* scratch, const BlockGradient<T>& gradient);
  std::int64_t (*scratch)(std::int64_t width);
  // h: (width, kTileRows); sets positive[u] where a lane is > 0, nonpositive[u] where one is not; both (width,).
  void (*activity)(const T* h, std::int64_t width, std::uint8_t* positive, std::uint8_t* nonpositive);
};

}  // namespace pn::cpu
