#include "cpu/active_backward.hpp"

#include <algorithm>

#include "cpu/dense_products.hpp"
#include "cpu/levels/table.hpp"

namespace pn::cpu {
namespace {

using blas::Transpose;

constexpr std::int64_t kUnitChunk = 32;  // rows of a batch or of W2 of a task
constexpr std::int32_t kRelu = static_cast<std::int32_t>(Activation::relu);

}  // namespace

template <class T>
ActiveBackward<T>::ActiveBackward(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch)
    : inputs_(shape.inputs), width_(shape.width), layout_(parameter_layout(shape)), table_(table<T>(isa)), pool_(pool),
      products_(width_, isa, pool, batch), mixed_h2_(batch * width_), dz1_(batch * width_), dw3_(width_), db2_(width_),
      weighted_(width_), weighted_sum_(width_), partial_(2 * row_tiling(batch).parts * width_),
      gradient_rows_(static_cast<std::size_t>(width_)), gradient_scales_(width_) {
  mixed_.units.reserve(static_cast<std::size_t>(width_));
  positions_.reserve(static_cast<std::size_t>(width_));
}

template <class T>
RowGradient<T> ActiveBackward<T>::run(const T* parameters, std::int64_t n, ActiveForward<T>& forward, T* gradient) {
  parameters_ = parameters;
  std::fill_n(gradient + layout_.b2.offset, width_, T(0));
  std::fill_n(gradient + layout_.output.offset, width_, T(0));
  std::fill(gradient_rows_.begin(), gradient_rows_.end(), nullptr);
  choose_mixed(n, forward);
  const BatchClasses<T>& classes = forward.classes();
  if (mixed_.all) {
    forward.linear().clear();
  } else {
    forward.linear().add(classes.evaluated_on, parameters);
    if (!classes.certified_on.empty() || !classes.evaluated_on.empty()) on_gradient(n, forward, gradient);
  }
  mixed_gradient(n, forward, gradient);
  hidden_gradient(n, forward, gradient);
  weight_gradient(pool_, n, dz1_.data(), width_, forward.x(), inputs_, gradient + layout_.w1.offset);
  return {gradient_rows_.data(), gradient_scales_.data()};
}

// The mixed units and their part of h2.
template <class T>
void ActiveBackward<T>::choose_mixed(std::int64_t n, ActiveForward<T>& forward) {
  const BatchClasses<T>& classes = forward.classes();
  mixed_.units.clear();
  positions_.clear();
  for (std::int64_t i = 0; i < classes.evaluated.count(); ++i) {
    const std::int32_t k = classes.evaluated.units[static_cast<std::size_t>(i)];
    if (classes.units[static_cast<std::size_t>(k)] != UnitClass::mixed) continue;
    mixed_.units.push_back(k);
    positions_.push_back(static_cast<std::int32_t>(i));
  }
  const bool all = !forward.packed().fits(mixed_.count());
  if (all) mixed_.units = classes.evaluated.units;
  forward.packed().select(mixed_, all, parameters_);
  dz2_ = all ? forward.h2() : mixed_h2_.data();
  if (all) return;
  const Tiling rows = Tiling::of(n, kUnitChunk);
  pool_.run(rows.parts, [&](std::int64_t r, int) {
    for (std::int64_t b = rows.first(r); b < rows.first(r + 1); ++b) {
      const T* from = forward.h2() + b * classes.evaluated.count();
      T* to = dz2_ + b * mixed_.count();
      for (std::int64_t i = 0; i < mixed_.count(); ++i) to[i] = from[positions_[static_cast<std::size_t>(i)]];
    }
  });
}

// u = sum_b r_b h1_b; for the units that are on dW2_k = w3_k u, db2_k = w3_k sum_b r_b and, since z_bk = b2_k +
// W2_k.h1_b, dw3_k = b2_k sum_b r_b + W2_k.u.
template <class T>
void ActiveBackward<T>::on_gradient(std::int64_t n, ActiveForward<T>& forward, T* gradient) {
  const T* residual = forward.output();
  const Tiling columns = Tiling::of(width_, LinearUnits<T>::kColumnTile);
  pool_.run(columns.parts, [&](std::int64_t c, int) {
    const std::int64_t column = columns.first(c), count = columns.count(c);
    double* sum = weighted_sum_.data() + column;
    std::fill_n(sum, count, 0.0);
    table_.active.sum_rows({forward.h1() + column, n, count, width_}, nullptr, residual, sum);
    std::copy_n(sum, count, weighted_.data() + column);
  });
  double residual_sum = 0.0;
  for (std::int64_t b = 0; b < n; ++b) residual_sum += static_cast<double>(residual[b]);
  const T total = static_cast<T>(residual_sum);
  const Tiling chunks = Tiling::of(width_, kUnitChunk);
  pool_.run(chunks.parts, [&](std::int64_t chunk, int) {
    for (std::int64_t k = chunks.first(chunk); k < chunks.first(chunk + 1); ++k) {
      if (forward.classes().units[static_cast<std::size_t>(k)] != UnitClass::on) continue;
      double dot;
      table_.active.dot_rows({parameters_ + layout_.w2.offset + k * width_, 1, width_, width_}, weighted_sum_.data(),
                             &dot);
      const T w3 = parameters_[layout_.output.offset + k];
      gradient[layout_.output.offset + k] =
          static_cast<T>(static_cast<double>(parameters_[layout_.b2.offset + k]) * residual_sum + dot);
      gradient[layout_.b2.offset + k] = w3 * total;
      gradient_rows_[static_cast<std::size_t>(k)] = weighted_.data();
      gradient_scales_[k] = w3;
    }
  });
}

template <class T>
void ActiveBackward<T>::mixed_gradient(std::int64_t n, ActiveForward<T>& forward, T* gradient) {
  const std::int64_t count = mixed_.count();
  masked_ = MaskedProducts<T>::pay(count);
  if (count == 0) return;
  const Tiling rows = row_tiling(n), columns = column_tiling(count);
  const T *residual = forward.output(), *w3 = forward.packed().w3();
  if (masked_) products_.take_masks(dz2_, n, count);
  T* partial_db = partial_.data() + rows.parts * count;
  for_tiles(pool_, rows, columns, [&](std::int64_t r, std::int64_t c) {
    const std::int64_t row = rows.first(r), column = columns.first(c), part = r * count + column;
    table_.dense.output_backward(kRelu, {dz2_ + row * count + column, rows.count(r), columns.count(c), count},
                                 residual + row, w3 + column, partial_.data() + part, partial_db + part);
  });
  join_rows(rows.parts, count, partial_.data(), dw3_.data());
  join_rows(rows.parts, count, partial_db, db2_.data());
  T* compact = gradient + layout_.w2.offset;
  if (masked_) {
    products_.weight_gradient(residual, forward.h1(), compact);
  } else {
    weight_gradient(pool_, n, dz2_, count, forward.h1(), width_, compact);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t k = mixed_.units[static_cast<std::size_t>(i)];
    gradient[layout_.output.offset + k] = dw3_[i];
    gradient[layout_.b2.offset + k] = db2_[i];
    gradient_rows_[static_cast<std::size_t>(k)] = compact + i * width_;
    gradient_scales_[k] = masked_ ? w3[i] : T(1);
  }
}

// dz1_: (n, width) = (dZ2 W2 + r s^T) [h1 > 0], the first term over the mixed units.
template <class T>
void ActiveBackward<T>::hidden_gradient(std::int64_t n, ActiveForward<T>& forward, T* gradient) {
  const Tiling rows = row_tiling(n), columns = column_tiling(width_);
  const std::int64_t count = mixed_.count();
  const T* s = forward.linear().s();
  for_tiles(pool_, rows, columns, [&](std::int64_t r, std::int64_t c) {
    const std::int64_t row = rows.first(r), column = columns.first(c);
    const Panel<T> dh{dz1_.data() + row * width_ + column, rows.count(r), columns.count(c), width_};
    if (masked_) {
      products_.hidden_panel(row, dh.rows, dh.columns, width_, mixed_.rows + column, forward.packed().w3(), dh.data);
    } else if (count > 0) {
      blas::multiply(Transpose::no, Transpose::no, dh.rows, dh.columns, count, dz2_ + row * count, count,
                     mixed_.rows + column, width_, dh.data, width_);
    } else {
      for (std::int64_t b = 0; b < dh.rows; ++b) std::fill_n(dh.data + b * width_, dh.columns, T(0));
    }
    table_.dense.hidden_backward(kRelu, dh, forward.h1() + row * width_ + column,
                                 {forward.output() + row, s + column, masked_}, partial_.data() + r * width_ + column);
  });
  join_rows(rows.parts, width_, partial_.data(), gradient + layout_.b1.offset);
}

template class ActiveBackward<float>;
template class ActiveBackward<double>;

}  // namespace pn::cpu
