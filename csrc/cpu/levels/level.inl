// One instruction-set level: every hot kernel, in an unnamed namespace, and the table that leads to them.
// Nothing here may use a standard-library template or an inline function with external linkage: the linker keeps one
// copy of these for the whole program, and it might keep this level's.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC bug 105593: false alarms from its own header
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors wider than the level's are passed between inlined functions alone
#endif
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "cpu/levels/table.hpp"
#include "cpu/simd.hpp"

#include "cpu/levels/activation.inl"
#include "cpu/levels/active_rows.inl"
#include "cpu/levels/adam_rows.inl"
#include "cpu/levels/block_tile.inl"
#include "cpu/levels/dense_rows.inl"
#include "cpu/levels/masked_product.inl"
#include "cpu/levels/piecewise_linear.inl"
#if defined(__AVX2__)
#include "cpu/levels/screen.inl"
#endif

#define PN_JOIN_(a, b) a##b
#define PN_JOIN(a, b) PN_JOIN_(a, b)

namespace pn::cpu {

template <class T>
const Table<T>& PN_JOIN(table_, PN_LEVEL)();

#define PN_TABLE(T)                                                                         \
  template <>                                                                               \
  const Table<T>& PN_JOIN(table_, PN_LEVEL)<T>() {                                          \
    static constexpr Table<T> t{block_tile_functions<T>(), dense_row_functions<T>(),        \
                                adam_row_functions<T>(),   piecewise_linear_functions<T>(), \
                                active_row_functions<T>(), masked_product_functions<T>()};  \
    return t;                                                                               \
  }
PN_TABLE(float)
PN_TABLE(double)

}  // namespace pn::cpu
