// The layer-2 units that are on for a whole batch, as the linear function that they are together (kernels.md, section
// 3): sum_on w3_k (b2_k + W2_k.h1_b) = constant + s.h1_b with s = sum_on w3_k W2_k.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/network.hpp"
#include "cpu/buffer.hpp"
#include "cpu/levels/table.hpp"
#include "cpu/packed_units.hpp"
#include "cpu/thread_pool.hpp"
#include "cpu/tiling.hpp"

namespace pn::cpu {

template <class T>
class LinearUnits {
 public:
  static constexpr std::int64_t kColumnTile = 128;  // columns of a task that only adds rows

  // The pool outlives this.
  LinearUnits(const NetworkShape& shape, Isa isa, ThreadPool& pool)
      : layout_(parameter_layout(shape)), functions_(table<T>(isa).active), pool_(pool), width_(shape.width),
        s_(shape.width), sum_(shape.width) {}

  // Of these units alone.
  void take(const UnitList& units, const T* parameters) {
    constant_ = 0.0;
    std::fill_n(sum_.data(), width_, 0.0);
    add(units, parameters);
  }

  // Of these units too.
  void add(const UnitList& units, const T* parameters) {
    const T *w2 = parameters + layout_.w2.offset, *b2 = parameters + layout_.b2.offset;
    const T* w3 = parameters + layout_.output.offset;
    for (const std::int32_t k : units) constant_ += static_cast<double>(w3[k]) * static_cast<double>(b2[k]);
    const Tiling columns = Tiling::of(width_, kColumnTile);
    pool_.run(columns.parts, [&](std::int64_t c, int) {
      const std::int64_t column = columns.first(c), count = columns.count(c);
      functions_.sum_rows({w2 + column, static_cast<std::int64_t>(units.size()), count, width_}, units.data(), w3,
                          sum_.data() + column);
      std::copy_n(sum_.data() + column, count, s_.data() + column);
    });
  }

  // As if there were none, for s() alone.
  void clear() { std::fill_n(s_.data(), width_, T(0)); }

  double constant() const { return constant_; }
  const T* s() const { return s_.data(); }           // (width,)
  const double* sum() const { return sum_.data(); }  // (width,) s before it is rounded

 private:
  ParameterLayout layout_;
  const ActiveRowFunctions<T>& functions_;
  ThreadPool& pool_;
  std::int64_t width_;
  Buffer<T> s_;
  Buffer<double> sum_;
  double constant_ = 0.0;
};

}  // namespace pn::cpu
