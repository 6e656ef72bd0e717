// Look-up and moments of points (kernels.md, section 2, steps 2 and 3).
#pragma once

#include "cpu/levels/piecewise_linear.hpp"
#include "cpu/levels/widening.inl"

namespace pn::cpu {
namespace {

// Two doubles: (slope, intercept), (x, 1) or (sum of r x, sum of r).
typedef double Pair __attribute__((vector_size(16)));

inline __attribute__((always_inline)) Pair& pair_at(double* base, std::uint32_t byte_offset) {
  return *reinterpret_cast<Pair*>(reinterpret_cast<char*>(base) + byte_offset);
}

constexpr std::uint32_t kPairBytes = 16;

// The largest T that is not above a breakpoint: a T is right of one exactly if it is right of the other.
template <class T>
inline T rounded_down(double value) {
  T rounded = static_cast<T>(value);
  if (!(static_cast<double>(rounded) > value)) return rounded;
  if constexpr (sizeof(T) == sizeof(float)) {
    std::int32_t bits;
    __builtin_memcpy(&bits, &rounded, sizeof(bits));
    bits = rounded > T(0) ? bits - 1 : (rounded < T(0) ? bits + 1 : static_cast<std::int32_t>(0x80000001u));
    __builtin_memcpy(&rounded, &bits, sizeof(bits));
  }
  return rounded;
}

template <class T>
void fill_cells(const piecewise::Grid<T>& grid, Pieces& pieces, const CellTable& table) {
  for (std::int64_t q = 0; q < pieces.count; ++q) {
    pieces.cell[q] = static_cast<std::int32_t>(piecewise::cell_coordinate(rounded_down<T>(pieces.breakpoint[q]), grid));
  }
  pieces.cell[pieces.count] = static_cast<std::int32_t>(table.cells);
  __builtin_memset(table.split, 0, static_cast<std::size_t>(table.cells));
  std::int64_t cell = 0;
  for (std::int64_t q = 0; q <= pieces.count; ++q) {
    const Pair line = pair_at(pieces.line, static_cast<std::uint32_t>(4 * q * 8));
    const std::int64_t next = pieces.cell[q];
    for (; cell < next; ++cell) pair_at(table.line, static_cast<std::uint32_t>(cell) * kPairBytes) = line;
    if (q == pieces.count || cell > next) continue;
    pair_at(table.line, static_cast<std::uint32_t>(cell) * kPairBytes) = Pair{};
    table.split[cell] = 1;
    table.breakpoint[cell] = static_cast<std::int32_t>(q);
    ++cell;
  }
}

inline std::int32_t place_of(const Pieces& pieces, const CellTable& table, std::int64_t cell, double x) {
  std::int64_t q = table.breakpoint[cell];
  auto place = static_cast<std::int32_t>(2 * q);
  do {
    place += piecewise::places_passed(x, pieces.breakpoint[q]);
    ++q;
  } while (pieces.cell[q] == cell);
  return place;
}

template <class T>
void find_points(const piecewise::Grid<T>& grid, const Pieces& pieces, const CellTable& table, const T* x,
                 std::int64_t count, Points& points) {
  std::int64_t listed = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto cell = static_cast<std::int32_t>(piecewise::cell_coordinate(x[i], grid));
    points.offset[i] = static_cast<std::uint32_t>(cell) * kPairBytes;
    points.pair[2 * i] = static_cast<double>(x[i]);
    points.pair[2 * i + 1] = 1.0;
    points.listed[listed] = static_cast<std::uint32_t>(i);
    listed += table.split[cell];
  }
  points.count = count;
  points.listed_count = listed;
  for (std::int64_t e = 0; e < listed; ++e) {
    const std::uint32_t i = points.listed[e];
    points.place[e] = place_of(pieces, table, points.offset[i] / kPairBytes, points.pair[2 * i]);
  }
}

inline __attribute__((always_inline)) double value_at(const Pieces& pieces, std::int32_t place, double x) {
  return pieces.line[2 * place] * x + pieces.line[2 * place + 1];
}

inline void sum_rows(const Pieces& pieces, const CellTable& table, const Points& points, std::int64_t rows,
                     std::int64_t inputs, double* output) {
  const std::uint32_t* offset = points.offset;
  double* pair = points.pair;
  for (std::int64_t r = 0; r < rows; ++r) {
    Pair sum[4] = {};
    std::int64_t i = 0;
    for (; i + 4 <= inputs; i += 4) {
      for (int lane = 0; lane < 4; ++lane) {
        sum[lane] += pair_at(table.line, offset[i + lane]) * *reinterpret_cast<const Pair*>(pair + 2 * (i + lane));
      }
    }
    for (; i < inputs; ++i) sum[0] += pair_at(table.line, offset[i]) * *reinterpret_cast<const Pair*>(pair + 2 * i);
    const Pair all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    output[r] = all[0] + all[1];
    offset += inputs;
    pair += 2 * inputs;
  }
  for (std::int64_t e = 0; e < points.listed_count; ++e) {
    const std::uint32_t i = points.listed[e];
    output[i / static_cast<std::uint32_t>(inputs)] += value_at(pieces, points.place[e], points.pair[2 * i]);
  }
}

inline void add_values(const Pieces& pieces, const CellTable& table, const Points& points, double* output) {
  for (std::int64_t i = 0; i < points.count; ++i) {
    const Pair line = pair_at(table.line, points.offset[i]);
    output[i] += line[0] * points.pair[2 * i] + line[1];
  }
  for (std::int64_t e = 0; e < points.listed_count; ++e) {
    const std::uint32_t i = points.listed[e];
    output[i] += value_at(pieces, points.place[e], points.pair[2 * i]);
  }
}

inline void add_moments(const CellTable& table, const Points& points, std::int64_t rows, std::int64_t inputs,
                        const double* residual, double* moment) {
  const std::uint32_t* offset = points.offset;
  double* pair = points.pair;
  for (std::int64_t r = 0; r < rows; ++r) {
    const double factor = residual[r];
    for (std::int64_t i = 0; i < inputs; ++i) {
      pair_at(table.moment, offset[i]) += factor * *reinterpret_cast<const Pair*>(pair + 2 * i);
    }
    offset += inputs;
    pair += 2 * inputs;
  }
  for (std::int64_t e = 0; e < points.listed_count; ++e) {
    const std::uint32_t i = points.listed[e];
    const double factor = residual[i / static_cast<std::uint32_t>(inputs)];
    pair_at(moment, static_cast<std::uint32_t>(points.place[e]) * kPairBytes) +=
        factor * *reinterpret_cast<const Pair*>(points.pair + 2 * i);
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
    Pair sum{};
    for (; cell < pieces.cell[q]; ++cell) sum += pair_at(table.moment, static_cast<std::uint32_t>(cell) * kPairBytes);
    pair_at(moment, static_cast<std::uint32_t>(2 * q) * kPairBytes) += sum;
    if (cell == pieces.cell[q]) ++cell;
  }
  __builtin_memset(table.moment, 0, static_cast<std::size_t>(table.cells) * kPairBytes);
}

}  // namespace
}  // namespace pn::cpu
