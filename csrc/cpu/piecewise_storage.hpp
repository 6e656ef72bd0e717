// Memory of the piecewise-linear kernels, taken once: the arrays behind the structures of levels/piecewise_linear.hpp.
#pragma once

#include <cstdint>

#include "core/network.hpp"
#include "cpu/buffer.hpp"
#include "cpu/levels/piecewise_linear.hpp"

namespace pn::cpu {

constexpr std::int64_t kMostCells = 1024;   // of a grid
constexpr std::int64_t kBlockPoints = 512;  // points that go through look-up and moments together: they stay in L1
constexpr std::int64_t kVectorSlack = 16;   // elements that a level may write beyond the end

class PieceStore {
 public:
  PieceStore(std::int64_t width, std::int32_t hidden_layers, std::int64_t breakpoints, std::int64_t ranges)
      : breakpoint_(breakpoints), line_(2 * (2 * breakpoints + 1)), cell_(breakpoints + 1), edge_(width),
        first_range_(hidden_layers == 2 ? width : 0), rises_(width), range_(ranges) {
    view_ = {breakpoints,
             ranges,
             0,
             0,
             true,
             breakpoint_.data(),
             cell_.data(),
             line_.data(),
             edge_.data(),
             rises_.data(),
             first_range_.data(),
             range_.data(),
             nullptr};
  }
  // One hinge for each unit of layer 1, a zero for each unit of layer 2 in each interval between hinges.
  static PieceStore for_any(const NetworkShape& shape) {
    const std::int64_t width = shape.width, zeros = shape.hidden_layers == 2 ? width * (width + 1) : 0;
    return {width, shape.hidden_layers, width + zeros, width + zeros};
  }
  Pieces& view() { return view_; }

 private:
  Buffer<double> breakpoint_, line_;
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
  BuildStore(std::int64_t width, bool two) : BuildStore(width, two ? padded_units(width) : 0, two ? width : 0) {}
  BuildStore(std::int64_t width, std::int64_t padded, std::int64_t units)
      : hinge_(width), fall_slope_((units + 1) * padded), fall_intercept_((units + 1) * padded), rows_(4 * padded),
        side_(width), w2t_(padded * padded), crossing_(units), last_range_(units) {
    double* row = rows_.data();
    view_ = {hinge_.data(),
             side_.data(),
             w2t_.data(),
             row,
             row + padded,
             fall_slope_.data(),
             fall_intercept_.data(),
             row + 2 * padded,
             row + 3 * padded,
             crossing_.data(),
             last_range_.data()};
  }

  Buffer<double> hinge_, fall_slope_, fall_intercept_, rows_;
  Buffer<piecewise::Side> side_;
  Buffer<T> w2t_;
  Buffer<ZeroCrossing> crossing_;
  Buffer<std::int32_t> last_range_;
  BuildScratch<T> view_;
};

class CellStore {
 public:
  CellStore()
      : line_(2 * kMostCells + kVectorSlack), moment_(2 * kMostCells), split_(kMostCells), hit_(kMostCells),
        breakpoint_(kMostCells) {}
  CellTable view(std::int64_t cells) {
    return {cells, line_.data(), moment_.data(), split_.data(), breakpoint_.data(), hit_.data()};
  }

 private:
  Buffer<double> line_, moment_;
  Buffer<std::uint8_t> split_, hit_;
  Buffer<std::int32_t> breakpoint_;
};

class PointStore {
 public:
  explicit PointStore(std::int64_t capacity)
      : pair_(2 * (capacity + kVectorSlack)), offset_(capacity + kVectorSlack), listed_(capacity + kVectorSlack),
        place_(capacity + kVectorSlack) {
    view_ = {0, 0, offset_.data(), pair_.data(), listed_.data(), place_.data()};
  }
  Points& view() { return view_; }

 private:
  Buffer<double> pair_;
  Buffer<std::uint32_t> offset_, listed_;
  Buffer<std::int32_t> place_;
  Points view_;
};

}  // namespace pn::cpu
