// Products with a matrix of zeros and ones; see masked_product.hpp.
#pragma once

#include "cpu/levels/masked_product.hpp"

namespace pn::cpu {
namespace {

// A table line is what the sums of an output hold in registers.
constexpr int kLineVectors = PN_VECTOR_BYTES == 64 ? 4 : 8;
constexpr int kTableLines = 1 << kMaskRows;

template <class T>
constexpr std::int64_t kLine = kLineVectors * kLanes<T>;

template <class T>
struct MaskTables {
  alignas(64) T line[kMaskGroups][kTableLines][kLine<T>];
};

// Line l of a group's table: the sum of the rows whose bits l has. `rows` of them exist, the first `columns` columns
// count.
template <class T>
inline void fill_table(const T* source, std::int64_t stride, const T* factor, std::int64_t rows, std::int64_t columns,
                       T (&table)[kTableLines][kLine<T>]) {
  for (int v = 0; v < kLineVectors; ++v) {
    const std::int64_t c = v * kLanes<T>;
    Vec<T> sum[kTableLines];
    sum[0] = Vec<T>{};
    for (int i = 0; i < kMaskRows; ++i) {
      Vec<T> row{};
      if (i < rows && c < columns) row = factor[i] * load_up_to(source + i * stride + c, columns - c);
      for (int l = 0; l < (1 << i); ++l) sum[(1 << i) + l] = sum[l] + row;
    }
    for (int l = 0; l < kTableLines; ++l) store(table[l] + c, sum[l]);
  }
}

// One output's line: += a table line a group.
template <bool kWhole, class T>
inline __attribute__((always_inline)) void add_lines(const MaskTables<T>& tables, std::int64_t groups,
                                                     const std::uint8_t* masks, bool fresh, std::int64_t columns,
                                                     T* out) {
  Vec<T> sum[kLineVectors];
  for (int v = 0; v < kLineVectors; ++v) {
    const std::int64_t c = v * kLanes<T>;
    sum[v] = fresh || c >= columns ? Vec<T>{} : kWhole ? load(out + c) : load_up_to(out + c, columns - c);
  }
  for (std::int64_t g = 0; g < groups; ++g) {
    const T* line = tables.line[g][masks[g]];
    for (int v = 0; v < kLineVectors; ++v) sum[v] += load(line + v * kLanes<T>);
  }
  for (int v = 0; v < kLineVectors; ++v) {
    const std::int64_t c = v * kLanes<T>;
    if (kWhole) {
      store(out + c, sum[v]);
    } else if (c < columns) {
      store_up_to<T>(out + c, sum[v], columns - c);
    }
  }
}

// A line of every output.
template <class T>
inline void add_all_lines(const MaskTables<T>& tables, std::int64_t groups, const std::uint8_t* masks, bool fresh,
                          std::int64_t columns, std::int64_t outputs, T* out, std::int64_t out_stride) {
  const auto each = [&](auto one) __attribute__((always_inline)) {
    for (std::int64_t o = 0; o < outputs; ++o) one(masks + o * kMaskGroups, out + o * out_stride);
  };
  if (columns < kLine<T>) {
    each([&](const std::uint8_t* m, T* line) { add_lines<false, T>(tables, groups, m, fresh, columns, line); });
  } else if (groups < kMaskGroups) {
    each([&](const std::uint8_t* m, T* line) { add_lines<true, T>(tables, groups, m, fresh, columns, line); });
  } else {
    each([&](const std::uint8_t* m, T* line) { add_lines<true, T>(tables, kMaskGroups, m, fresh, columns, line); });
  }
}

template <class T>
void masked_multiply(const View<T>& source, const T* factor, const std::uint8_t* masks, std::int64_t first,
                     std::int64_t outputs, std::int64_t all, T* out, std::int64_t out_stride) {
  constexpr std::int64_t kChunkRows = kMaskRows * kMaskGroups;
  MaskTables<T> tables;
  for (std::int64_t c = 0; c < source.columns; c += kLine<T>) {
    const std::int64_t columns = source.columns - c;
    for (std::int64_t chunk = 0; chunk * kChunkRows < source.rows; ++chunk) {
      const std::int64_t left = source.rows - chunk * kChunkRows;
      const std::int64_t groups = left < kChunkRows ? (left + kMaskRows - 1) / kMaskRows : kMaskGroups;
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t row = chunk * kChunkRows + g * kMaskRows;
        fill_table<T>(source.data + row * source.stride + c, source.stride, factor + row, source.rows - row, columns,
                      tables.line[g]);
      }
      add_all_lines<T>(tables, groups, masks + (chunk * all + first) * kMaskGroups, chunk == 0, columns, outputs,
                       out + c, out_stride);
    }
  }
}

template <class T>
void masks_of_rows(const View<T>& h, std::int64_t first, std::int64_t all, std::uint8_t* masks) {
  constexpr std::int64_t kChunkRows = kMaskRows * kMaskGroups;
  for (std::int64_t r = 0; r < h.rows; ++r) {
    const T* row = h.data + r * h.stride;
    for (std::int64_t c = 0; c < h.columns; c += kChunkRows) {
      std::uint8_t* mask = masks + (c / kChunkRows * all + first + r) * kMaskGroups;
      for (std::int64_t g = 0; g < kMaskGroups; ++g) {
        unsigned bits = 0;
        for (std::int64_t i = 0; i < kMaskRows; ++i) {
          const std::int64_t at = c + g * kMaskRows + i;
          if (at < h.columns) bits |= static_cast<unsigned>(row[at] > T(0)) << i;
        }
        mask[g] = static_cast<std::uint8_t>(bits);
      }
    }
  }
}

template <class T>
void masks_of_columns(const View<T>& h, std::uint8_t* masks) {
  for (std::int64_t g = 0; g < kMaskGroups; ++g) {
    const std::int64_t rows = h.rows - g * kMaskRows;
    for (std::int64_t c = 0; c < h.columns; ++c) {
      unsigned bits = 0;
      for (std::int64_t i = 0; i < kMaskRows && i < rows; ++i) {
        bits |= static_cast<unsigned>(h.data[(g * kMaskRows + i) * h.stride + c] > T(0)) << i;
      }
      masks[c * kMaskGroups + g] = static_cast<std::uint8_t>(bits);
    }
  }
}

template <class T>
constexpr MaskedProductFunctions<T> masked_product_functions() {
  return {masked_multiply<T>, masks_of_rows<T>, masks_of_columns<T>};
}

}  // namespace
}  // namespace pn::cpu
