// Values and moments of points (kernels.md, section 2, steps 2 and 3).
#pragma once

#include "cpu/levels/piecewise_find.inl"

namespace pn::cpu {
namespace {

// Two doubles: (slope, intercept), (x, 1) or (sum of r x, sum of r).
typedef double Pair __attribute__((vector_size(16), may_alias));

inline __attribute__((always_inline)) Pair& pair_at(double* base, std::uint64_t byte_offset) {
  return *reinterpret_cast<Pair*>(reinterpret_cast<char*>(base) + byte_offset);
}
inline __attribute__((always_inline)) Pair& pair_number(double* base, std::int64_t number) {
  return *reinterpret_cast<Pair*>(base + 2 * number);
}

// Four points at a time, also where vectors are longer: scattered loads and stores of 16 bytes are what limits these
// loops.
typedef double Four __attribute__((vector_size(32)));
typedef double LooseFour __attribute__((vector_size(32), aligned(8), may_alias));

inline __attribute__((always_inline)) LooseFour& four_at(double* p) { return *reinterpret_cast<LooseFour*>(p); }
inline __attribute__((always_inline)) Four four_at(const double* p) { return *reinterpret_cast<const LooseFour*>(p); }
inline __attribute__((always_inline)) Four widen_four(const double* p) { return four_at(p); }
inline __attribute__((always_inline)) Four widen_four(const float* p) {
#if defined(__AVX2__)
  return _mm256_cvtps_pd(_mm_loadu_ps(p));
#else
  return Four{p[0], p[1], p[2], p[3]};
#endif
}
inline __attribute__((always_inline)) Four joined(Pair a, Pair b) {
#if defined(__AVX2__)
  return _mm256_insertf128_pd(_mm256_castpd128_pd256(a), b, 1);
#else
  return Four{a[0], a[1], b[0], b[1]};
#endif
}

// (a0, b0) and (a2, b2); (a1, b1) and (a3, b3).
inline __attribute__((always_inline)) Four evens(Four a, Four b) {
#if defined(__AVX2__)
  return _mm256_unpacklo_pd(a, b);
#else
  return Four{a[0], b[0], a[2], b[2]};
#endif
}
inline __attribute__((always_inline)) Four odds(Four a, Four b) {
#if defined(__AVX2__)
  return _mm256_unpackhi_pd(a, b);
#else
  return Four{a[1], b[1], a[3], b[3]};
#endif
}
inline __attribute__((always_inline)) Pair low_pair(Four v) {
#if defined(__AVX2__)
  return _mm256_castpd256_pd128(v);
#else
  return Pair{v[0], v[1]};
#endif
}
inline __attribute__((always_inline)) Pair high_pair(Four v) {
#if defined(__AVX2__)
  return _mm256_extractf128_pd(v, 1);
#else
  return Pair{v[2], v[3]};
#endif
}

// Byte offsets of four points, loaded in twos: loads are scarcer here than shifts.
struct FourOffsets {
  std::uint64_t at[4];
};
inline __attribute__((always_inline)) FourOffsets four_offsets(const std::uint32_t* offset) {
  std::uint64_t two[2];
  __builtin_memcpy(two, offset, sizeof(two));
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return {{two[0] >> 32, two[0] & 0xffffffffu, two[1] >> 32, two[1] & 0xffffffffu}};
#else
  return {{two[0] & 0xffffffffu, two[0] >> 32, two[1] & 0xffffffffu, two[1] >> 32}};
#endif
}

template <class T>
void fill_cells(const piecewise::Grid<T>& grid, Pieces& pieces, const SlotTable& table) {
  for (std::int64_t q = 0; q < pieces.count; q += kDoubles) {
    const Narrow<T> at = __builtin_convertvector(load(pieces.breakpoint + q), Narrow<T>);
    *reinterpret_cast<LooseCells*>(pieces.cell + q) = cells_of<T>(at, grid);
  }
  pieces.cell[pieces.count] = static_cast<std::int32_t>(table.cells);
  double* place_line = table.line + 2 * first_place(table.cells);
  clear_split(table);
  auto* split_cells = reinterpret_cast<SplitCell*>(table.line);
  std::int64_t cell = 0;
  for (std::int32_t q = 0;;) {
    const std::int64_t next = pieces.cell[q];
    const Pair line = pair_number(place_line, 2 * q);
    for (const Four lines = joined(line, line); cell < next; cell += 2) four_at(table.line + 2 * cell) = lines;
    if (q == pieces.count) return;
    const std::int32_t first = q;
    while (pieces.cell[++q] == next) {
    }
    split_cells[next] = {pieces.breakpoint[first], first, q};
    mark_split(table, next);
    cell = next + 1;
  }
}

template <class T>
void add_values(const SlotTable& table, const Points& points, const PointPanel<T>& panel, double* output) {
  double* line = table.line;
  const T* x = panel.x;
  const std::uint32_t* offsets = points.offset;
  const std::int64_t rows = panel.rows, count = panel.rows * panel.inputs;
  for (std::int64_t b = 0; b < rows; b += 4) {
    Four sum = four_at(output + b);
    for (std::int64_t at = b; at < count; at += rows) {
      const FourOffsets offset = four_offsets(offsets + at);
      const Four even = joined(pair_at(line, offset.at[0]), pair_at(line, offset.at[2]));
      const Four odd = joined(pair_at(line, offset.at[1]), pair_at(line, offset.at[3]));
      sum += evens(even, odd) * widen_four(x + at) + odds(even, odd);
    }
    four_at(output + b) = sum;
  }
}

template <class T>
void add_moments(const SlotTable& table, const Points& points, const PointPanel<T>& panel, const double* residual) {
  double* sums = table.moment;
  const T* x = panel.x;
  const std::uint32_t* offsets = points.offset;
  const std::int64_t rows = panel.rows, count = panel.rows * panel.inputs;
  for (std::int64_t b = 0; b < rows; b += 4) {
    const Four r = four_at(residual + b);
    for (std::int64_t at = b; at < count; at += rows) {
      const FourOffsets offset = four_offsets(offsets + at);
      const Four rx = r * widen_four(x + at);
      const Four even = evens(rx, r), odd = odds(rx, r);
      pair_at(sums, offset.at[0]) += low_pair(even);
      pair_at(sums, offset.at[1]) += low_pair(odd);
      pair_at(sums, offset.at[2]) += high_pair(even);
      pair_at(sums, offset.at[3]) += high_pair(odd);
    }
  }
}

inline void mark_points(const SlotTable& table, const Points& points, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) table.hit[points.offset[i] / kPairBytes] = 1;
}

// The cells strictly between two breakpoints' cells belong to the open piece between them.
inline void fold_moments(const Pieces& pieces, const SlotTable& table, double* moment) {
  double *sums = table.moment, *place_sums = table.moment + 2 * first_place(table.cells);
  std::int64_t cell = 0;
  for (std::int64_t q = 0; q <= pieces.count; ++q) {
    const std::int64_t end = pieces.cell[q];
    Four some{}, others{};
    for (; cell + 4 <= end; cell += 4) {
      some += four_at(sums + 2 * cell);
      others += four_at(sums + 2 * cell + 4);
      four_at(sums + 2 * cell) = four_at(sums + 2 * cell + 4) = Four{};
    }
    some += others;
    Pair sum = low_pair(some) + high_pair(some);
    for (; cell < end; ++cell) {
      sum += pair_number(sums, cell);
      pair_number(sums, cell) = Pair{};
    }
    cell = cell > end ? cell : end + 1;  // the split cell itself holds no point
    pair_number(moment, 2 * q) = pair_number(place_sums, 2 * q) + sum;
    pair_number(place_sums, 2 * q) = Pair{};
    if (q == pieces.count) return;
    pair_number(moment, 2 * q + 1) = pair_number(place_sums, 2 * q + 1);
    pair_number(place_sums, 2 * q + 1) = Pair{};
  }
}

// output: (count,) becomes the sum of `parts` such arrays, `stride` apart; 64-byte aligned, with room for whole
// vectors.
inline void join_outputs(double* output, std::int64_t parts, std::int64_t stride, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kDoubles) {
    Vec<double> sum = load(output + i);
    for (std::int64_t part = 1; part < parts; ++part) sum += load(output + part * stride + i);
    store(output + i, sum);
  }
}

}  // namespace
}  // namespace pn::cpu
