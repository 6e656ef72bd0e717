// Builds the pieces of one block: a walk over the hinges of layer 1, lanes are units of layer 2 (kernels.md, section 2,
// step 1).
#pragma once

#include "cpu/levels/piecewise_linear.hpp"
#include "cpu/levels/widening.inl"

namespace pn::cpu {
namespace {

// Whether all of p: (n,) are finite.
template <class T>
inline bool all_finite(const T* p, std::int64_t n) {
  T sum[kLanes<T>] = {};
  const std::int64_t whole = n / kLanes<T> * kLanes<T>;
  for (std::int64_t i = 0; i < whole; i += kLanes<T>) {
    for (int lane = 0; lane < kLanes<T>; ++lane) sum[lane] += p[i + lane] * T(0);
  }
  for (std::int64_t i = whole; i < n; ++i) sum[0] += p[i] * T(0);
  T all = T(0);
  for (int lane = 0; lane < kLanes<T>; ++lane) all += sum[lane];
  return all == T(0);
}

template <class T>
class PieceBuilder {
 public:
  PieceBuilder(const BlockWeights<T>& block, const piecewise::Range& range, const BuildScratch<T>& scratch,
               Pieces& pieces)
      : block_(block), range_(range), s_(scratch), out_(pieces), width_(block.width),
        padded_(padded_units(block.width)) {}

  bool run() {
    out_.count = out_.ranges = 0;
    out_.finite = finite();
    if (!out_.finite) return true;
    sort_hinges();
    const bool fits = block_.hidden_layers == 2 ? walk_two_layers() : walk_one_layer();
    close_edges();
    return fits;
  }

 private:
  bool finite() const {
    bool all = all_finite(block_.w1, width_) && all_finite(block_.b1, width_) && all_finite(block_.w3, width_);
    if (block_.hidden_layers == 2) all = all && all_finite(block_.w2, width_ * width_) && all_finite(block_.b2, width_);
    return all;
  }

  double w1(std::int64_t j) const { return static_cast<double>(block_.w1[j]); }
  double b1(std::int64_t j) const { return static_cast<double>(block_.b1[j]); }

  // Units with a hinge in the range, by (hinge, unit), come first. Insertion from the order of the last build:
  // parameters move little in a step.
  void sort_hinges() {
    constexpr double beyond = __builtin_huge_val();
    for (std::int64_t j = 0; j < width_; ++j) {
      const piecewise::Hinge h = piecewise::hinge(w1(j), b1(j), range_);
      const bool inside = h.side == piecewise::Side::falls || h.side == piecewise::Side::rises;
      s_.side[j] = h.side;
      s_.hinge[j] = inside ? h.at : beyond;
      out_.rises[j] = h.side == piecewise::Side::rises;
    }
    for (std::int64_t i = 1; i < width_; ++i) {
      const std::int32_t unit = out_.order[i];
      const double at = s_.hinge[unit];
      std::int64_t place = i;
      for (; place > 0; --place) {
        const std::int32_t other = out_.order[place - 1];
        if (s_.hinge[other] < at || (s_.hinge[other] == at && other < unit)) break;
        out_.order[place] = other;
      }
      out_.order[place] = unit;
    }
    for (hinges_ = 0; hinges_ < width_ && s_.hinge[out_.order[hinges_]] < beyond;) ++hinges_;
  }

  // Edges at the ends of the line: of units that are always on or off.
  void close_edges() {
    for (std::int64_t j = 0; j < width_; ++j) {
      if (s_.side[j] == piecewise::Side::off) out_.edge[j] = 0;
      if (s_.side[j] == piecewise::Side::on) out_.edge[j] = static_cast<std::int32_t>(places(out_));
    }
  }

  // The end of the group of hinges at one place that begins with number `first` in the order.
  std::int64_t group_end(std::int64_t first) const {
    std::int64_t end = first + 1;
    while (end < hinges_ && s_.hinge[out_.order[end]] == s_.hinge[out_.order[first]]) ++end;
    return end;
  }

  void set_edges(std::int64_t first, std::int64_t end, std::int64_t breakpoint) {
    for (std::int64_t i = first; i < end; ++i) {
      const std::int32_t unit = out_.order[i];
      out_.edge[unit] = static_cast<std::int32_t>(2 * breakpoint + (out_.rises[unit] ? 2 : 1));
    }
  }

  // The number of the breakpoint at `at`, which is not left of the last one; -1: no room.
  std::int64_t breakpoint_at(double at) {
    if (out_.count > 0 && out_.breakpoint[out_.count - 1] == at) return out_.count - 1;
    if (out_.count == out_.breakpoint_capacity) return -1;
    out_.breakpoint[out_.count] = at;
    return out_.count++;
  }

  // Of the piece right of the last breakpoint, and of that breakpoint: the function is continuous.
  void set_line(double slope, double intercept) {
    double* line = out_.line + 4 * out_.count;
    line[0] = slope;
    line[1] = intercept;
    if (out_.count == 0) return;
    line[-2] = slope;
    line[-1] = intercept;
  }

  bool walk_one_layer() {
    const auto gain = [&](std::int64_t j, double sign, double& slope, double& intercept) {
      slope += sign * static_cast<double>(block_.w3[j]) * w1(j);
      intercept += sign * static_cast<double>(block_.w3[j]) * b1(j);
    };
    double slope = 0.0, intercept = 0.0;
    for (std::int64_t j = 0; j < width_; ++j) {
      if (s_.side[j] == piecewise::Side::on || s_.side[j] == piecewise::Side::falls) gain(j, 1.0, slope, intercept);
    }
    set_line(slope, intercept);
    for (std::int64_t first = 0, end; first < hinges_; first = end) {
      end = group_end(first);
      const std::int64_t q = breakpoint_at(s_.hinge[out_.order[first]]);
      if (q < 0) return false;
      set_edges(first, end, q);
      for (std::int64_t i = first; i < end; ++i) {
        gain(out_.order[i], out_.rises[out_.order[i]] ? 1.0 : -1.0, slope, intercept);
      }
      set_line(slope, intercept);
    }
    return true;
  }

  // W2 transposed: column j becomes a row of padded units of layer 2.
  void transpose_w2() {
    for (std::int64_t j = 0; j < width_; ++j) {
      for (std::int64_t k = 0; k < width_; ++k) s_.w2t[j * padded_ + k] = block_.w2[k * width_ + j];
    }
  }

  // slope, intercept: (padded,) += column j of W2 times (w1_j, b1_j).
  void add_unit(std::int64_t j, const double* from_slope, const double* from_intercept, double* slope,
                double* intercept) {
    const double w = w1(j), b = b1(j);
    for (std::int64_t k = 0; k < padded_; k += kDoubles) {
      const Vec<double> column = widen(s_.w2t + j * padded_ + k);
      store(slope + k, load(from_slope + k) + column * w);
      store(intercept + k, load(from_intercept + k) + column * b);
    }
  }

  const double* fall_slope(std::int64_t row) const { return s_.fall_slope + row * padded_; }
  const double* fall_intercept(std::int64_t row) const { return s_.fall_intercept + row * padded_; }

  void start_sums() {
    for (std::int64_t k = 0; k < padded_; ++k) {
      s_.rise_slope[k] = s_.fall_slope[k] = s_.fall_intercept[k] = 0.0;
      s_.rise_intercept[k] = k < width_ ? static_cast<double>(block_.b2[k]) : 0.0;
      s_.w3[k] = k < width_ ? static_cast<double>(block_.w3[k]) : 0.0;
    }
    for (std::int64_t j = 0; j < width_; ++j) {
      if (s_.side[j] == piecewise::Side::on) {
        add_unit(j, s_.rise_slope, s_.rise_intercept, s_.rise_slope, s_.rise_intercept);
      }
    }
    falling_ = 0;
    for (std::int64_t i = hinges_ - 1; i >= 0; --i) {
      const std::int32_t j = out_.order[i];
      if (out_.rises[j]) continue;
      double *slope = s_.fall_slope + (falling_ + 1) * padded_,
             *intercept = s_.fall_intercept + (falling_ + 1) * padded_;
      add_unit(j, fall_slope(falling_), fall_intercept(falling_), slope, intercept);
      ++falling_;
    }
  }

  bool open_range(std::int64_t unit, std::int64_t place) {
    if (out_.ranges == out_.range_capacity) return false;
    const auto range = static_cast<std::int32_t>(out_.ranges++);
    if (out_.first_range[unit] < 0) {
      out_.first_range[unit] = range;
    } else {
      out_.range[s_.last_range[unit]].next = range;
    }
    s_.last_range[unit] = range;
    out_.range[range] = {static_cast<std::int32_t>(place), -1, -1};
    return true;
  }
  void close_range(std::int64_t unit, std::int64_t place) {
    OnRange& range = out_.range[s_.last_range[unit]];
    range.end = place > range.first ? static_cast<std::int32_t>(place) : range.first;
  }

  // Preactivations at the left end of the range; a unit that is positive there begins its first range.
  bool start_walk() {
    bool fits = true;
    for (std::int64_t k = 0; k < padded_; ++k) {
      s_.z[k] = (s_.rise_slope[k] + fall_slope(falling_)[k]) * range_.low +
                (s_.rise_intercept[k] + fall_intercept(falling_)[k]);
      if (k >= width_) continue;
      out_.first_range[k] = s_.last_range[k] = -1;
      if (s_.z[k] > 0.0) fits = open_range(k, 0) && fits;
    }
    return fits;
  }

  // One interval between hinges, from left to right; falling_ units that fall are to the right of `left`, falling_after
  // right of `right`. At `right` itself its own units count for nothing, so the preactivation there is without them: it
  // is exactly b2 where no unit is active.
  void scan_interval(double left, double right, std::int64_t falling_after) {
    Vec<double> slope_sum{}, intercept_sum{};
    crossings_ = 0;
    const double *slope_here = fall_slope(falling_), *intercept_here = fall_intercept(falling_);
    const double *slope_after = fall_slope(falling_after), *intercept_after = fall_intercept(falling_after);
    for (std::int64_t k = 0; k < padded_; k += kDoubles) {
      const Vec<double> rise_slope = load(s_.rise_slope + k), rise_intercept = load(s_.rise_intercept + k);
      const Vec<double> slope = rise_slope + load(slope_here + k),
                        intercept = rise_intercept + load(intercept_here + k);
      const Vec<double> z_left = load(s_.z + k), w3 = load(s_.w3 + k);
      const Vec<double> z_right =
          (rise_slope + load(slope_after + k)) * right + (rise_intercept + load(intercept_after + k));
      const Vec<double> weight = z_left > 0.0 ? w3 : Vec<double>{};
      slope_sum += weight * slope;
      intercept_sum += weight * intercept;
      store(s_.z + k, z_right);
      unsigned changes = positive_lanes(z_left) ^ positive_lanes(z_right);
      for (; changes != 0; changes &= changes - 1) {
        const int lane = __builtin_ctz(changes);
        add_crossing(k + lane, {slope[lane], intercept[lane]}, {z_left[lane], z_right[lane]}, {left, right});
      }
    }
    slope_ = lane_sum<double>(slope_sum);
    intercept_ = lane_sum<double>(intercept_sum);
  }

  struct Line {
    double slope, intercept;
  };
  struct Ends {
    double left, right;
  };

  // Kept in order of (place, unit); there are few.
  void add_crossing(std::int64_t unit, Line z, Ends value, Ends interval) {
    double at = piecewise::zero_between(z.slope, z.intercept, interval.left, interval.right);
    if (value.left == 0.0) at = interval.left;
    if (value.right == 0.0) at = interval.right;
    std::int64_t i = crossings_++;
    for (; i > 0 && s_.crossing[i - 1].at > at; --i) s_.crossing[i] = s_.crossing[i - 1];
    const double w3 = s_.w3[unit];
    s_.crossing[i] = {at, w3 * z.slope, w3 * z.intercept, static_cast<std::int32_t>(unit), value.right > 0.0};
  }

  bool emit_interval(double left) {
    set_line(slope_, intercept_);
    for (std::int64_t i = 0; i < crossings_; ++i) {
      const ZeroCrossing& c = s_.crossing[i];
      const bool from_start = out_.count == 0 && c.at == left;
      const std::int64_t q = from_start ? -1 : breakpoint_at(c.at);
      if (q < 0 && !from_start) return false;
      if (c.rises) {
        if (!open_range(c.unit, 2 * q + 2)) return false;
      } else {
        close_range(c.unit, 2 * q + 1);
      }
      slope_ += c.rises ? c.slope : -c.slope;
      intercept_ += c.rises ? c.intercept : -c.intercept;
      set_line(slope_, intercept_);
    }
    return true;
  }

  bool walk_two_layers() {
    transpose_w2();
    start_sums();
    if (!start_walk()) return false;
    double left = range_.low;
    for (std::int64_t first = 0, end; first < hinges_; first = end) {
      end = group_end(first);
      const double right = s_.hinge[out_.order[first]];
      std::int64_t falling_after = falling_;
      for (std::int64_t i = first; i < end; ++i) falling_after -= !out_.rises[out_.order[i]];
      scan_interval(left, right, falling_after);
      if (!emit_interval(left)) return false;
      const std::int64_t q = breakpoint_at(right);
      if (q < 0) return false;
      set_edges(first, end, q);
      for (std::int64_t i = first; i < end; ++i) {
        const std::int32_t j = out_.order[i];
        if (out_.rises[j]) add_unit(j, s_.rise_slope, s_.rise_intercept, s_.rise_slope, s_.rise_intercept);
      }
      falling_ = falling_after;
      left = right;
    }
    scan_interval(left, range_.high, falling_);
    if (!emit_interval(left)) return false;
    for (std::int64_t k = 0; k < width_; ++k) {
      if (s_.z[k] > 0.0) close_range(k, places(out_));
    }
    return true;
  }

  const BlockWeights<T>& block_;
  const piecewise::Range& range_;
  const BuildScratch<T>& s_;
  Pieces& out_;
  const std::int64_t width_, padded_;
  std::int64_t hinges_ = 0;     // units with a hinge in the range
  std::int64_t falling_ = 0;    // of these, units that fall to the right of where the walk is
  std::int64_t crossings_ = 0;  // zeros in the interval
  double slope_ = 0.0, intercept_ = 0.0;
};

template <class T>
bool build_pieces(const BlockWeights<T>& block, const piecewise::Range& range, const BuildScratch<T>& scratch,
                  Pieces& pieces) {
  return PieceBuilder<T>(block, range, scratch, pieces).run();
}

}  // namespace
}  // namespace pn::cpu
