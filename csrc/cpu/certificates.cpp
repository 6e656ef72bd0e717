#include "cpu/certificates.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/dense_products.hpp"

namespace pn::cpu {
namespace {

// Of the column maxima, so that the next batches stay inside: one entry far beyond its range spoils the screening of
// all units, while a range too wide by half costs half of the margin that is hardly ever needed.
constexpr double kInflation = 1.5;
constexpr double kMemory = 0.99;           // a batch's maxima fade by this factor a batch
constexpr std::int64_t kMostBatches = 64;  // that an envelope serves
constexpr std::int64_t kMostPatience =
    8;  // batches that an envelope serves after one went beyond it; at first 1, then 2, 4
constexpr std::int64_t kUnitTile = 64;                     // units of a screening task
constexpr double kLeastScale = 1e-15, kLeastUnit = 1e-25;  // nothing that matters underflows above these, in float32

// A sum of n products, in any order, is off by at most n epsilon sum |a_i b_i| or so. Four times that, and a few terms
// more, cover the product of the dense path, the bound's own sums, and the rounding of v, of the scales and of p + eta.
template <class T>
double slack_factor(std::int64_t n) {
  return 4.0 * static_cast<double>(n + 64) * static_cast<double>(std::numeric_limits<T>::epsilon());
}

template <class T>
bool usable(const RowBound<T>& bound, T w3) {
  // A dead unit's output is w3 times 0: NaN where w3 is not finite. NaN in the row shows in the magnitude.
  return w3 - w3 == T(0) && (static_cast<double>(bound.unit) > kLeastUnit || bound.magnitude == T(0));
}

std::int64_t padded(std::int64_t width) { return (width + kScreenStride - 1) / kScreenStride * kScreenStride; }

}  // namespace

template <class T>
Certificates<T>::Certificates(std::int64_t width, Isa isa, ThreadPool& pool, std::int64_t batch,
                              const ScreenFunctions* screen)
    : width_(width), stride_(padded(width)), functions_(table<T>(isa).active),
      screen_(stride_ <= kMostScreenWidth ? screen : nullptr), pool_(pool), scale_(width), inverse_scale_(width),
      recent_largest_(width), column_largest_(row_tiling(batch).parts * width), poison_(column_largest_.size()),
      bounds_(static_cast<std::size_t>(width)), bounded_(static_cast<std::size_t>(width)) {
  list_.reserve(static_cast<std::size_t>(width));
  if (screen_ == nullptr) return;
  quantized_rows_ = Buffer<std::int8_t>(width * stride_);
  quantized_units_ = Buffer<std::uint8_t>(batch * stride_);
  norm_ = Buffer<T>(batch);
  rounding_ = Buffer<T>(batch);
  largest_ = Buffer<std::int32_t>(row_tiling(batch).parts * width);
  smallest_ = Buffer<std::int32_t>(largest_.size());
}

template <class T>
void Certificates<T>::forget() {
  envelope_ = false;
  std::fill_n(recent_largest_.data(), width_, T(0));
  std::fill(bounded_.begin(), bounded_.end(), std::uint8_t{0});
}

template <class T>
void Certificates<T>::row_changed(std::int64_t k, const T* row, bool bound) {
  const auto at = static_cast<std::size_t>(k);
  bounded_[at] = bound && envelope_;
  if (!bounded_[at]) return;
  bounds_[at] = functions_.bound_row(width_, row, scale_.data(), stride_,
                                     screen_ != nullptr ? quantized_rows_.data() + k * stride_ : nullptr);
}

template <class T>
void Certificates<T>::certify(const OutputLayers<T>& layers, const T* h1, std::int64_t n, UnitClass* units) {
  if (std::all_of(units, units + width_, [](UnitClass u) { return u == UnitClass::mixed; })) return;
  if (!scan(h1, n)) {
    std::fill_n(units, width_, UnitClass::mixed);
    return;
  }
  renew_envelope();
  bound_stale_rows(layers, units);
  list_.clear();
  for (std::int64_t k = 0; k < width_; ++k) {
    if (units[k] == UnitClass::mixed || (units[k] == UnitClass::dead && in_range(layers, k))) continue;
    units[k] = UnitClass::mixed;
    list_.push_back(static_cast<std::int32_t>(k));
  }
  if (screen_ != nullptr && !list_.empty()) screen(layers, h1, n, units);
}

// Column maxima of this batch, in the first row of column_largest_; false where h1 is not finite.
template <class T>
bool Certificates<T>::scan(const T* h1, std::int64_t n) {
  const Tiling rows = row_tiling(n), columns = column_tiling(width_);
  for_tiles(pool_, rows, columns, [&](std::int64_t r, std::int64_t c) {
    const std::int64_t at = r * width_ + columns.first(c);
    functions_.column_range({h1 + rows.first(r) * width_ + columns.first(c), rows.count(r), columns.count(c), width_},
                            column_largest_.data() + at, poison_.data() + at);
  });
  T poison = T(0);
  for (std::int64_t r = 0; r < rows.parts; ++r) {
    for (std::int64_t j = 0; j < width_; ++j) {
      column_largest_[j] = std::max(column_largest_[j], column_largest_[r * width_ + j]);
      poison += poison_[r * width_ + j];
    }
  }
  return poison == T(0);
}

template <class T>
void Certificates<T>::renew_envelope() {
  excess_ = 0.0;
  double sum = 0.0;
  for (std::int64_t j = 0; j < width_; ++j) {
    const double largest = static_cast<double>(column_largest_[j]);
    excess_ += std::max(largest - kUnitLevels * static_cast<double>(scale_[j]), 0.0);
    recent_largest_[j] = std::max(column_largest_[j], static_cast<T>(kMemory) * recent_largest_[j]);
    sum += largest;
  }
  ++batches_;
  if (envelope_ && batches_ < (excess_ > 0.0 ? patience_ : kMostBatches)) return;
  // A column that is 0 in this batch gets a part of the others' mean, lest it be beyond its range in the next.
  const double least = std::max(0.01 * sum / static_cast<double>(width_), kLeastScale);
  for (std::int64_t j = 0; j < width_; ++j) {
    const double most = std::max(kInflation * static_cast<double>(recent_largest_[j]), least);
    scale_[j] = static_cast<T>(most / kUnitLevels);
    inverse_scale_[j] = T(1) / scale_[j];
  }
  patience_ = envelope_ ? std::min(2 * patience_, kMostPatience) : 1;
  envelope_ = true;
  excess_ = 0.0;
  batches_ = 0;
  std::fill(bounded_.begin(), bounded_.end(), std::uint8_t{0});
}

template <class T>
void Certificates<T>::bound_stale_rows(const OutputLayers<T>& layers, const UnitClass* units) {
  list_.clear();
  for (std::int64_t k = 0; k < width_; ++k) {
    if (units[k] != UnitClass::mixed && !bounded_[static_cast<std::size_t>(k)])
      list_.push_back(static_cast<std::int32_t>(k));
  }
  pool_.run(static_cast<std::int64_t>(list_.size()), [&](std::int64_t i, int) {
    const std::int64_t k = list_[static_cast<std::size_t>(i)];
    row_changed(k, layers.w2 + k * width_, true);
  });
}

template <class T>
bool Certificates<T>::in_range(const OutputLayers<T>& layers, std::int64_t k) const {
  const RowBound<T>& b = bounds_[static_cast<std::size_t>(k)];
  const double beyond = static_cast<double>(b.largest) * excess_, b2 = static_cast<double>(layers.b2[k]);
  const double slack =
      slack_factor<T>(width_) * (kUnitLevels * static_cast<double>(b.magnitude) + beyond + std::abs(b2));
  return usable(b, layers.w3[k]) && b2 + kUnitLevels * static_cast<double>(b.positive) + beyond + slack <= 0.0;
}

template <class T>
void Certificates<T>::quantize(const T* h1, std::int64_t n) {
  const Tiling rows = Tiling::of(n, kRowTile / 8);
  pool_.run(rows.parts, [&](std::int64_t r, int) {
    const std::int64_t row = rows.first(r);
    functions_.quantize_units({h1 + row * width_, rows.count(r), width_, width_}, inverse_scale_.data(), stride_,
                              quantized_units_.data() + row * stride_, norm_.data() + row, rounding_.data() + row);
  });
  // h1 is finite, so these are numbers or, where a square overflowed, infinite.
  most_norm_ = static_cast<double>(*std::max_element(norm_.data(), norm_.data() + n));
  most_rounding_ = static_cast<double>(*std::max_element(rounding_.data(), rounding_.data() + n));
}

template <class T>
void Certificates<T>::screen(const OutputLayers<T>& layers, const T* h1, std::int64_t n, UnitClass* units) {
  quantize(h1, n);
  const auto count = static_cast<std::int64_t>(list_.size());
  const Tiling rows = row_tiling(n), unit_tiles = Tiling::of(count, kUnitTile);
  for_tiles(pool_, rows, unit_tiles, [&](std::int64_t r, std::int64_t u) {
    const std::int64_t first = unit_tiles.first(u), at = r * width_ + first;
    screen_->extremes(quantized_units_.data() + rows.first(r) * stride_, rows.count(r), quantized_rows_.data(),
                      list_.data() + first, unit_tiles.count(u), stride_, largest_.data() + at, smallest_.data() + at);
  });
  for (std::int64_t i = 0; i < count; ++i) {
    std::int32_t largest = largest_[i], smallest = smallest_[i];
    for (std::int64_t r = 1; r < rows.parts; ++r) {
      largest = std::max(largest, largest_[r * width_ + i]);
      smallest = std::min(smallest, smallest_[r * width_ + i]);
    }
    const std::int64_t k = list_[static_cast<std::size_t>(i)];
    units[k] = decide(layers, k, largest, smallest);
  }
}

template <class T>
UnitClass Certificates<T>::decide(const OutputLayers<T>& layers, std::int64_t k, std::int32_t largest,
                                  std::int32_t smallest) const {
  const RowBound<T>& b = bounds_[static_cast<std::size_t>(k)];
  if (!usable(b, layers.w3[k])) return UnitClass::mixed;
  const double b2 = static_cast<double>(layers.b2[k]), unit = static_cast<double>(b.unit);
  const double norm = static_cast<double>(b.norm), rounding = static_cast<double>(b.rounding);
  const double slack = slack_factor<T>(width_) * (norm * (most_norm_ + most_rounding_) + std::abs(b2));
  const double error = norm * most_rounding_ + rounding * most_norm_ + slack;
  if (b2 + unit * largest + error <= 0.0) return UnitClass::dead;
  if (b2 + unit * smallest - error > 0.0) return UnitClass::on;
  return UnitClass::mixed;
}

template class Certificates<float>;
template class Certificates<double>;

}  // namespace pn::cpu
