// Values and moments of points (kernels.md, section 2, steps 2 and 3).
#pragma once

#include "cpu/levels/piecewise_find.inl"

namespace pn::cpu {
namespace {

// Two doubles: (slope, intercept), (x, 1) or (sum of r x, sum of r).
typedef double Pair __attribute__((vector_size(16), may_alias));

inline __attribute__((always_inline)) Pair& pair_at(double* base, std::uint32_t byte_offset) {
  return *reinterpret_cast<Pair*>(reinterpret_cast<char*>(base) + byte_offset);
}
inline __attribute__((always_inline)) Pair& pair_number(double* base, std::int64_t number) {
  return *reinterpret_cast<Pair*>(base + 2 * number);
}

constexpr int kPairs = kDoubles / 2;  // of a vector

inline __attribute__((always_inline)) Vec<double> repeat(Pair pair) {
  Vec<double> v{};
  for (int i = 0; i < kDoubles; ++i) v[i] = pair[i % 2];
  return v;
}

// Fills cells [cell, end) and perhaps a few more.
inline void fill_line(double* line, std::int64_t cell, std::int64_t end, Pair value) {
  const Vec<double> values = repeat(value);
  for (; cell < end; cell += kPairs) store(line + 2 * cell, values);
}

template <class T>
void fill_cells(const piecewise::Grid<T>& grid, Pieces& pieces, const CellTable& table) {
  for (std::int64_t q = 0; q < pieces.count; q += kDoubles) {
    const Narrow<T> at = __builtin_convertvector(load(pieces.breakpoint + q), Narrow<T>);
    *reinterpret_cast<LooseCells*>(pieces.cell + q) = cells_of<T>(at, grid);
  }
  pieces.cell[pieces.count] = static_cast<std::int32_t>(table.cells);
  clear_split(table);
  std::int64_t cell = 0;
  for (std::int64_t q = 0; q <= pieces.count; ++q) {
    const std::int64_t next = pieces.cell[q];
    if (cell > next) continue;  // the cell is split already
    fill_line(table.line, cell, next, pair_number(pieces.line, 2 * q));
    cell = next + 1;
    if (q == pieces.count) return;
    pair_number(table.line, next) = Pair{};
    mark_split(table, next);
    table.breakpoint[next] = static_cast<std::int32_t>(q);
  }
}

inline void sum_rows(const Pieces& pieces, const CellTable& table, const Points& points, std::int64_t rows,
                     std::int64_t inputs, double* output) {
  const std::uint32_t* offset = points.offset;
  double *pair = points.pair, *line = table.line;
  for (std::int64_t r = 0; r < rows; ++r) {
    Pair sum[4] = {};
    std::int64_t i = 0;
    for (; i + 4 <= inputs; i += 4) {
      for (int lane = 0; lane < 4; ++lane) sum[lane] += pair_at(line, offset[i + lane]) * pair_number(pair, i + lane);
    }
    for (; i < inputs; ++i) sum[0] += pair_at(line, offset[i]) * pair_number(pair, i);
    const Pair all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    output[r] = all[0] + all[1];
    offset += inputs;
    pair += 2 * inputs;
  }
  for (std::int64_t e = 0; e < points.listed_count; ++e) {
    const std::uint32_t i = points.listed[e];
    const Pair terms = pair_number(pieces.line, points.place[e]) * pair_number(points.pair, i);
    output[points.row[i]] += terms[0] + terms[1];
  }
}

// The lines of kDoubles points, as slopes and intercepts.
inline __attribute__((always_inline)) void lines_of(double* line, const std::uint32_t* offset, Vec<double>& slope,
                                                    Vec<double>& intercept) {
#if defined(__AVX512F__)
  const auto four = [&](int first) __attribute__((always_inline)) {
    const __m256d low =
        _mm256_insertf128_pd(_mm256_castpd128_pd256(pair_at(line, offset[first])), pair_at(line, offset[first + 2]), 1);
    const __m512d three = _mm512_insertf64x2(_mm512_castpd256_pd512(low), pair_at(line, offset[first + 4]), 2);
    return _mm512_insertf64x2(three, pair_at(line, offset[first + 6]), 3);
  };
  const __m512d even = four(0), odd = four(1);
  slope = _mm512_unpacklo_pd(even, odd);
  intercept = _mm512_unpackhi_pd(even, odd);
#elif defined(__AVX2__)
  const auto two = [&](int first) __attribute__((always_inline)) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(pair_at(line, offset[first])), pair_at(line, offset[first + 2]),
                                1);
  };
  const __m256d even = two(0), odd = two(1);
  slope = _mm256_unpacklo_pd(even, odd);
  intercept = _mm256_unpackhi_pd(even, odd);
#else
  for (int i = 0; i < kDoubles; ++i) {
    const Pair one = pair_at(line, offset[i]);
    slope[i] = one[0];
    intercept[i] = one[1];
  }
#endif
}

// x, output: with room for whole vectors.
template <class T>
void add_values(const Pieces& pieces, const CellTable& table, const Points& points, const T* x, double* output) {
  for (std::int64_t i = 0; i < points.count; i += kDoubles) {
    Vec<double> slope, intercept;
    lines_of(table.line, points.offset + i, slope, intercept);
    store(output + i, load(output + i) + (slope * widen(x + i) + intercept));
  }
  for (std::int64_t e = 0; e < points.listed_count; ++e) {
    const std::uint32_t i = points.listed[e];
    const Pair line = pair_number(pieces.line, points.place[e]);
    output[i] += line[0] * static_cast<double>(x[i]) + line[1];
  }
}

inline void add_row_moments(const CellTable& table, const Points& points, std::int64_t rows, std::int64_t inputs,
                            const double* residual, double* moment) {
  const std::uint32_t* offset = points.offset;
  double *pair = points.pair, *sums = table.moment;
  for (std::int64_t r = 0; r < rows; ++r) {
    const Pair factor = {residual[r], residual[r]};
    for (std::int64_t i = 0; i < inputs; ++i) pair_at(sums, offset[i]) += factor * pair_number(pair, i);
    offset += inputs;
    pair += 2 * inputs;
  }
  for (std::int64_t e = 0; e < points.listed_count; ++e) {
    const std::uint32_t i = points.listed[e];
    pair_number(moment, points.place[e]) += residual[points.row[i]] * pair_number(points.pair, i);
  }
}

// x, residual: with room for whole vectors.
template <class T>
void add_column_moments(const CellTable& table, const Points& points, const T* x, const double* residual,
                        double* moment) {
  using Lanes = typename MakeIndices<kDoubles>::type;
  const std::uint32_t* offset = points.offset;
  double* sums = table.moment;
  std::int64_t i = 0;
  for (; i + kDoubles <= points.count; i += kDoubles) {
    const Vec<double> r = load(residual + i), rx = r * widen(x + i);
    alignas(64) double terms[2 * kDoubles];
    store(terms, interleave<0, double>(rx, r, Lanes{}));
    store(terms + kDoubles, interleave<kDoubles / 2, double>(rx, r, Lanes{}));
    for (int lane = 0; lane < kDoubles; ++lane) pair_at(sums, offset[i + lane]) += pair_number(terms, lane);
  }
  for (; i < points.count; ++i) {
    pair_at(sums, offset[i]) += Pair{residual[i] * static_cast<double>(x[i]), residual[i]};
  }
  for (std::int64_t e = 0; e < points.listed_count; ++e) {
    const std::uint32_t p = points.listed[e];
    pair_number(moment, points.place[e]) += Pair{residual[p] * static_cast<double>(x[p]), residual[p]};
  }
}

inline void mark_points(const CellTable& table, const Points& points, std::uint8_t* place_hit) {
  for (std::int64_t i = 0; i < points.count; ++i) table.hit[points.offset[i] / kPairBytes] = 1;
  for (std::int64_t e = 0; e < points.listed_count; ++e) place_hit[points.place[e]] = 1;
}

// The cells strictly between two breakpoints' cells belong to the open piece between them.
inline void fold_moments(const Pieces& pieces, const CellTable& table, double* moment) {
  std::int64_t cell = 0;
  for (std::int64_t q = 0; q <= pieces.count; ++q) {
    const std::int64_t end = pieces.cell[q];
    if (cell > end) continue;
    Vec<double> sums{};
    for (; cell + kPairs <= end; cell += kPairs) sums += load(table.moment + 2 * cell);
    Pair sum{};
    for (; cell < end; ++cell) sum += pair_number(table.moment, cell);
    for (int i = 0; i < kDoubles; i += 2) sum += Pair{sums[i], sums[i + 1]};
    pair_number(moment, 2 * q) += sum;
    cell = end + 1;
  }
  __builtin_memset(table.moment, 0, static_cast<std::size_t>(table.cells) * kPairBytes);
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
