// Units of layer 2 that take part in products, with their rows of W2 side by side.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/network.hpp"
#include "cpu/buffer.hpp"
#include "cpu/thread_pool.hpp"
#include "cpu/tiling.hpp"

namespace pn::cpu {

using UnitList = std::vector<std::int32_t>;

template <class T>
struct UnitSelection {
  UnitList units;  // ascending
  const T* rows;   // (units, width): W2 itself where all units are selected, or else copies
  bool all;
  std::int64_t count() const { return static_cast<std::int64_t>(units.size()); }
};

// The copies for one selection at a time. One copy a step of the few rows that take part costs less than the products'
// own packing, and spares everybody else a permuted order of units.
template <class T>
class PackedUnits {
 public:
  // The pool outlives this.
  PackedUnits(const NetworkShape& shape, ThreadPool& pool)
      : layout_(parameter_layout(shape)), width_(shape.width), pool_(pool),
        rows_(static_cast<std::int64_t>(kMostPacked * static_cast<double>(shape.width)) * shape.width),
        b2_(shape.width), w3_(shape.width) {}

  bool fits(std::int64_t units) const { return units * width_ <= rows_.size(); }

  // Sets the selection's rows; `all` only says that its units are all there are.
  void select(UnitSelection<T>& selection, bool all, const T* parameters) {
    const T* w2 = parameters + layout_.w2.offset;
    selection.all = all;
    selection.rows = all ? w2 : rows_.data();
    const auto unit = [&](std::int64_t i) -> std::int64_t { return selection.units[static_cast<std::size_t>(i)]; };
    for (std::int64_t i = 0; i < selection.count(); ++i) {
      b2_[i] = parameters[layout_.b2.offset + unit(i)];
      w3_[i] = parameters[layout_.output.offset + unit(i)];
    }
    if (all || selection.count() == 0) return;
    const Tiling chunks = Tiling::of(selection.count(), kUnitChunk);
    pool_.run(chunks.parts, [&](std::int64_t chunk, int) {
      for (std::int64_t i = chunks.first(chunk); i < chunks.first(chunk + 1); ++i) {
        std::copy_n(w2 + unit(i) * width_, width_, rows_.data() + i * width_);
      }
    });
  }

  // (selected,), in the selection's order.
  const T* b2() const { return b2_.data(); }
  const T* w3() const { return w3_.data(); }

 private:
  // Above this share of the units all take part, with W2 as it stands: copying rows pays below it.
  static constexpr double kMostPacked = 0.75;
  static constexpr std::int64_t kUnitChunk = 32;  // rows of a task

  ParameterLayout layout_;
  std::int64_t width_;
  ThreadPool& pool_;
  Buffer<T> rows_;  // (kMostPacked width, width)
  Buffer<T> b2_, w3_;
};

}  // namespace pn::cpu
