#include "cpu/masked_products.hpp"

#include <algorithm>

namespace pn::cpu {
namespace {

constexpr std::int64_t kColumns = 64;  // of a task: whole table lines
constexpr std::int64_t kChunk = kMaskRows * kMaskGroups;

}  // namespace

template <class T>
MaskedProducts<T>::MaskedProducts(std::int64_t width, Isa isa, ThreadPool& pool, std::int64_t batch)
    : width_(width), functions_(table<T>(isa).masked), pool_(pool), of_rows_(mask_size(batch, width)),
      of_units_(mask_size(width, batch)) {}

template <class T>
void MaskedProducts<T>::take_masks(const T* h2, std::int64_t n, std::int64_t count) {
  n_ = n;
  count_ = count;
  pool_.run(mask_chunks(n), [&](std::int64_t chunk, int) {
    const std::int64_t first = chunk * kChunk;
    const View<T> rows{h2 + first * count, std::min(kChunk, n - first), count, count};
    functions_.masks_of_rows(rows, first, n, of_rows_.data());
    functions_.masks_of_columns(rows, of_units_.data() + chunk * count * kMaskGroups);
  });
}

template <class T>
void MaskedProducts<T>::weight_gradient(const T* residual, const T* h1, T* dw) {
  pool_.run((width_ + kColumns - 1) / kColumns, [&](std::int64_t task, int) {
    const std::int64_t column = task * kColumns;
    functions_.multiply({h1 + column, n_, std::min(kColumns, width_ - column), width_}, residual, of_units_.data(), 0,
                        count_, count_, dw + column, width_);
  });
}

template <class T>
void MaskedProducts<T>::hidden_panel(std::int64_t row, std::int64_t rows, std::int64_t columns, std::int64_t stride,
                                     const T* w2, const T* w3, T* out) const {
  functions_.multiply({w2, count_, columns, stride}, w3, of_rows_.data(), row, rows, n_, out, stride);
}

template class MaskedProducts<float>;
template class MaskedProducts<double>;

}  // namespace pn::cpu
