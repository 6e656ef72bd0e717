// Builds the pieces of one block: a walk over the hinges of layer 1, lanes are units of layer 2 (kernels.md, section 2,
// step 1).
#pragma once

#include "cpu/levels/piecewise_gather.inl"
#include "cpu/levels/piecewise_linear.hpp"
#include "cpu/levels/widening.inl"

namespace pn::cpu {
namespace {

// n elements of p, and zeros.
template <class T>
inline __attribute__((always_inline)) Vec<T> load_first(const T* p, std::int64_t n) {
  return n >= kLanes<T> ? load(p) : load_some(p, n);
}

template <class T>
inline bool all_zero(Vec<T> v) {
  T sum = T(0);
  for (int i = 0; i < kLanes<T>; ++i) sum += v[i] == T(0) ? T(0) : T(1);
  return sum == T(0);
}

// Whether all of p: (n,) are finite: 0 times a number that is not is NaN.
template <class T>
inline bool all_finite(const T* p, std::int64_t n) {
  constexpr int many = 4;
  Vec<T> sum[many] = {};
  std::int64_t i = 0;
  for (; i + many * kLanes<T> <= n; i += many * kLanes<T>) {
    for (int v = 0; v < many; ++v) sum[v] += load(p + i + v * kLanes<T>) * T(0);
  }
  for (; i < n; i += kLanes<T>) sum[0] += load_first(p + i, n - i) * T(0);
  return all_zero<T>((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// Vectors of units that walk together: what they need fits in the registers.
#if PN_VECTOR_BYTES == 64
constexpr int kMostVectors = 4;
#else
constexpr int kMostVectors = 2;
#endif
static_assert(kMostVectors * kDoubles <= kWalkUnits);

template <class T>
class PieceBuilder {
 public:
  PieceBuilder(const BlockWeights<T>& block, const piecewise::Range& range, const BuildScratch<T>& scratch,
               Pieces& pieces)
      : block_(block), range_(range), s_(scratch), out_(pieces), width_(block.width),
        padded_(padded_units(block.width)), stride_(w2t_stride(block.width)) {}

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
    const bool vectors =
        all_finite(block_.w1, width_) && all_finite(block_.b1, width_) && all_finite(block_.w3, width_);
    return vectors &&
           (block_.hidden_layers == 1 || (all_finite(block_.w2, width_ * width_) && all_finite(block_.b2, width_)));
  }

  // W2 transposed: column j becomes a row of units of layer 2, with zeros where there is no unit.
  void transpose_w2() {
    std::int64_t k = 0;
    for (; k + kLanes<T> <= width_; k += kLanes<T>) {
      // A few pointers and strides, which the processor adds, instead of a pointer to each row.
      const T* base[kLanes<T> / kQuarter<T>];
      for (int i = 0; i < kLanes<T> / kQuarter<T>; ++i) base[i] = block_.w2 + (k + i * kQuarter<T>)*width_;
      const auto row = [&](int r)
                           __attribute__((always_inline)) { return base[r / kQuarter<T>] + r % kQuarter<T> * width_; };
      turn_over<T>(row, width_, s_.w2t + k, stride_);
    }
    if (k == width_) return;
    const auto row = [&](int r) __attribute__((always_inline)) {
      return k + r < width_ ? block_.w2 + (k + r) * width_ : s_.zeros;
    };
    turn_over<T>(row, width_, s_.w2t + k, stride_);
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
      s_.on[on_] = static_cast<std::int32_t>(j);
      on_ += h.side == piecewise::Side::on;
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

  // Hinges at one place are passed together: what falls there first, then what rises.
  void prepare_passes() {
    std::int32_t falling = 0;
    for (std::int64_t i = hinges_ - 1; i >= 0; --i) {
      const std::int32_t j = out_.order[i];
      const bool rises = out_.rises[j] != 0;
      s_.pass[i] = {s_.hinge[j], rises ? w1(j) : 0.0, rises ? b1(j) : 0.0, s_.w2t + j * stride_, falling};
      if (!rises) s_.falling[falling++] = j;
    }
    falling_ = falling;
    passes_ = 0;
    for (std::int64_t first = 0, end; first < hinges_; first = end) {
      end = group_end(first);
      // The row of the falling sums right of the whole group.
      s_.pass[first].falling_after = s_.pass[end - 1].falling_after;
      s_.pass_end[passes_++] = static_cast<std::int32_t>(end);
    }
    for (std::int64_t i = 0; i < (passes_ + 1) * 2 * kDoubles; ++i) s_.line_sum[i] = 0.0;
    for (std::int64_t i = 0; i <= passes_ + 1; ++i) s_.crossing_first[i] = 0;
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

  // The walk of kCount vectors of units of layer 2, the first of them k, over all intervals between hinges. Slopes and
  // intercepts of their preactivations stay in registers.
  template <int kCount>
  void walk_units(std::int64_t k) {
    sum_falling<kCount>(k);
    Vec<double> rise_slope[kCount], rise_intercept[kCount], fall_slope[kCount], fall_intercept[kCount], z[kCount];
    start_sums<kCount>(k, rise_slope, rise_intercept);
    for (int v = 0; v < kCount; ++v) {
      fall_slope[v] = load(fall_row(falling_) + v * kDoubles);
      fall_intercept[v] = load(fall_row(falling_) + (kCount + v) * kDoubles);
      z[v] = (rise_slope[v] + fall_slope[v]) * range_.low + (rise_intercept[v] + fall_intercept[v]);
      start_ranges(k + v * kDoubles, positive_lanes(z[v]));
    }
    double left = range_.low;
    for (std::int64_t pass = 0, first = 0; pass <= passes_; ++pass) {
      const bool last = pass == passes_;
      const double right = last ? range_.high : s_.pass[first].at;
      const double* after = fall_row(last ? 0 : s_.pass[first].falling_after);
      Vec<double> slope_sum{}, intercept_sum{};
      for (int v = 0; v < kCount; ++v) {
        const Vec<double> slope = rise_slope[v] + fall_slope[v], intercept = rise_intercept[v] + fall_intercept[v];
        fall_slope[v] = load(after + v * kDoubles);
        fall_intercept[v] = load(after + (kCount + v) * kDoubles);
        // At `right` its own units count for nothing, so the preactivation there is without them: exactly b2 where no
        // unit is active.
        const Vec<double> z_right = (rise_slope[v] + fall_slope[v]) * right + (rise_intercept[v] + fall_intercept[v]);
        const Vec<double> weight = z[v] > 0.0 ? load(s_.w3 + k + v * kDoubles) : Vec<double>{};
        slope_sum += weight * slope;
        intercept_sum += weight * intercept;
        const unsigned changes = positive_lanes(z[v]) ^ positive_lanes(z_right);
        if (__builtin_expect(changes != 0, 0)) {
          add_crossings(pass, k + v * kDoubles, changes, {slope, intercept, z[v], z_right}, {left, right});
        }
        z[v] = z_right;
      }
      double* sum = s_.line_sum + pass * 2 * kDoubles;
      store(sum, load(sum) + slope_sum);
      store(sum + kDoubles, load(sum + kDoubles) + intercept_sum);
      if (last) break;
      left = right;
      for (const std::int64_t end = s_.pass_end[pass]; first < end; ++first) {
        const HingePass<T>& p = s_.pass[first];
        for (int v = 0; v < kCount; ++v) {
          const Vec<double> column = widen(p.column + k + v * kDoubles);
          rise_slope[v] += column * p.w;
          rise_intercept[v] += column * p.b;
        }
      }
    }
    for (int v = 0; v < kCount; ++v) end_positive(k + v * kDoubles, positive_lanes(z[v]));
  }

  // Row r of the falling sums: of the r rightmost units that fall.
  double* fall_row(std::int64_t row) const { return s_.fall_sum + row * 2 * kMostVectors * kDoubles; }

  template <int kCount>
  void sum_falling(std::int64_t k) {
    Vec<double> slope[kCount] = {}, intercept[kCount] = {};
    for (std::int64_t row = 0;; ++row) {
      for (int v = 0; v < kCount; ++v) {
        store(fall_row(row) + v * kDoubles, slope[v]);
        store(fall_row(row) + (kCount + v) * kDoubles, intercept[v]);
      }
      if (row == falling_) return;
      add_unit<kCount>(s_.falling[row], k, slope, intercept);
    }
  }

  template <int kCount>
  void start_sums(std::int64_t k, Vec<double>* slope, Vec<double>* intercept) const {
    for (int v = 0; v < kCount; ++v) {
      slope[v] = Vec<double>{};
      intercept[v] = widen_up_to(block_.b2 + k + v * kDoubles, width_ - k - v * kDoubles);
    }
    for (std::int64_t i = 0; i < on_; ++i) add_unit<kCount>(s_.on[i], k, slope, intercept);
  }

  template <int kCount>
  void add_unit(std::int64_t j, std::int64_t k, Vec<double>* slope, Vec<double>* intercept) const {
    const double w = w1(j), b = b1(j);
    for (int v = 0; v < kCount; ++v) {
      const Vec<double> column = widen(s_.w2t + j * stride_ + k + v * kDoubles);
      slope[v] += column * w;
      intercept[v] += column * b;
    }
  }

  void start_ranges(std::int64_t k, unsigned positive) {
    for (int lane = 0; lane < kDoubles && k + lane < width_; ++lane) {
      out_.first_range[k + lane] = s_.last_range[k + lane] = -1;
      if ((positive >> lane & 1u) != 0) fits_ = open_range(k + lane, 0) && fits_;
    }
  }
  void end_positive(std::int64_t k, unsigned positive) {
    for (int lane = 0; lane < kDoubles; ++lane) s_.positive[k + lane] = positive >> lane & 1u;
  }

  struct Lines {
    Vec<double> slope, intercept, z_left, z_right;
  };
  struct Ends {
    double left, right;
  };

  __attribute__((noinline)) void add_crossings(std::int64_t pass, std::int64_t k, unsigned changes, const Lines& lines,
                                               Ends ends) {
    if (crossings_ + kDoubles > s_.crossing_capacity) {
      fits_ = false;
      return;
    }
    for (; changes != 0; changes &= changes - 1) {
      const int lane = __builtin_ctz(changes);
      const double slope = lines.slope[lane], intercept = lines.intercept[lane];
      double at = piecewise::zero_between(slope, intercept, ends.left, ends.right);
      if (lines.z_left[lane] == 0.0) at = ends.left;
      if (lines.z_right[lane] == 0.0) at = ends.right;
      const double w3 = s_.w3[k + lane];
      s_.crossing[crossings_++] = {at,
                                   w3 * slope,
                                   w3 * intercept,
                                   static_cast<std::int32_t>(k + lane),
                                   static_cast<std::int32_t>(pass),
                                   lines.z_right[lane] > 0.0};
      ++s_.crossing_first[pass + 1];
    }
  }

  // By (interval, place, unit): into the stretch of each interval, by insertion there, since few fall into one.
  void sort_crossings() {
    for (std::int64_t i = 0; i <= passes_; ++i) s_.crossing_first[i + 1] += s_.crossing_first[i];
    for (std::int64_t i = 0; i <= passes_; ++i) s_.crossing_next[i] = s_.crossing_first[i];
    for (std::int64_t c = 0; c < crossings_; ++c) {
      const ZeroCrossing& crossing = s_.crossing[c];
      std::int32_t i = s_.crossing_next[crossing.pass]++;
      for (; i > s_.crossing_first[crossing.pass] && s_.crossing[s_.crossing_order[i - 1]].at > crossing.at; --i) {
        s_.crossing_order[i] = s_.crossing_order[i - 1];
      }
      s_.crossing_order[i] = static_cast<std::int32_t>(c);
    }
  }

  bool emit_interval(std::int64_t pass, double left) {
    const double* sum = s_.line_sum + pass * 2 * kDoubles;
    double slope = lane_sum<double>(load(sum)), intercept = lane_sum<double>(load(sum + kDoubles));
    set_line(slope, intercept);
    for (std::int32_t i = s_.crossing_first[pass]; i < s_.crossing_first[pass + 1]; ++i) {
      const ZeroCrossing& c = s_.crossing[s_.crossing_order[i]];
      const bool from_start = out_.count == 0 && c.at == left;  // no breakpoint at the end of the range
      const std::int64_t q = from_start ? -1 : breakpoint_at(c.at);
      if (q < 0 && !from_start) return false;
      if (c.rises) {
        if (!open_range(c.unit, 2 * q + 2)) return false;
      } else {
        close_range(c.unit, 2 * q + 1);
      }
      slope += c.rises ? c.slope : -c.slope;
      intercept += c.rises ? c.intercept : -c.intercept;
      set_line(slope, intercept);
    }
    return true;
  }

  template <int kCount>
  void walk_all(std::int64_t k) {
    for (; padded_ - k >= kCount * kDoubles; k += kCount * kDoubles) walk_units<kCount>(k);
    if constexpr (kCount > 1) {
      if (k < padded_) walk_all<kCount - 1>(k);
    }
  }

  bool walk_two_layers() {
    transpose_w2();
    prepare_passes();
    for (std::int64_t k = 0; k < width_; ++k) s_.w3[k] = static_cast<double>(block_.w3[k]);
    walk_all<kMostVectors>(0);
    if (!fits_) return false;
    sort_crossings();
    double left = range_.low;
    for (std::int64_t pass = 0, first = 0; pass < passes_; ++pass) {
      if (!emit_interval(pass, left)) return false;
      left = s_.pass[first].at;
      const std::int64_t q = breakpoint_at(left);
      if (q < 0) return false;
      set_edges(first, s_.pass_end[pass], q);
      first = s_.pass_end[pass];
    }
    if (!emit_interval(passes_, left)) return false;
    for (std::int64_t k = 0; k < width_; ++k) {
      if (s_.positive[k] != 0) close_range(k, places(out_));
    }
    return true;
  }

  const BlockWeights<T>& block_;
  const piecewise::Range& range_;
  const BuildScratch<T>& s_;
  Pieces& out_;
  const std::int64_t width_, padded_, stride_;
  std::int64_t hinges_ = 0;  // units with a hinge in the range
  std::int64_t passes_ = 0;  // distinct hinges
  std::int64_t falling_ = 0, on_ = 0;
  std::int64_t crossings_ = 0;
  bool fits_ = true;
};

template <class T>
bool build_pieces(const BlockWeights<T>& block, const piecewise::Range& range, const BuildScratch<T>& scratch,
                  Pieces& pieces) {
  return PieceBuilder<T>(block, range, scratch, pieces).run();
}

}  // namespace
}  // namespace pn::cpu
