// Memory of the piecewise-linear kernels, taken once: the arrays behind the structures of levels/piecewise_linear.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/network.hpp"
#include "cpu/buffer.hpp"
#include "cpu/levels/piecewise_linear.hpp"

namespace pn::cpu {

constexpr std::int64_t kBlockPoints = 256;  // points that go through look-up and moments together: they stay in L1
constexpr std::int64_t kVectorSlack = 16;   // elements that a level may write beyond the end

// Breakpoints of a block at most: one hinge for each unit of layer 1, a zero for each unit of layer 2 in each interval
// between hinges. Quadratic in the width, where training leaves about as many as there are units: of such arrays only
// the part in use is ever touched, and threads have room for what is usual, and share one set for more.
inline std::int64_t most_breakpoints(const NetworkShape& shape) {
  return shape.width + (shape.hidden_layers == 2 ? shape.width * (shape.width + 1) : 0);
}
inline std::int64_t usual_breakpoints(const NetworkShape& shape) {
  return std::min(8 * shape.width + 64, most_breakpoints(shape));
}
inline std::int64_t places_capacity(std::int64_t breakpoints) { return 2 * breakpoints + 1; }

class PieceStore {
 public:
  PieceStore(const NetworkShape& shape, std::int64_t breakpoints)
      : breakpoint_(breakpoints + kVectorSlack), cell_(breakpoints + kVectorSlack), edge_(shape.width),
        first_range_(shape.hidden_layers == 2 ? shape.width : 0), rises_(shape.width), range_(breakpoints) {
    view_ = {breakpoints,
             breakpoints,
             0,
             0,
             true,
             breakpoint_.data(),
             cell_.data(),
             nullptr,
             edge_.data(),
             rises_.data(),
             first_range_.data(),
             range_.data(),
             nullptr};
  }
  Pieces& view() { return view_; }

 private:
  Buffer<double> breakpoint_;
  Buffer<std::int32_t> cell_, edge_, first_range_;
  Buffer<std::uint8_t> rises_;
  Buffer<OnRange> range_;
  Pieces view_;
};

template <class T>
class BuildStore {
 public:
  BuildStore(const NetworkShape& shape, std::int64_t breakpoints)
      : BuildStore(shape.width, shape.hidden_layers == 2, breakpoints) {}
  const BuildScratch<T>& view() const { return view_; }

 private:
  BuildStore(std::int64_t width, bool two, std::int64_t breakpoints)
      : BuildStore(width, two ? width : 0, two ? w2t_stride(width) : 0, two ? breakpoints + kVectorSlack : 0) {}
  BuildStore(std::int64_t width, std::int64_t units, std::int64_t stride, std::int64_t crossings)
      : hinge_(width), fall_sum_((units + 1) * 2 * kWalkUnits), line_sum_((units + 1) * 2 * kRowUnits),
        w3_(padded_units(units)), side_(width), w2t_(stride * stride), zeros_(units), pass_(units),
        crossing_(crossings), number_(width + 1 + 3 * units + 2 * (units + 2)), crossing_order_(crossings),
        positive_(padded_units(units)) {
    std::int32_t* number = number_.data();
    const auto take = [&number](std::int64_t count) { return std::exchange(number, number + count); };
    view_.hinge = hinge_.data();
    view_.side = side_.data();
    view_.on = take(width + 1);
    view_.falling = take(units);
    view_.w2t = w2t_.data();
    view_.zeros = zeros_.data();
    view_.pass = pass_.data();
    view_.pass_end = take(units);
    view_.fall_sum = fall_sum_.data();
    view_.line_sum = line_sum_.data();
    view_.w3 = w3_.data();
    view_.crossing_capacity = crossings;
    view_.crossing = crossing_.data();
    view_.crossing_order = crossing_order_.data();
    view_.crossing_first = take(units + 2);
    view_.crossing_next = take(units + 2);
    view_.last_range = take(units);
    view_.positive = positive_.data();
  }

  Buffer<double> hinge_, fall_sum_, line_sum_, w3_;
  Buffer<piecewise::Side> side_;
  Buffer<T> w2t_, zeros_;
  Buffer<HingePass<T>> pass_;
  Buffer<ZeroCrossing> crossing_;
  Buffer<std::int32_t> number_, crossing_order_;
  Buffer<std::uint8_t> positive_;
  BuildScratch<T> view_;
};

// What points look up in a slot table.
class LineStore {
 public:
  explicit LineStore(std::int64_t places) : line_(2 * (first_place(kMostCells) + places)), split_(kMostCells) {}
  double* line() { return line_.data(); }
  std::uint8_t* split() { return split_.data(); }

 private:
  Buffer<double> line_;
  Buffer<std::uint8_t> split_;
};

// What they leave there: threads that look up the same lines have a store each.
class SumStore {
 public:
  explicit SumStore(std::int64_t places)
      : moment_(2 * (first_place(kMostCells) + places)), hit_(first_place(kMostCells) + places) {}
  double* moment() { return moment_.data(); }
  std::uint8_t* hit() { return hit_.data(); }

 private:
  Buffer<double> moment_;
  Buffer<std::uint8_t> hit_;
};

inline SlotTable slot_table(std::int64_t cells, LineStore& lines, SumStore& sums) {
  return {cells, lines.line(), sums.moment(), sums.hit(), lines.split()};
}

}  // namespace pn::cpu
