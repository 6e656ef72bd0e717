// Memory of the piecewise-linear kernels, taken once: the arrays behind the structures of levels/piecewise_linear.hpp.
#pragma once

#include <cstdint>
#include <utility>

#include "core/network.hpp"
#include "cpu/buffer.hpp"
#include "cpu/levels/piecewise_linear.hpp"

namespace pn::cpu {

constexpr std::int64_t kBlockPoints = 256;  // points that go through look-up and moments together: they stay in L1
constexpr std::int64_t kVectorSlack = 16;   // elements that a level may write beyond the end

class PieceStore {
 public:
  PieceStore(std::int64_t width, std::int32_t hidden_layers, std::int64_t breakpoints, std::int64_t ranges)
      : breakpoint_(breakpoints + kVectorSlack), cell_(breakpoints + kVectorSlack), edge_(width),
        first_range_(hidden_layers == 2 ? width : 0), rises_(width), range_(ranges) {
    view_ = {breakpoints,
             ranges,
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
  // One hinge for each unit of layer 1, a zero for each unit of layer 2 in each interval between hinges.
  static std::int64_t most_breakpoints(const NetworkShape& shape) {
    return shape.width + (shape.hidden_layers == 2 ? shape.width * (shape.width + 1) : 0);
  }
  static PieceStore for_any(const NetworkShape& shape) {
    return {shape.width, shape.hidden_layers, most_breakpoints(shape), most_breakpoints(shape)};
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
  explicit BuildStore(const NetworkShape& shape) : BuildStore(shape.width, shape.hidden_layers == 2) {}
  const BuildScratch<T>& view() const { return view_; }

 private:
  BuildStore(std::int64_t width, bool two) : BuildStore(width, two ? width : 0, two ? w2t_stride(width) : 0) {}
  BuildStore(std::int64_t width, std::int64_t units, std::int64_t stride)
      : hinge_(width), fall_sum_((units + 1) * 2 * kWalkUnits), line_sum_((units + 1) * 2 * kRowUnits),
        w3_(padded_units(units)), side_(width), w2t_(stride * stride), zeros_(units), pass_(units),
        crossing_(units * (units + 1)), number_(width + 1 + 3 * units + 2 * (units + 2)),
        crossing_order_(units * (units + 1)), positive_(padded_units(units)) {
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

class SlotStore {
 public:
  explicit SlotStore(std::int64_t places)
      : line_(2 * (first_place(kMostCells) + places)), moment_(line_.size()), hit_(first_place(kMostCells) + places),
        split_(kMostCells) {}
  SlotTable view(std::int64_t cells) { return {cells, line_.data(), moment_.data(), hit_.data(), split_.data()}; }

 private:
  Buffer<double> line_, moment_;
  Buffer<std::uint8_t> hit_, split_;
};

inline std::int64_t places_capacity(std::int64_t breakpoints) { return 2 * breakpoints + 1; }

}  // namespace pn::cpu
