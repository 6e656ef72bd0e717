// Sums over the rows of a matrix, cut into tiles of fixed size that thread blocks take in any order: every tile leaves
// partial sums, which are joined in the tiles' order, so that the bits depend on the matrix alone.
#pragma once

#include <cstdint>

#include "core/host_device.hpp"
#include "cuda/device/team.hpp"

// Before a loop over an array that is to stay in registers.
#if defined(__CUDACC__)
#define PN_UNROLL _Pragma("unroll")
#else
#define PN_UNROLL
#endif

namespace pn::cuda {

constexpr int kThreads = 256;  // of a block that goes over elements
constexpr std::int64_t kTileRows = 32, kTileColumns = 128;

PN_INLINE std::int64_t parts_of(std::int64_t count, std::int64_t each) { return (count + each - 1) / each; }

PN_INLINE std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// Sum of term(i), i < n, for every thread. Begins and ends with a sync.
template <class Team, class Term>
PN_TEAM double sum_of(const Team& team, std::int64_t n, Term term) {
  double mine = 0.0;
  team.for_each(n, [&](std::int64_t i) { mine += term(i); });
  return team.total(mine);
}

// partial: (Column::kSums, row tiles, columns) of what column.add(row, column, sums) adds up.
template <class Column>
struct SumColumns {
  Column column;
  std::int64_t rows, columns;
  double* partial;

  static std::int64_t row_tiles(std::int64_t rows) { return parts_of(rows, kTileRows); }
  std::int64_t blocks() const { return row_tiles(rows) * parts_of(columns, kTileColumns); }
  static constexpr int threads() { return static_cast<int>(kTileColumns); }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    const std::int64_t across = parts_of(columns, kTileColumns), down = parts_of(rows, kTileRows);
    const std::int64_t tile = block / across, first = block % across * kTileColumns;
    const std::int64_t end = least(rows, (tile + 1) * kTileRows);
    team.for_each(least(kTileColumns, columns - first), [&](std::int64_t i) {
      double sums[Column::kSums] = {};
      for (std::int64_t row = tile * kTileRows; row < end; ++row) column.add(row, first + i, sums);
      for (int s = 0; s < Column::kSums; ++s) partial[(s * down + tile) * columns + first + i] = sums[s];
    });
  }
};

// Where the joined sums go: (columns,) each, null where nobody wants them.
template <class T>
struct SumTarget {
  T* value = nullptr;
  double* total = nullptr;  // += instead of =
  double* wide = nullptr;
};

template <class T, int kSums>
struct JoinColumns {
  const double* partial;  // (kSums, tiles, columns)
  std::int64_t tiles, columns;
  SumTarget<T> target[kSums];

  std::int64_t blocks() const { return parts_of(columns, kTileColumns); }
  static constexpr int threads() { return static_cast<int>(kTileColumns); }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    const std::int64_t first = block * kTileColumns;
    team.for_each(least(kTileColumns, columns - first), [&](std::int64_t i) {
      for (int s = 0; s < kSums; ++s) {
        double sum = 0.0;
        for (std::int64_t tile = 0; tile < tiles; ++tile) sum += partial[(s * tiles + tile) * columns + first + i];
        if (target[s].value != nullptr) target[s].value[first + i] = static_cast<T>(sum);
        if (target[s].total != nullptr) target[s].total[first + i] += sum;
        if (target[s].wide != nullptr) target[s].wide[first + i] = sum;
      }
    });
  }
};

// A kernel without sums: element(i) for i < count.
template <class Element>
struct Elements {
  Element element;
  std::int64_t count;

  static constexpr std::int64_t kEach = 4 * kThreads;
  std::int64_t blocks() const { return parts_of(count, kEach); }
  static constexpr int threads() { return kThreads; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t block) const {
    const std::int64_t first = block * kEach;
    team.for_each(least(kEach, count - first), [&](std::int64_t i) { element.at(first + i); });
  }
};

}  // namespace pn::cuda
