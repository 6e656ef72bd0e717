#include "cpu/active_forward.hpp"

#include <algorithm>

#include "cpu/dense_products.hpp"
#include "cpu/levels/table.hpp"

namespace pn::cpu {
namespace {

constexpr std::int64_t kRowChunk = 32;  // rows of a batch of a task
constexpr std::int32_t kRelu = static_cast<std::int32_t>(Activation::relu);

}  // namespace

template <class T>
ActiveForward<T>::ActiveForward(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch)
    : inputs_(shape.inputs), width_(shape.width), batch_(batch), layout_(parameter_layout(shape)),
      table_(table<T>(isa)), pool_(pool), certificates_(width_, isa, pool, batch), packed_(shape, pool),
      linear_(shape, isa, pool), x_(batch * shape.inputs), h1_(batch * width_), h2_(batch * width_),
      dots_(column_tiling(width_).parts * batch), linear_dots_(batch), output_(batch),
      active_rows_(row_tiling(batch).parts * width_) {
  classes_.units.resize(static_cast<std::size_t>(width_));
  for (UnitList* list : {&classes_.evaluated.units, &classes_.certified_on, &classes_.evaluated_on}) {
    list->reserve(static_cast<std::size_t>(width_));
  }
}

// Of unknown units all are asked for a certificate: before the collapse that costs a fraction of the one step that
// follows.
template <class T>
void ActiveForward<T>::forget() {
  certificates_.forget();
  std::fill(classes_.units.begin(), classes_.units.end(), UnitClass::dead);
}

template <class T>
void ActiveForward<T>::row_changed(std::int64_t k, const T* row) {
  certificates_.row_changed(k, row, classes_.units[static_cast<std::size_t>(k)] != UnitClass::mixed);
}

template <class T>
void ActiveForward<T>::run(const T* parameters, const Rows<T>& rows, bool certify) {
  const std::int64_t n = rows.count;
  parameters_ = parameters;
  gather(rows, x_.data());
  first_layer(n);
  if (certify) {
    certificates_.certify(
        {parameters + layout_.w2.offset, parameters + layout_.b2.offset, parameters + layout_.output.offset},
        h1_.data(), n, classes_.units.data());
  } else {
    std::fill(classes_.units.begin(), classes_.units.end(), UnitClass::mixed);
  }
  choose_evaluated();
  evaluate(n);
  linear_.take(classes_.certified_on, parameters);
  sum_output(n);
  classify(n);
}

template <class T>
void ActiveForward<T>::first_layer(std::int64_t n) {
  const T *w1 = parameters_ + layout_.w1.offset, *b1 = parameters_ + layout_.b1.offset;
  layer_product(pool_, n, x_.data(), inputs_, w1, width_, h1_.data(),
                [&](const LayerTile<T>& tile) { table_.dense.activate(kRelu, tile.z, b1 + tile.column); });
}

template <class T>
void ActiveForward<T>::choose_evaluated() {
  UnitSelection<T>& evaluated = classes_.evaluated;
  evaluated.units.clear();
  classes_.certified_on.clear();
  for (std::int64_t k = 0; k < width_; ++k) {
    const UnitClass unit = classes_.units[static_cast<std::size_t>(k)];
    if (unit == UnitClass::mixed) evaluated.units.push_back(static_cast<std::int32_t>(k));
    if (unit == UnitClass::on) classes_.certified_on.push_back(static_cast<std::int32_t>(k));
  }
  const bool all = !packed_.fits(evaluated.count());
  if (all) {
    evaluated.units.resize(classes_.units.size());
    for (std::int64_t k = 0; k < width_; ++k)
      evaluated.units[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(k);
    classes_.certified_on.clear();
  }
  packed_.select(evaluated, all, parameters_);
}

template <class T>
void ActiveForward<T>::evaluate(std::int64_t n) {
  const UnitSelection<T>& evaluated = classes_.evaluated;
  const std::int64_t count = evaluated.count();
  if (count == 0) return;
  layer_product(pool_, n, h1_.data(), width_, evaluated.rows, count, h2_.data(), [&](const LayerTile<T>& tile) {
    const Panel<T>& z = tile.z;
    table_.dense.activate_dot(kRelu, z, packed_.b2() + tile.column, packed_.w3() + tile.column,
                              dots_.data() + tile.c * batch_ + tile.row);
    table_.active.count_positive({z.data, z.rows, z.columns, z.stride},
                                 active_rows_.data() + tile.r * count + tile.column);
  });
}

template <class T>
void ActiveForward<T>::sum_output(std::int64_t n) {
  const std::int64_t count = classes_.evaluated.count(), parts = count == 0 ? 0 : column_tiling(count).parts;
  const Tiling rows = Tiling::of(n, kRowChunk);
  const bool on = !classes_.certified_on.empty();
  pool_.run(on ? rows.parts : 0, [&](std::int64_t r, int) {
    const std::int64_t row = rows.first(r);
    table_.active.dot_rows({h1_.data() + row * width_, rows.count(r), width_, width_}, linear_.sum(),
                           linear_dots_.data() + row);
  });
  for (std::int64_t b = 0; b < n; ++b) {
    double sum = on ? linear_.constant() + linear_dots_[b] : 0.0;
    for (std::int64_t c = 0; c < parts; ++c) sum += static_cast<double>(dots_[c * batch_ + b]);
    output_[b] = static_cast<T>(sum);
  }
}

// What the evaluated units turned out to be.
template <class T>
void ActiveForward<T>::classify(std::int64_t n) {
  const std::int64_t count = classes_.evaluated.count(), parts = row_tiling(n).parts;
  classes_.evaluated_on.clear();
  for (std::int64_t i = 0; i < count; ++i) {
    T active = T(0);
    for (std::int64_t r = 0; r < parts; ++r) active += active_rows_[r * count + i];
    const std::int32_t k = classes_.evaluated.units[static_cast<std::size_t>(i)];
    const bool on = active == static_cast<T>(n);
    classes_.units[static_cast<std::size_t>(k)] = on               ? UnitClass::on
                                                  : active == T(0) ? UnitClass::dead
                                                                   : UnitClass::mixed;
    if (on) classes_.evaluated_on.push_back(k);
  }
}

template class ActiveForward<float>;
template class ActiveForward<double>;

}  // namespace pn::cpu
