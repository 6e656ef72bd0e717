// The slots of points: cells, and the places of those in split cells (kernels.md, section 2, step 2). Cells are
// computed in each step: to gather stored ones beside the rows took 1.1 to 1.6 times as long.
#pragma once

#include "cpu/levels/piecewise_linear.hpp"
#include "cpu/levels/transpose.inl"
#include "cpu/levels/widening.inl"

namespace pn::cpu {
namespace {

constexpr std::uint32_t kPairBytes = 16;

// What the slot of a split cell holds in the place of a line: the breakpoints [number, end), and where the first one
// is.
struct SplitCell {
  double breakpoint;
  std::int32_t number, end;
} __attribute__((may_alias));
static_assert(sizeof(SplitCell) == kPairBytes);

typedef std::int32_t Cells __attribute__((vector_size(kDoubles * 4)));
typedef std::int32_t LooseCells __attribute__((vector_size(kDoubles * 4), aligned(4), may_alias));

template <class T>
inline __attribute__((always_inline)) Cells cells_of(Narrow<T> x, const piecewise::Grid<T>& grid) {
  const Narrow<T> raw = (x - grid.low) * grid.scale, last = grid.last - Narrow<T>{}, zero{};
  const Narrow<T> below = raw < last ? raw : last;  // in the order of cell_coordinate
  return __builtin_convertvector(below > zero ? below : zero, Cells);
}

#if defined(__AVX512F__)

// A bit a cell, so that all are in two registers.
inline void clear_split(const SlotTable& table) { __builtin_memset(table.split, 0, kMostCells / 8); }
inline void mark_split(const SlotTable& table, std::int64_t cell) {
  table.split[cell / 8] = static_cast<std::uint8_t>(table.split[cell / 8] | 1u << cell % 8);
}

inline __attribute__((always_inline)) __m512i sixteen_cells(const float* x, const piecewise::Grid<float>& grid) {
  const __m512 raw =
      _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x), _mm512_set1_ps(grid.low)), _mm512_set1_ps(grid.scale));
  // The second operand is the result where the first is NaN, as in cell_coordinate.
  const __m512 bounded = _mm512_max_ps(_mm512_min_ps(raw, _mm512_set1_ps(grid.last)), _mm512_setzero_ps());
  return _mm512_cvttps_epi32(bounded);
}
inline __attribute__((always_inline)) __m512i sixteen_cells(const double* x, const piecewise::Grid<double>& grid) {
  const Cells low = cells_of<double>(load(x), grid), high = cells_of<double>(load(x + kDoubles), grid);
  return _mm512_inserti64x4(_mm512_castsi256_si512(reinterpret_cast<__m256i>(low)), reinterpret_cast<__m256i>(high), 1);
}

template <class T>
inline std::int64_t find_cells(const piecewise::Grid<T>& grid, const SlotTable& table, const T* x, std::int64_t count,
                               const Points& points) {
  const __m512i split_low = _mm512_loadu_si512(table.split), split_high = _mm512_loadu_si512(table.split + 64);
  const __m512i one = _mm512_set1_epi32(1), sixteen = _mm512_set1_epi32(16);
  const piecewise::Grid<T> g = grid;
  std::uint32_t *offset = points.offset, *listed = points.listed;
  __m512i numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (std::int64_t i = 0; i < count; i += 16) {
    const __m512i cell = sixteen_cells(x + i, g);
    _mm512_storeu_si512(offset + i, _mm512_slli_epi32(cell, 4));
    const __m512i word = _mm512_permutex2var_epi32(split_low, _mm512_srli_epi32(cell, 5), split_high);
    const __mmask16 split = _mm512_test_epi32_mask(_mm512_rorv_epi32(word, cell), one);
    _mm512_storeu_si512(listed, _mm512_maskz_compress_epi32(split, numbers));
    listed += __builtin_popcount(split);
    numbers = _mm512_add_epi32(numbers, sixteen);
  }
  return listed - points.listed;
}

#else

// A byte a cell.
inline void clear_split(const SlotTable& table) { __builtin_memset(table.split, 0, kMostCells); }
inline void mark_split(const SlotTable& table, std::int64_t cell) { table.split[cell] = 1; }

template <class T>
inline std::int64_t find_cells(const piecewise::Grid<T>& grid, const SlotTable& table, const T* x, std::int64_t count,
                               const Points& points) {
  std::uint32_t *offset = points.offset, *listed = points.listed;
  const std::uint8_t* split = table.split;
  const piecewise::Grid<T> g = grid;
  for (std::int64_t i = 0; i < count; i += kDoubles) {
    const Narrow<T> values = *reinterpret_cast<const typename NarrowOf<T>::loose*>(x + i);
    *reinterpret_cast<LooseCells*>(offset + i) = cells_of<T>(values, g) << 4;
  }
  std::int64_t n = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    listed[n] = static_cast<std::uint32_t>(i);
    n += split[offset[i] / kPairBytes];
  }
  return n;
}

#endif

template <class T>
void find_points(const piecewise::Grid<T>& grid, const Pieces& pieces, const SlotTable& table, const T* x,
                 std::int64_t count, const Points& points) {
  const std::int64_t listed_count = find_cells(grid, table, x, count, points);
  const auto* split_cells = reinterpret_cast<const SplitCell*>(table.line);
  const std::uint32_t* listed = points.listed;
  std::uint32_t* offset = points.offset;
  const auto places_from = static_cast<std::int32_t>(first_place(table.cells));
  for (std::int64_t e = 0; e < listed_count; ++e) {
    const std::uint32_t i = listed[e];
    const auto value = static_cast<double>(x[i]);
    const SplitCell& cell = split_cells[offset[i] / kPairBytes];
    std::int32_t place = 2 * cell.number + piecewise::places_passed(value, cell.breakpoint);
    for (std::int32_t q = cell.number + 1; q < cell.end; ++q) {
      place += piecewise::places_passed(value, pieces.breakpoint[q]);
    }
    offset[i] = static_cast<std::uint32_t>(places_from + place) * kPairBytes;
  }
}

}  // namespace
}  // namespace pn::cpu
