// What the kernels of a dense network share: BLAS products cut into fixed tiles that the threads take in any order.
#pragma once

#include <algorithm>

#include "cpu/blas.hpp"
#include "cpu/kernel.hpp"
#include "cpu/levels/dense_rows.hpp"
#include "cpu/thread_pool.hpp"
#include "cpu/tiling.hpp"

namespace pn::cpu {

// Targets for the tiles of a product: large enough for the BLAS's packing to be a small part, small enough to share
// out.
constexpr std::int64_t kRowTile = 256, kColumnTile = 512, kLeastUnits = 64;

inline Tiling row_tiling(std::int64_t rows) { return Tiling::of(rows, kRowTile); }
inline Tiling column_tiling(std::int64_t columns) { return Tiling::of(columns, kColumnTile); }

// Calls body(r, c) for the tiles of a matrix, in parallel.
template <class Body>
void for_tiles(ThreadPool& pool, const Tiling& rows, const Tiling& columns, Body body) {
  pool.run(rows.parts * columns.parts,
           [&](std::int64_t task, int) { body(task / columns.parts, task % columns.parts); });
}

// x: (rows.count, inputs) gets the rows in the batch's order.
template <class T>
void gather(const Rows<T>& rows, T* x) {
  for (std::int64_t b = 0; b < rows.count; ++b) {
    std::copy_n(rows.x + rows.row(b) * rows.inputs, rows.inputs, x + b * rows.inputs);
  }
}

template <class T>
struct LayerTile {
  Panel<T> z;
  std::int64_t row, column;  // its first ones
  std::int64_t r, c;         // its number among the row and the column tiles
};

// z: (n, units) = in W^T, with in: (n, inner) and w: (units, inner). finish(tile) gets every tile as soon as it is
// there.
template <class T, class Finish>
void layer_product(ThreadPool& pool, std::int64_t n, const T* in, std::int64_t inner, const T* w, std::int64_t units,
                   T* z, Finish finish) {
  const Tiling rows = row_tiling(n), columns = column_tiling(units);
  for_tiles(pool, rows, columns, [&](std::int64_t r, std::int64_t c) {
    const std::int64_t row = rows.first(r), column = columns.first(c);
    const Panel<T> panel{z + row * units + column, rows.count(r), columns.count(c), units};
    blas::multiply(blas::Transpose::no, blas::Transpose::yes, panel.rows, panel.columns, inner, in + row * inner, inner,
                   w + column * inner, inner, panel.data, units);
    finish(LayerTile<T>{panel, row, column, r, c});
  });
}

// dw: (units, inner) = dz^T in, with dz: (n, units) and in: (n, inner).
template <class T>
void weight_gradient(ThreadPool& pool, std::int64_t n, const T* dz, std::int64_t units, const T* in, std::int64_t inner,
                     T* dw) {
  const Tiling unit_tiles = Tiling::of(units, std::clamp<std::int64_t>(units / 4, kLeastUnits, kColumnTile));
  for_tiles(pool, unit_tiles, column_tiling(inner), [&](std::int64_t k, std::int64_t c) {
    const Tiling columns = column_tiling(inner);
    const std::int64_t unit = unit_tiles.first(k), column = columns.first(c);
    blas::multiply(blas::Transpose::yes, blas::Transpose::no, unit_tiles.count(k), columns.count(c), n, dz + unit,
                   units, in + column, inner, dw + unit * inner + column, inner);
  });
}

// sum: (width,) of the parts' rows, in order.
template <class T>
void join_rows(std::int64_t parts, std::int64_t width, const T* partial, T* sum) {
  std::copy_n(partial, width, sum);
  for (std::int64_t part = 1; part < parts; ++part) {
    for (std::int64_t k = 0; k < width; ++k) sum[k] += partial[part * width + k];
  }
}

}  // namespace pn::cpu
