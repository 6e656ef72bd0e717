// What each instruction-set level provides. Raw pointers and extents only; callers have validated them.
// Only the files included by level.inl are compiled per level; all others are for the baseline.
#pragma once

#include "cpu/isa.hpp"
#include "cpu/levels/active_rows.hpp"
#include "cpu/levels/adam_rows.hpp"
#include "cpu/levels/block_tile.hpp"
#include "cpu/levels/dense_rows.hpp"
#include "cpu/levels/piecewise_linear.hpp"

namespace pn::cpu {

template <class T>
struct Table {
  BlockTileFunctions<T> block;
  DenseRowFunctions<T> dense;
  AdamRowFunctions<T> adam;
  PiecewiseLinearFunctions<T> piecewise;
  ActiveRowFunctions<T> active;
};

template <class T>
const Table<T>& table(Isa isa);

// Null where the level or the processor has none.
const ScreenFunctions* screen_functions(Isa isa);

}  // namespace pn::cpu
