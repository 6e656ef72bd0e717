// What each instruction-set level provides. Raw pointers and extents only; callers have validated them.
// Only the files included by level.inl are compiled per level; all others are for the baseline.
#pragma once

#include "cpu/isa.hpp"
#include "cpu/levels/active_rows.hpp"
#include "cpu/levels/adam_rows.hpp"
#include "cpu/levels/block_tile.hpp"
#include "cpu/levels/dense_rows.hpp"
#include "cpu/levels/masked_product.hpp"
#include "cpu/levels/piecewise_linear.hpp"

namespace pn::cpu {

template <class T>
struct Table {
  BlockTileFunctions<T> block;
  DenseRowFunctions<T> dense;
  AdamRowFunctions<T> adam;
  PiecewiseLinearFunctions<T> piecewise;
  ActiveRowFunctions<T> active;
  MaskedProductFunctions<T> masked;
};

template <class T>
const Table<T>& table(Isa isa);

// Whether the processor has AVX512-VNNI.
bool has_vnni();

// Null where the level has none. With `vnni` those of AVX512-VNNI where the level is AVX-512; all find the same.
const ScreenFunctions* screen_functions(Isa isa, bool vnni = has_vnni());

}  // namespace pn::cpu
