// Products with a matrix of zeros and ones, by the method of the four Russians (kernels.md, section 3, fact two): the
// 16 sums of every 4 source rows are tabulated, and an output adds one table line for 4 rows.
#pragma once

#include <cstdint>

#include "cpu/levels/active_rows.hpp"

namespace pn::cpu {

constexpr std::int64_t kMaskRows = 4;    // source rows of a group
constexpr std::int64_t kMaskGroups = 6;  // groups whose tables are in cache together; their masks lie side by side

// Masks of `outputs` outputs over `sources` source rows: (chunks, outputs, kMaskGroups) bytes, bit i of one standing
// for row i of its group; zero beyond the sources.
constexpr std::int64_t mask_chunks(std::int64_t sources) {
  return (sources + kMaskRows * kMaskGroups - 1) / (kMaskRows * kMaskGroups);
}
constexpr std::int64_t mask_size(std::int64_t outputs, std::int64_t sources) {
  return mask_chunks(sources) * outputs * kMaskGroups;
}

template <class T>
struct MaskedProductFunctions {
  // out_o = sum over the source rows s that o's masks have, of factor_s source_s; out: (outputs, source.columns), rows
  // out_stride apart. Masks are those of the outputs from `first` on, of `all`.
  void (*multiply)(const View<T>& source, const T* factor, const std::uint8_t* masks, std::int64_t first,
                   std::int64_t outputs, std::int64_t all, T* out, std::int64_t out_stride);
  // Masks of h > 0 with the rows as outputs, the columns as sources: rows [first, first + h.rows) of `all`.
  void (*masks_of_rows)(const View<T>& h, std::int64_t first, std::int64_t all, std::uint8_t* masks);
  // Masks of h > 0 with the columns as outputs, the rows as sources, for the chunk of rows that h is.
  void (*masks_of_columns)(const View<T>& h, std::uint8_t* masks);
};

}  // namespace pn::cpu
