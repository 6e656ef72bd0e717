// Direct kernels for one block on one tile of rows; see block_tile.hpp.
#pragma once

#include "cpu/levels/block_tile.hpp"
#include "cpu/levels/transpose.inl"

namespace pn::cpu {
namespace {

#if PN_VECTOR_BYTES == 64
constexpr int kUnitBlock = 8;     // units x 2 vectors of rows in registers
constexpr int kOuterVectors = 4;  // kOuterUnits x kOuterVectors in registers
constexpr int kOuterUnits = 6;
#elif PN_VECTOR_BYTES == 32
constexpr int kUnitBlock = 6;
constexpr int kOuterVectors = 2;
constexpr int kOuterUnits = 6;
#else
constexpr int kUnitBlock = 4;
constexpr int kOuterVectors = 2;
constexpr int kOuterUnits = 4;
#endif

// Calls body with min(left, most) as a compile-time constant, until nothing is left.
template <int kMost, class Body>
inline __attribute__((always_inline)) void with_count(std::int64_t count, Body body) {
  if (count >= kMost) {
    body(Constant<kMost>{});
  } else if constexpr (kMost > 1) {
    with_count<kMost - 1>(count, body);
  }
}

template <class T>
struct Strided {
  const T* data;
  std::int64_t row, column;
};

// Long sums are taken in stretches of this many terms, so that rounding errors grow with a stretch and the number of
// them.
constexpr std::int64_t kSumStretch = 32;

// c: (kCount, kTileRows) = start + a b, with a: (kCount, inner) strided and b: (inner, kTileRows); start is bias, or 0
// where it is null, or c itself.
template <int kCount, class T>
inline void product_rows(std::int64_t inner, Strided<T> a, const T* b, const T* bias, bool onto_c, T* c) {
  constexpr int kWide = 2 * kLanes<T>;
  for (int r = 0; r < kTileRows; r += kWide) {
    Vec<T> sum[kCount][2] = {};
    for (std::int64_t j = 0; j < inner; ++j) {
      const Vec<T> b0 = load(b + j * kTileRows + r);
      const Vec<T> b1 = load(b + j * kTileRows + r + kLanes<T>);
      for (int m = 0; m < kCount; ++m) {
        const T factor = a.data[m * a.row + j * a.column];
        sum[m][0] += factor * b0;
        sum[m][1] += factor * b1;
      }
    }
    for (int m = 0; m < kCount; ++m) {
      for (int v = 0; v < 2; ++v) {
        T* at = c + m * kTileRows + r + v * kLanes<T>;
        const Vec<T> start = onto_c ? load(at) : broadcast(bias ? bias[m] : T(0));
        store(at, start + sum[m][v]);
      }
    }
  }
}

// c: (rows, kTileRows) = bias + a b; bias may be null.
template <class T>
void product(std::int64_t rows, std::int64_t inner, Strided<T> a, const T* b, const T* bias, T* c) {
  for (std::int64_t m = 0; m < rows;) {
    with_count<kUnitBlock>(rows - m, [&](auto count) {
      for (std::int64_t j = 0; j < inner; j += kSumStretch) {
        const std::int64_t terms = inner - j < kSumStretch ? inner - j : kSumStretch;
        product_rows<count.value>(terms, Strided<T>{a.data + m * a.row + j * a.column, a.row, a.column},
                                  b + j * kTileRows, bias ? bias + m : nullptr, j > 0, c + m * kTileRows);
      }
      m += count.value;
    });
  }
}

template <class T>
constexpr std::int64_t padded(std::int64_t width) {
  return (width + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// g: (kUnits, columns) row-major with `stride` += dz ht over a tile, dz: (kUnits, kTileRows), ht: (kTileRows, padded).
template <int kUnits, int kVectors, class T>
inline void outer_block(const T* dz, const T* ht, std::int64_t padded_width, std::int64_t columns, T* g,
                        std::int64_t stride) {
  Vec<T> sum[kUnits][kVectors] = {};
  for (int r = 0; r < kTileRows; ++r) {
    Vec<T> h[kVectors];
    for (int v = 0; v < kVectors; ++v) h[v] = load(ht + r * padded_width + v * kLanes<T>);
    for (int k = 0; k < kUnits; ++k) {
      const T factor = dz[k * kTileRows + r];
      for (int v = 0; v < kVectors; ++v) sum[k][v] += factor * h[v];
    }
  }
  for (int k = 0; k < kUnits; ++k) {
    T* row = g + k * stride;
    for (int v = 0; v < kVectors; ++v) {
      const std::int64_t at = v * kLanes<T>;
      if (at + kLanes<T> <= columns) {
        store(row + at, load(row + at) + sum[k][v]);
      } else {
        for (std::int64_t j = at; j < columns; ++j) row[j] += sum[k][v][j - at];
      }
    }
  }
}

// dW2: (width, width) += dZ2^T H1 over a tile.
template <class T>
void outer(std::int64_t width, const T* dz, const T* ht, T* g) {
  const std::int64_t padded_width = padded<T>(width);
  for (std::int64_t k = 0; k < width;) {
    with_count<kOuterUnits>(width - k, [&](auto units) {
      for (std::int64_t j = 0; j < width;) {
        with_count<kOuterVectors>((padded_width - j) / kLanes<T>, [&](auto vectors) {
          outer_block<units.value, vectors.value>(dz + k * kTileRows, ht + j, padded_width, width - j,
                                                  g + k * width + j, width);
          j += vectors.value * kLanes<T>;
        });
      }
      k += units.value;
    });
  }
}

template <class T>
inline T dot_tile(const T* a, const T* b) {
  Vec<T> sum = load(a) * load(b);
  for (int r = kLanes<T>; r < kTileRows; r += kLanes<T>) sum += load(a + r) * load(b + r);
  return lane_sum<T>(sum);
}

template <class T>
void activate_tile(std::int64_t width, std::int32_t activation, T* h) {
  with_activation(activation, [&](auto a) {
    for (std::int64_t i = 0; i < width * kTileRows; i += kLanes<T>) store(h + i, activate<a.value, T>(load(h + i)));
  });
}

// out: (kTileRows,) = w h, in four partial sums: what is left of their cancellation is the prediction.
template <class T>
void output_tile(std::int64_t width, const T* w, const T* h, T* out) {
  constexpr int kParts = 4;
  for (int r = 0; r < kTileRows; r += kLanes<T>) {
    Vec<T> sum[kParts] = {};
    std::int64_t k = 0;
    for (; k + kParts <= width; k += kParts) {
      for (int part = 0; part < kParts; ++part) sum[part] += w[k + part] * load(h + (k + part) * kTileRows + r);
    }
    for (; k < width; ++k) sum[k % kParts] += w[k] * load(h + k * kTileRows + r);
    store(out + r, (sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
}

template <class T>
void block_forward(const BlockWeights<T>& block, const T* x, T* h1, T* h2, T* out) {
  const std::int64_t width = block.width;
  product(width, block.block_in, Strided<T>{block.w1, block.block_in, 1}, x, block.b1, h1);
  activate_tile(width, block.activation, h1);
  const T* last = h1;
  if (block.hidden_layers == 2) {
    product(width, width, Strided<T>{block.w2, width, 1}, h1, block.b2, h2);
    activate_tile(width, block.activation, h2);
    last = h2;
  }
  output_tile(width, block.w3, last, out);
}

// h: (width, kTileRows) becomes dz = residual w3 act'(z); dw3 and the bias gradient are added.
template <class T>
void output_backward(const BlockWeights<T>& block, const T* residual, T* h, T* dw3, T* db) {
  with_activation(block.activation, [&](auto a) {
    for (std::int64_t k = 0; k < block.width; ++k) {
      T* row = h + k * kTileRows;
      Vec<T> dw{}, bias{};
      for (int r = 0; r < kTileRows; r += kLanes<T>) {
        const Vec<T> value = load(row + r), res = load(residual + r);
        const Vec<T> dz = times_derivative<a.value, T>(res * block.w3[k], value);
        dw += res * value;
        bias += dz;
        store(row + r, dz);
      }
      dw3[k] += lane_sum<T>(dw);
      db[k] += lane_sum<T>(bias);
    }
  });
}

// dh: (width, kTileRows) becomes dz = dh act'(z); the bias gradient is added.
template <class T>
void hidden_backward(std::int64_t width, std::int32_t activation, const T* h, T* dh, T* db) {
  with_activation(activation, [&](auto a) {
    for (std::int64_t j = 0; j < width; ++j) {
      Vec<T> bias{};
      for (std::int64_t i = j * kTileRows; i < (j + 1) * kTileRows; i += kLanes<T>) {
        const Vec<T> dz = times_derivative<a.value, T>(load(dh + i), load(h + i));
        bias += dz;
        store(dh + i, dz);
      }
      db[j] += lane_sum<T>(bias);
    }
  });
}

template <class T>
void block_backward(const BlockWeights<T>& block, const T* x, const T* residual, T* h1, T* h2, T* scratch,
                    const BlockGradient<T>& gradient) {
  const std::int64_t width = block.width;
  T* dz1 = h1;
  if (block.hidden_layers == 2) {
    T* h1_transposed = scratch;
    dz1 = scratch + kTileRows * padded<T>(width);
    output_backward(block, residual, h2, gradient.w3, gradient.b2);
    transpose_tile(width, padded<T>(width), h1, h1_transposed);
    outer(width, h2, h1_transposed, gradient.w2);
    product(width, width, Strided<T>{block.w2, 1, width}, h2, static_cast<const T*>(nullptr), dz1);
    hidden_backward(width, block.activation, h1, dz1, gradient.b1);
  } else {
    output_backward(block, residual, h1, gradient.w3, gradient.b1);
  }
  for (std::int64_t j = 0; j < width; ++j) {
    for (std::int64_t i = 0; i < block.block_in; ++i) {
      gradient.w1[j * block.block_in + i] += dot_tile(dz1 + j * kTileRows, x + i * kTileRows);
    }
  }
}

template <class T>
std::int64_t block_scratch(std::int64_t width) {
  return kTileRows * (padded<T>(width) + width);
}

template <class T>
void block_activity(const T* h, std::int64_t width, std::uint8_t* positive, std::uint8_t* nonpositive) {
  for (std::int64_t u = 0; u < width; ++u) {
    int count = 0;
    for (int r = 0; r < kTileRows; ++r) count += h[u * kTileRows + r] > T(0);
    positive[u] |= static_cast<std::uint8_t>(count > 0);
    nonpositive[u] |= static_cast<std::uint8_t>(count < kTileRows);
  }
}

template <class T>
constexpr BlockTileFunctions<T> block_tile_functions() {
  return {block_forward<T>, block_backward<T>, block_scratch<T>, block_activity<T>};
}

}  // namespace
}  // namespace pn::cpu
