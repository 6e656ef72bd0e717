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

// Which rows or terms a product takes: all, or some units.
struct All {
  std::int64_t count;
  std::int64_t operator()(std::int64_t i) const { return i; }
};
struct Some {
  explicit Some(const Units& units) : at(units.at), count(units.count) {}
  const std::int32_t* at;
  std::int64_t count;
  std::int64_t operator()(std::int64_t i) const { return at[i]; }
};

// Long sums are taken in stretches of this many terms, so that rounding errors grow with a stretch and the number of
// them.
constexpr std::int64_t kSumStretch = 32;

// Terms [first, first + count) of rows m, m + 1, ..., m + kCount - 1 of the product below.
template <int kCount, class T, class Rows, class Terms>
inline void product_rows(Rows rows, std::int64_t m, Terms terms, std::int64_t first, std::int64_t count, Strided<T> a,
                         const T* b, const T* bias, T* c) {
  constexpr int kWide = 2 * kLanes<T>;
  const T* line[kCount];
  for (int i = 0; i < kCount; ++i) line[i] = a.data + rows(m + i) * a.row;
  for (int r = 0; r < kTileRows; r += kWide) {
    Vec<T> sum[kCount][2] = {};
    for (std::int64_t n = first; n < first + count; ++n) {
      const std::int64_t j = terms(n), at = j * a.column;
      const Vec<T> b0 = load(b + j * kTileRows + r);
      const Vec<T> b1 = load(b + j * kTileRows + r + kLanes<T>);
      for (int i = 0; i < kCount; ++i) {
        const T factor = line[i][at];
        sum[i][0] += factor * b0;
        sum[i][1] += factor * b1;
      }
    }
    for (int i = 0; i < kCount; ++i) {
      const std::int64_t row = rows(m + i);
      for (int v = 0; v < 2; ++v) {
        T* at = c + row * kTileRows + r + v * kLanes<T>;
        const Vec<T> start = first > 0 ? load(at) : broadcast(bias ? bias[row] : T(0));
        store(at, start + sum[i][v]);
      }
    }
  }
}

// Rows of c: (any, kTileRows) = bias + a b, the sum over some terms; a strided, b: (any, kTileRows); bias may be null.
template <class T, class Rows, class Terms>
void product(Rows rows, Terms terms, Strided<T> a, const T* b, const T* bias, T* c) {
  for (std::int64_t m = 0; m < rows.count;) {
    with_count<kUnitBlock>(rows.count - m, [&](auto count) {
      std::int64_t first = 0;
      do {
        const std::int64_t stretch = terms.count - first < kSumStretch ? terms.count - first : kSumStretch;
        product_rows<count.value>(rows, m, terms, first, stretch, a, b, bias, c);
        first += kSumStretch;
      } while (first < terms.count);
      m += count.value;
    });
  }
}

template <class T>
constexpr std::int64_t padded(std::int64_t width) {
  return (width + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// Rows rows(m), rows(m + 1), ... and the columns columns(j), columns(j + 1), ... of the outer product below.
template <int kUnits, int kVectors, class T, class Columns>
inline void outer_block(Some rows, std::int64_t m, Columns columns, std::int64_t j, std::int64_t stride, const T* dz,
                        const T* ht, T* g) {
  const std::int64_t padded_count = padded<T>(columns.count);
  const T* line[kUnits];
  for (int k = 0; k < kUnits; ++k) line[k] = dz + rows(m + k) * kTileRows;
  Vec<T> sum[kUnits][kVectors] = {};
  for (int r = 0; r < kTileRows; ++r) {
    Vec<T> h[kVectors];
    for (int v = 0; v < kVectors; ++v) h[v] = load(ht + r * padded_count + j + v * kLanes<T>);
    for (int k = 0; k < kUnits; ++k) {
      const T factor = line[k][r];
      for (int v = 0; v < kVectors; ++v) sum[k][v] += factor * h[v];
    }
  }
  const std::int64_t left = columns.count - j;
  for (int k = 0; k < kUnits; ++k) {
    T* row = g + rows(m + k) * stride;
    T parts[kVectors * kLanes<T>];
    for (int v = 0; v < kVectors; ++v) store(parts + v * kLanes<T>, sum[k][v]);
    const std::int64_t count = left < kVectors * kLanes<T> ? left : kVectors * kLanes<T>;
    for (std::int64_t i = 0; i < count; ++i) row[columns(j + i)] += parts[i];
  }
}

// dW2: (width, width) += dZ2^T H1 over a tile; dz: (width, kTileRows), of which some rows are not 0; ht: (kTileRows,
// padded) holds the columns of H1 that are not.
template <class T, class Columns>
void outer(Some rows, Columns columns, std::int64_t width, const T* dz, const T* ht, T* g) {
  const std::int64_t padded_count = padded<T>(columns.count);
  for (std::int64_t m = 0; m < rows.count;) {
    with_count<kOuterUnits>(rows.count - m, [&](auto units) {
      for (std::int64_t j = 0; j < columns.count;) {
        with_count<kOuterVectors>((padded_count - j) / kLanes<T>, [&](auto vectors) {
          outer_block<units.value, vectors.value>(rows, m, columns, j, width, dz, ht, g);
          j += vectors.value * kLanes<T>;
        });
      }
      m += units.value;
    });
  }
}

template <class T>
inline T dot_tile(const T* a, const T* b) {
  Vec<T> sum = load(a) * load(b);
  for (int r = kLanes<T>; r < kTileRows; r += kLanes<T>) sum += load(a + r) * load(b + r);
  return lane_sum<T>(sum);
}

// Whether a row of a tile has an entry whose bits are not all 0 (a NaN has, too).
template <class T>
inline bool any_bit(const T* row) {
  typedef std::uint64_t Words __attribute__((vector_size(PN_VECTOR_BYTES)));
  Words bits{};
  for (int r = 0; r < kTileRows; r += kLanes<T>) bits |= reinterpret_cast<Words>(load(row + r));
  std::uint64_t any = 0;
  for (int i = 0; i < PN_VECTOR_BYTES / 8; ++i) any |= bits[i];
  return any != 0;
}

// Whether the weights that inactive units are multiplied by are finite: then what they add is 0, else it may be a NaN.
template <class T>
inline bool finite(const T* w, std::int64_t count) {
  Vec<T> zeros{};
  std::int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) zeros += load(w + i) * T(0);
  T sum = lane_sum<T>(zeros);
  for (; i < count; ++i) sum += w[i] * T(0);
  return sum == T(0);
}

// In place; fills the list of active units. next: (next_count,) weights of their values.
template <class T>
void activate_tile(std::int64_t width, std::int32_t activation, const T* next, std::int64_t next_count, T* h,
                   Units& active) {
  with_activation(activation, [&](auto a) {
    for (std::int64_t i = 0; i < width * kTileRows; i += kLanes<T>) store(h + i, activate<a.value, T>(load(h + i)));
  });
  const bool all = activation != kRelu || !finite(next, next_count);
  active.count = 0;
  for (std::int64_t u = 0; u < width; ++u) {
    active.at[active.count] = static_cast<std::int32_t>(u);
    active.count += all || any_bit(h + u * kTileRows);
  }
}

// out: (kTileRows,) = w h over some units, in four partial sums: what is left of their cancellation is the prediction.
template <class T>
void output_tile(Some units, const T* w, const T* h, T* out) {
  constexpr int kParts = 4;
  for (int r = 0; r < kTileRows; r += kLanes<T>) {
    Vec<T> sum[kParts] = {};
    std::int64_t n = 0;
    for (; n + kParts <= units.count; n += kParts) {
      for (int part = 0; part < kParts; ++part) {
        sum[part] += w[units(n + part)] * load(h + units(n + part) * kTileRows + r);
      }
    }
    for (; n < units.count; ++n) sum[n % kParts] += w[units(n)] * load(h + units(n) * kTileRows + r);
    store(out + r, (sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
}

template <class T>
void block_forward(const BlockWeights<T>& block, const T* x, BlockActivations<T>& h, T* out) {
  const std::int64_t width = block.width;
  product(All{width}, All{block.block_in}, Strided<T>{block.w1, block.block_in, 1}, x, block.b1, h.h1);
  if (block.hidden_layers == 1) {
    activate_tile(width, block.activation, block.w3, width, h.h1, h.active1);
    output_tile(Some(h.active1), block.w3, h.h1, out);
    return;
  }
  activate_tile(width, block.activation, block.w2, width * width, h.h1, h.active1);
  product(All{width}, Some(h.active1), Strided<T>{block.w2, width, 1}, h.h1, block.b2, h.h2);
  activate_tile(width, block.activation, block.w3, width, h.h2, h.active2);
  output_tile(Some(h.active2), block.w3, h.h2, out);
}

// The active rows of h: (width, kTileRows) become dz = residual w3 act'(z); dw3 and the bias gradient are added.
template <class T>
void output_backward(Some active, std::int32_t activation, const T* w3, const T* residual, T* h, T* dw3, T* db) {
  with_activation(activation, [&](auto a) {
    for (std::int64_t n = 0; n < active.count; ++n) {
      const std::int64_t k = active(n);
      T* row = h + k * kTileRows;
      Vec<T> dw{}, bias{};
      for (int r = 0; r < kTileRows; r += kLanes<T>) {
        const Vec<T> value = load(row + r), res = load(residual + r);
        const Vec<T> dz = times_derivative<a.value, T>(res * w3[k], value);
        dw += res * value;
        bias += dz;
        store(row + r, dz);
      }
      dw3[k] += lane_sum<T>(dw);
      db[k] += lane_sum<T>(bias);
    }
  });
}

// The active rows of dh: (width, kTileRows) become dz = dh act'(z); the bias gradient is added.
template <class T>
void hidden_backward(Some active, std::int32_t activation, const T* h, T* dh, T* db) {
  with_activation(activation, [&](auto a) {
    for (std::int64_t n = 0; n < active.count; ++n) {
      const std::int64_t j = active(n);
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

// dW2 and, in dh: (width, kTileRows), the derivative by the active units of layer 1, from dz as output_backward left
// it.
template <class T>
void second_layer_backward(const BlockWeights<T>& block, const BlockActivations<T>& h, T* transposed, T* dh, T* dw2) {
  const std::int64_t width = block.width;
  const Some units(h.active2), inputs(h.active1);
  if (inputs.count == 0) return;
  const auto gradient = [&](auto columns) {
    transpose_tile(columns.count, padded<T>(columns.count), columns, h.h1, transposed);
    outer(units, columns, width, h.h2, transposed, dw2);
  };
  // Columns side by side are added a vector at a time, so a few zeros among them cost less than leaving them out.
  if (padded<T>(inputs.count) < padded<T>(width)) {
    gradient(inputs);
  } else {
    gradient(All{width});
  }
  product(inputs, units, Strided<T>{block.w2, 1, width}, h.h2, static_cast<const T*>(nullptr), dh);
}

template <class T>
void block_backward(const BlockWeights<T>& block, const T* x, const T* residual, const BlockActivations<T>& h,
                    T* scratch, const BlockGradient<T>& gradient) {
  T* dz1 = h.h1;
  const Some active1(h.active1);
  if (block.hidden_layers == 2) {
    dz1 = scratch + kTileRows * padded<T>(block.width);
    output_backward(Some(h.active2), block.activation, block.w3, residual, h.h2, gradient.w3, gradient.b2);
    second_layer_backward(block, h, scratch, dz1, gradient.w2);
    hidden_backward(active1, block.activation, h.h1, dz1, gradient.b1);
  } else {
    output_backward(active1, block.activation, block.w3, residual, h.h1, gradient.w3, gradient.b1);
  }
  for (std::int64_t n = 0; n < active1.count; ++n) {
    const std::int64_t j = active1(n);
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
