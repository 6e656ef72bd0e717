// The cells of points, and the places of those in split cells (kernels.md, section 2, step 2).
#pragma once

#include "cpu/levels/piecewise_linear.hpp"
#include "cpu/levels/widening.inl"

namespace pn::cpu {
namespace {

constexpr std::uint32_t kPairBytes = 16;

inline std::int32_t place_of(const Pieces& pieces, const CellTable& table, std::int64_t cell, double x) {
  std::int64_t q = table.breakpoint[cell];
  auto place = static_cast<std::int32_t>(2 * q);
  do {
    place += piecewise::places_passed(x, pieces.breakpoint[q]);
    ++q;
  } while (pieces.cell[q] == cell);
  return place;
}

#if defined(__AVX512F__)

// A bit a cell, so that all are in two registers.
inline void clear_split(const CellTable& table) { __builtin_memset(table.split, 0, kMostCells / 8); }
inline void mark_split(const CellTable& table, std::int64_t cell) {
  table.split[cell / 8] = static_cast<std::uint8_t>(table.split[cell / 8] | 1u << cell % 8);
}

inline __attribute__((always_inline)) __m512i cells_of(const float* x, const piecewise::Grid<float>& grid) {
  const __m512 raw = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x), _mm512_set1_ps(grid.low)), _mm512_set1_ps(grid.scale));
  // The second operand is the result where the first is NaN, as in cell_coordinate.
  const __m512 bounded = _mm512_max_ps(_mm512_min_ps(raw, _mm512_set1_ps(grid.last)), _mm512_setzero_ps());
  return _mm512_cvttps_epi32(bounded);
}
inline __attribute__((always_inline)) __m256i cells_of_half(const double* x, const piecewise::Grid<double>& grid) {
  const __m512d raw = _mm512_mul_pd(_mm512_sub_pd(_mm512_loadu_pd(x), _mm512_set1_pd(grid.low)), _mm512_set1_pd(grid.scale));
  const __m512d bounded = _mm512_max_pd(_mm512_min_pd(raw, _mm512_set1_pd(grid.last)), _mm512_setzero_pd());
  return _mm512_cvttpd_epi32(bounded);
}
inline __attribute__((always_inline)) __m512i cells_of(const double* x, const piecewise::Grid<double>& grid) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(cells_of_half(x, grid)), cells_of_half(x + 8, grid), 1);
}

inline __attribute__((always_inline)) __m512d eight_doubles(const float* x) { return _mm512_cvtps_pd(_mm256_loadu_ps(x)); }
inline __attribute__((always_inline)) __m512d eight_doubles(const double* x) { return _mm512_loadu_pd(x); }

template <class T>
inline std::int64_t find_cells(const piecewise::Grid<T>& grid, const CellTable& table, const T* x, std::int64_t count,
                               const Points& points) {
  const __m512i split_low = _mm512_loadu_si512(table.split), split_high = _mm512_loadu_si512(table.split + 64);
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), one = _mm512_set1_epi32(1);
  const __m512i first_half = _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3), second_half = _mm512_setr_epi64(4, 4, 5, 5, 6, 6, 7, 7);
  const __m512d ones = _mm512_set1_pd(1.0);
  std::int64_t listed = 0;
  for (std::int64_t i = 0; i < count; i += 16) {
    const __m512i cell = cells_of(x + i, grid);
    _mm512_storeu_si512(points.offset + i, _mm512_slli_epi32(cell, 4));
    const __m512i word = _mm512_permutex2var_epi32(split_low, _mm512_srli_epi32(cell, 5), split_high);
    __mmask16 split = _mm512_test_epi32_mask(_mm512_rorv_epi32(word, cell), one);
    if (count - i < 16) split &= static_cast<__mmask16>((1u << (count - i)) - 1u);
    const __m512i numbers = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(i)));
    _mm512_storeu_si512(points.listed + listed, _mm512_maskz_compress_epi32(split, numbers));
    listed += __builtin_popcount(split);
    for (int half = 0; half < 16; half += 8) {
      const __m512d wide = eight_doubles(x + i + half);
      double* pair = points.pair + 2 * (i + half);
      _mm512_storeu_pd(pair, _mm512_mask_permutexvar_pd(ones, 0x55, first_half, wide));
      _mm512_storeu_pd(pair + 8, _mm512_mask_permutexvar_pd(ones, 0x55, second_half, wide));
    }
  }
  return listed;
}

#else

// A byte a cell.
inline void clear_split(const CellTable& table) { __builtin_memset(table.split, 0, kMostCells); }
inline void mark_split(const CellTable& table, std::int64_t cell) { table.split[cell] = 1; }

typedef std::int32_t Cells __attribute__((vector_size(kDoubles * 4)));
typedef std::int32_t LooseCells __attribute__((vector_size(kDoubles * 4), aligned(4), may_alias));

template <class T>
inline std::int64_t find_cells(const piecewise::Grid<T>& grid, const CellTable& table, const T* x, std::int64_t count,
                               const Points& points) {
  using Some = typename NarrowOf<T>::type;
  for (std::int64_t i = 0; i < count; i += kDoubles) {
    const Some values = *reinterpret_cast<const typename NarrowOf<T>::loose*>(x + i);
    const Some raw = (values - grid.low) * grid.scale, last = grid.last - Some{}, zero{};
    const Some below = raw < last ? raw : last;
    const Cells cell = __builtin_convertvector(below > zero ? below : zero, Cells);
    *reinterpret_cast<LooseCells*>(points.offset + i) = cell << 4;
    const Vec<double> wide = __builtin_convertvector(values, Vec<double>), ones = broadcast(1.0);
    using Lanes = typename MakeIndices<kDoubles>::type;
    store(points.pair + 2 * i, interleave<0, double>(wide, ones, Lanes{}));
    store(points.pair + 2 * i + kDoubles, interleave<kDoubles / 2, double>(wide, ones, Lanes{}));
  }
  std::int64_t listed = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    points.listed[listed] = static_cast<std::uint32_t>(i);
    listed += table.split[points.offset[i] / kPairBytes];
  }
  return listed;
}

#endif

template <class T>
void find_points(const piecewise::Grid<T>& grid, const Pieces& pieces, const CellTable& table, const T* x,
                 std::int64_t count, Points& points) {
  points.count = count;
  points.listed_count = find_cells(grid, table, x, count, points);
  for (std::int64_t e = 0; e < points.listed_count; ++e) {
    const std::uint32_t i = points.listed[e];
    points.place[e] = place_of(pieces, table, points.offset[i] / kPairBytes, points.pair[2 * i]);
  }
}

}  // namespace
}  // namespace pn::cpu
