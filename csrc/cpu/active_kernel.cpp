#include "cpu/active_kernel.hpp"

#include <algorithm>

#include "cpu/buffer.hpp"
#include "cpu/certificates.hpp"
#include "cpu/dense_products.hpp"
#include "cpu/levels/table.hpp"
#include "cpu/masked_products.hpp"
#include "cpu/packed_units.hpp"
#include "cpu/residual.hpp"

namespace pn::cpu {
namespace {

using blas::Transpose;

constexpr std::int64_t kNarrowTile = 128;  // columns of a task that only adds rows
constexpr std::int64_t kUnitChunk = 32;    // rows of a batch or of W2 of a task
constexpr std::int32_t kRelu = static_cast<std::int32_t>(Activation::relu);

template <class T>
class ActiveKernel final : public Kernel<T>, public RowListener {
 public:
  ActiveKernel(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch);

  std::string_view name() const override { return "active"; }
  double loss_and_gradient(const T* parameters, const Rows<T>& rows, T* gradient) override;
  double loss_and_rows(const T* parameters, const Rows<T>& rows, T* gradient, RowGradient<T>& w2) override;
  void forward(const T* parameters, const Rows<T>& rows, T* prediction, Activity* activity) override;
  RowListener* track(const T* parameters) override;
  void row_changed(std::int64_t k) override;

 private:
  void begin(const T* parameters);
  void forget();
  void forward_rows(const T* parameters, const Rows<T>& rows);
  void first_layer(std::int64_t n);
  void choose_evaluated();
  void evaluate(std::int64_t n);
  void classify(std::int64_t n);
  void add_to_linear(const UnitList& units, bool first);
  void output(std::int64_t n);
  void backward(std::int64_t n, T* gradient);
  void on_gradient(std::int64_t n, T* gradient);
  void mixed_gradient(std::int64_t n, T* gradient);
  void choose_mixed(std::int64_t n);
  void hidden_gradient(std::int64_t n, T* gradient);
  void expand(T* gradient);
  void note_activity(std::int64_t n, Activity& activity);

  NetworkShape shape_;
  ParameterLayout layout_;
  const Table<T>& table_;
  ThreadPool& pool_;
  std::int64_t batch_, width_;
  Certificates<T> certificates_;
  MaskedProducts<T> products_;
  bool masked_ = false;  // whether the mixed units' backward products are masked ones
  const T* tracked_ = nullptr;
  const T* parameters_ = nullptr;  // of the call under way
  bool certifying_ = false;
  std::vector<UnitClass> units_;  // (width,) of the last batch, the guess for the next
  UnitSelection<T> evaluated_, mixed_;
  UnitList certified_on_, evaluated_on_;
  Buffer<T> x_;                    // (batch, inputs)
  Buffer<T> h1_, h2_, dz2_, dz1_;  // (batch, width); h2_ (batch, evaluated), dz2_ (batch, mixed)
  PackedUnits<T> packed_;          // of evaluated_, then of mixed_
  Buffer<T> dw3_, db2_;            // (mixed,)
  Buffer<T> linear_;               // (width,) s
  double constant_ = 0.0;          // sum_on w3_k b2_k
  Buffer<T> weighted_;             // (width,) u
  Buffer<double> linear_sum_, weighted_sum_;
  Buffer<T> dots_;              // (column tiles, batch)
  Buffer<double> linear_dots_;  // (batch,)
  Buffer<T> residual_;          // (batch,)
  Buffer<T> partial_;           // (2, row tiles, width)
  std::vector<const T*> gradient_rows_;
  Buffer<T> gradient_scales_;  // (width,)
};

template <class T>
ActiveKernel<T>::ActiveKernel(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch)
    : shape_(shape), layout_(parameter_layout(shape)), table_(table<T>(isa)), pool_(pool), batch_(batch),
      width_(shape.width), certificates_(width_, isa, pool, batch), products_(width_, isa, pool, batch),
      units_(static_cast<std::size_t>(width_)), x_(batch * shape.inputs), h1_(batch * width_), h2_(batch * width_),
      dz2_(batch * width_), dz1_(batch * width_), packed_(shape, pool), dw3_(width_), db2_(width_), linear_(width_),
      weighted_(width_), linear_sum_(width_), weighted_sum_(width_), dots_(column_tiling(width_).parts * batch),
      linear_dots_(batch), residual_(batch), partial_(2 * row_tiling(batch).parts * width_),
      gradient_rows_(static_cast<std::size_t>(width_)), gradient_scales_(width_) {
  for (UnitList* list : {&evaluated_.units, &mixed_.units, &certified_on_, &evaluated_on_}) {
    list->reserve(static_cast<std::size_t>(width_));
  }
}

template <class T>
RowListener* ActiveKernel<T>::track(const T* parameters) {
  tracked_ = parameters;
  forget();
  return this;
}

template <class T>
void ActiveKernel<T>::row_changed(std::int64_t k) {
  certificates_.row_changed(k, tracked_ + layout_.w2.offset + k * width_,
                            units_[static_cast<std::size_t>(k)] != UnitClass::mixed);
}

// Other parameters than the tracked ones: what is known of these must not be used, nor, while some are tracked, be
// lost.
template <class T>
void ActiveKernel<T>::begin(const T* parameters) {
  parameters_ = parameters;
  certifying_ = tracked_ == nullptr || parameters == tracked_;
  if (tracked_ == nullptr) forget();
}

// Of unknown units all are asked for a certificate: before the collapse that costs a fraction of the one step that
// follows.
template <class T>
void ActiveKernel<T>::forget() {
  certificates_.forget();
  std::fill(units_.begin(), units_.end(), UnitClass::dead);
}

template <class T>
double ActiveKernel<T>::loss_and_rows(const T* parameters, const Rows<T>& rows, T* gradient, RowGradient<T>& w2) {
  begin(parameters);
  forward_rows(parameters, rows);
  const double sum = residual_in_place(rows, rows.count, residual_.data());
  backward(rows.count, gradient);
  w2 = {gradient_rows_.data(), gradient_scales_.data()};
  return sum / static_cast<double>(rows.count);
}

template <class T>
double ActiveKernel<T>::loss_and_gradient(const T* parameters, const Rows<T>& rows, T* gradient) {
  RowGradient<T> w2;
  const double loss = loss_and_rows(parameters, rows, gradient, w2);
  expand(gradient + layout_.w2.offset);
  return loss;
}

template <class T>
void ActiveKernel<T>::forward(const T* parameters, const Rows<T>& rows, T* prediction, Activity* activity) {
  begin(parameters);
  for (std::int64_t first = 0; first < rows.count; first += batch_) {
    const Rows<T> part = rows.slice(first, std::min(batch_, rows.count - first));
    forward_rows(parameters, part);
    for (std::int64_t b = 0; b < part.count; ++b) {
      prediction[first + b] = residual_[b] / static_cast<T>(shape_.inputs);
    }
    if (activity != nullptr) note_activity(part.count, *activity);
  }
}

// Leaves the undivided output in residual_, layer 1 in h1_, the evaluated units in h2_ and every unit's class in
// units_.
template <class T>
void ActiveKernel<T>::forward_rows(const T* parameters, const Rows<T>& rows) {
  const std::int64_t n = rows.count;
  gather(rows, x_.data());
  first_layer(n);
  if (certifying_) {
    certificates_.certify(
        {parameters + layout_.w2.offset, parameters + layout_.b2.offset, parameters + layout_.output.offset},
        h1_.data(), n, units_.data());
  } else {
    std::fill(units_.begin(), units_.end(), UnitClass::mixed);
  }
  choose_evaluated();
  evaluate(n);
  add_to_linear(certified_on_, true);
  output(n);
  classify(n);
}

template <class T>
void ActiveKernel<T>::first_layer(std::int64_t n) {
  const Tiling rows = row_tiling(n), columns = column_tiling(width_);
  for_tiles(pool_, rows, columns, [&](std::int64_t r, std::int64_t c) {
    const std::int64_t row = rows.first(r), column = columns.first(c), d = shape_.inputs;
    const Panel<T> z{h1_.data() + row * width_ + column, rows.count(r), columns.count(c), width_};
    blas::multiply(Transpose::no, Transpose::yes, z.rows, z.columns, d, x_.data() + row * d, d,
                   parameters_ + layout_.w1.offset + column * d, d, z.data, width_);
    table_.dense.activate(kRelu, z, parameters_ + layout_.b1.offset + column);
  });
}

template <class T>
void ActiveKernel<T>::choose_evaluated() {
  evaluated_.units.clear();
  certified_on_.clear();
  for (std::int64_t k = 0; k < width_; ++k) {
    const UnitClass unit = units_[static_cast<std::size_t>(k)];
    if (unit == UnitClass::mixed) evaluated_.units.push_back(static_cast<std::int32_t>(k));
    if (unit == UnitClass::on) certified_on_.push_back(static_cast<std::int32_t>(k));
  }
  const bool all = !packed_.fits(evaluated_.count());
  if (all) {
    evaluated_.units.resize(units_.size());
    for (std::int64_t k = 0; k < width_; ++k)
      evaluated_.units[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(k);
    certified_on_.clear();
  }
  packed_.select(evaluated_, all, parameters_);
}

// h2_: (n, evaluated), its products with w3 in dots_, and how many rows each unit is active on in partial_.
template <class T>
void ActiveKernel<T>::evaluate(std::int64_t n) {
  const std::int64_t count = evaluated_.count();
  if (count == 0) return;
  const Tiling rows = row_tiling(n), columns = column_tiling(count);
  for_tiles(pool_, rows, columns, [&](std::int64_t r, std::int64_t c) {
    const std::int64_t row = rows.first(r), column = columns.first(c);
    const Panel<T> z{h2_.data() + row * count + column, rows.count(r), columns.count(c), count};
    blas::multiply(Transpose::no, Transpose::yes, z.rows, z.columns, width_, h1_.data() + row * width_, width_,
                   evaluated_.rows + column * width_, width_, z.data, count);
    table_.dense.activate_dot(kRelu, z, packed_.b2() + column, packed_.w3() + column, dots_.data() + c * batch_ + row);
    table_.active.count_positive({z.data, z.rows, z.columns, z.stride}, partial_.data() + r * count + column);
  });
}

// What the evaluated units turned out to be.
template <class T>
void ActiveKernel<T>::classify(std::int64_t n) {
  const std::int64_t count = evaluated_.count(), parts = row_tiling(n).parts;
  evaluated_on_.clear();
  for (std::int64_t i = 0; i < count; ++i) {
    T active = T(0);
    for (std::int64_t r = 0; r < parts; ++r) active += partial_[r * count + i];
    const std::int32_t k = evaluated_.units[static_cast<std::size_t>(i)];
    const bool on = active == static_cast<T>(n);
    units_[static_cast<std::size_t>(k)] = on ? UnitClass::on : active == T(0) ? UnitClass::dead : UnitClass::mixed;
    if (on) evaluated_on_.push_back(k);
  }
}

// linear_ and constant_ get the units' part, beside what they hold or, with `first`, alone.
template <class T>
void ActiveKernel<T>::add_to_linear(const UnitList& units, bool first) {
  const T *w2 = parameters_ + layout_.w2.offset, *b2 = parameters_ + layout_.b2.offset;
  const T* w3 = parameters_ + layout_.output.offset;
  if (first) {
    constant_ = 0.0;
    std::fill_n(linear_sum_.data(), width_, 0.0);
  }
  for (const std::int32_t k : units) constant_ += static_cast<double>(w3[k]) * static_cast<double>(b2[k]);
  const Tiling columns = Tiling::of(width_, kNarrowTile);
  pool_.run(columns.parts, [&](std::int64_t c, int) {
    const std::int64_t column = columns.first(c), count = columns.count(c);
    table_.active.sum_rows({w2 + column, static_cast<std::int64_t>(units.size()), count, width_}, units.data(), w3,
                           linear_sum_.data() + column);
    std::copy_n(linear_sum_.data() + column, count, linear_.data() + column);
  });
}

template <class T>
void ActiveKernel<T>::output(std::int64_t n) {
  const std::int64_t parts = evaluated_.count() == 0 ? 0 : column_tiling(evaluated_.count()).parts;
  const Tiling rows = Tiling::of(n, kUnitChunk);
  const bool on = !certified_on_.empty();
  pool_.run(on ? rows.parts : 0, [&](std::int64_t r, int) {
    const std::int64_t row = rows.first(r);
    table_.active.dot_rows({h1_.data() + row * width_, rows.count(r), width_, width_}, linear_sum_.data(),
                           linear_dots_.data() + row);
  });
  for (std::int64_t b = 0; b < n; ++b) {
    double sum = on ? constant_ + linear_dots_[b] : 0.0;
    for (std::int64_t c = 0; c < parts; ++c) sum += static_cast<double>(dots_[c * batch_ + b]);
    residual_[b] = static_cast<T>(sum);
  }
}

template <class T>
void ActiveKernel<T>::backward(std::int64_t n, T* gradient) {
  std::fill_n(gradient + layout_.b2.offset, width_, T(0));
  std::fill_n(gradient + layout_.output.offset, width_, T(0));
  std::fill(gradient_rows_.begin(), gradient_rows_.end(), nullptr);
  const bool some_on = !certified_on_.empty() || !evaluated_on_.empty();
  choose_mixed(n);
  if (mixed_.all) {
    std::fill_n(linear_.data(), width_, T(0));
  } else {
    add_to_linear(evaluated_on_, false);
    if (some_on) on_gradient(n, gradient);
  }
  mixed_gradient(n, gradient);
  hidden_gradient(n, gradient);
  weight_gradient(pool_, n, dz1_.data(), width_, x_.data(), shape_.inputs, gradient + layout_.w1.offset);
}

// u = sum_b r_b h1_b; for the units that are on dW2_k = w3_k u, db2_k = w3_k sum_b r_b and, since z_bk = b2_k +
// W2_k.h1_b, dw3_k = b2_k sum_b r_b + W2_k.u.
template <class T>
void ActiveKernel<T>::on_gradient(std::int64_t n, T* gradient) {
  const Tiling columns = Tiling::of(width_, kNarrowTile);
  pool_.run(columns.parts, [&](std::int64_t c, int) {
    const std::int64_t column = columns.first(c), count = columns.count(c);
    double* sum = weighted_sum_.data() + column;
    std::fill_n(sum, count, 0.0);
    table_.active.sum_rows({h1_.data() + column, n, count, width_}, nullptr, residual_.data(), sum);
    std::copy_n(sum, count, weighted_.data() + column);
  });
  double residual_sum = 0.0;
  for (std::int64_t b = 0; b < n; ++b) residual_sum += static_cast<double>(residual_[b]);
  const T total = static_cast<T>(residual_sum);
  const Tiling chunks = Tiling::of(width_, kUnitChunk);
  pool_.run(chunks.parts, [&](std::int64_t chunk, int) {
    for (std::int64_t k = chunks.first(chunk); k < chunks.first(chunk + 1); ++k) {
      if (units_[static_cast<std::size_t>(k)] != UnitClass::on) continue;
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

// The mixed units and their part of dz2_: (n, mixed), still holding h2.
template <class T>
void ActiveKernel<T>::choose_mixed(std::int64_t n) {
  mixed_.units.clear();
  UnitList& positions = certified_on_;  // in the list of evaluated units; that of the certified ones has been used
  positions.clear();
  for (std::int64_t i = 0; i < evaluated_.count(); ++i) {
    const std::int32_t k = evaluated_.units[static_cast<std::size_t>(i)];
    if (units_[static_cast<std::size_t>(k)] != UnitClass::mixed) continue;
    mixed_.units.push_back(k);
    positions.push_back(static_cast<std::int32_t>(i));
  }
  if (!packed_.fits(mixed_.count())) {
    mixed_.units = evaluated_.units;
    packed_.select(mixed_, true, parameters_);
    return;
  }
  packed_.select(mixed_, false, parameters_);
  const Tiling rows = Tiling::of(n, kUnitChunk);
  pool_.run(rows.parts, [&](std::int64_t r, int) {
    for (std::int64_t b = rows.first(r); b < rows.first(r + 1); ++b) {
      const T* from = h2_.data() + b * evaluated_.count();
      T* to = dz2_.data() + b * mixed_.count();
      for (std::int64_t i = 0; i < mixed_.count(); ++i) to[i] = from[positions[static_cast<std::size_t>(i)]];
    }
  });
}

template <class T>
void ActiveKernel<T>::mixed_gradient(std::int64_t n, T* gradient) {
  const std::int64_t count = mixed_.count();
  masked_ = MaskedProducts<T>::pay(count);
  if (count == 0) return;
  const Tiling rows = row_tiling(n), columns = column_tiling(count);
  T* dz = mixed_.all ? h2_.data() : dz2_.data();
  if (masked_) products_.take_masks(dz, n, count);
  T* partial_db = partial_.data() + rows.parts * count;
  for_tiles(pool_, rows, columns, [&](std::int64_t r, std::int64_t c) {
    const std::int64_t row = rows.first(r), column = columns.first(c);
    table_.dense.output_backward(kRelu, {dz + row * count + column, rows.count(r), columns.count(c), count},
                                 residual_.data() + row, packed_.w3() + column, partial_.data() + r * count + column,
                                 partial_db + r * count + column);
  });
  join_rows(rows.parts, count, partial_.data(), dw3_.data());
  join_rows(rows.parts, count, partial_db, db2_.data());
  T* compact = gradient + layout_.w2.offset;
  if (masked_) {
    products_.weight_gradient(residual_.data(), h1_.data(), compact);
  } else {
    weight_gradient(pool_, n, dz, count, h1_.data(), width_, compact);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t k = mixed_.units[static_cast<std::size_t>(i)];
    gradient[layout_.output.offset + k] = dw3_[i];
    gradient[layout_.b2.offset + k] = db2_[i];
    gradient_rows_[static_cast<std::size_t>(k)] = compact + i * width_;
    gradient_scales_[k] = masked_ ? packed_.w3()[i] : T(1);
  }
}

// dz1_: (n, width) = (dZ2 W2 + r s^T) [h1 > 0], the first term over the mixed units.
template <class T>
void ActiveKernel<T>::hidden_gradient(std::int64_t n, T* gradient) {
  const Tiling rows = row_tiling(n), columns = column_tiling(width_);
  const std::int64_t count = mixed_.count();
  const T* dz = mixed_.all ? h2_.data() : dz2_.data();
  for_tiles(pool_, rows, columns, [&](std::int64_t r, std::int64_t c) {
    const std::int64_t row = rows.first(r), column = columns.first(c);
    const Panel<T> dh{dz1_.data() + row * width_ + column, rows.count(r), columns.count(c), width_};
    if (masked_) {
      products_.hidden_panel(row, dh.rows, dh.columns, width_, mixed_.rows + column, packed_.w3(), dh.data);
    } else if (count > 0) {
      blas::multiply(Transpose::no, Transpose::no, dh.rows, dh.columns, count, dz + row * count, count,
                     mixed_.rows + column, width_, dh.data, width_);
    } else {
      for (std::int64_t b = 0; b < dh.rows; ++b) std::fill_n(dh.data + b * width_, dh.columns, T(0));
    }
    table_.dense.hidden_backward(kRelu, dh, h1_.data() + row * width_ + column,
                                 {residual_.data() + row, linear_.data() + column, masked_},
                                 partial_.data() + r * width_ + column);
  });
  join_rows(rows.parts, width_, partial_.data(), gradient + layout_.b1.offset);
}

// w2: (width, width) from the mixed units' rows at its start, the last one first, since row i <= k moves to row k.
template <class T>
void ActiveKernel<T>::expand(T* w2) {
  for (std::int64_t k = width_ - 1; k >= 0; --k) {
    const T* from = gradient_rows_[static_cast<std::size_t>(k)];
    T* to = w2 + k * width_;
    for (std::int64_t j = 0; j < width_; ++j) to[j] = from != nullptr ? gradient_scales_[k] * from[j] : T(0);
  }
}

template <class T>
void ActiveKernel<T>::note_activity(std::int64_t n, Activity& activity) {
  table_.dense.activity({h1_.data(), n, width_, width_}, activity.positive(0), activity.nonpositive(0));
  for (std::int64_t k = 0; k < width_; ++k) {
    const UnitClass unit = units_[static_cast<std::size_t>(k)];
    if (unit != UnitClass::dead) activity.positive(1)[k] = 1;
    if (unit != UnitClass::on) activity.nonpositive(1)[k] = 1;
  }
}

}  // namespace

bool has_active_kernel(const NetworkShape& shape) {
  return shape.blocks() == 1 && shape.block_in > 1 && shape.hidden_layers == 2 && shape.activation == Activation::relu;
}

template <class T>
std::unique_ptr<Kernel<T>> make_active_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool,
                                              std::int64_t batch) {
  return std::make_unique<ActiveKernel<T>>(shape, isa, pool, batch);
}

template std::unique_ptr<Kernel<float>> make_active_kernel(const NetworkShape&, Isa, ThreadPool&, std::int64_t);
template std::unique_ptr<Kernel<double>> make_active_kernel(const NetworkShape&, Isa, ThreadPool&, std::int64_t);

}  // namespace pn::cpu
