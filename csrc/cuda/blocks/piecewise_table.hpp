// The pieces of one block with one input and ReLU, built by a team (kernels.md, section 2, step 1; the terms are those
// of core/piecewise_linear.hpp).
#pragma once

#include <cstdint>

#include "core/piecewise_linear.hpp"
#include "cuda/blocks/arena.hpp"
#include "cuda/device/team.hpp"
#include "cuda/tensors.hpp"

namespace pn::cuda {

// Places [first, end) on which a unit of layer 2 is active.
struct PlaceRange {
  std::int32_t first, end;
};

// What the walk from left to right meets: the zero of a unit of layer 2, or the hinges of layer 1 at one place.
struct BreakEvent {
  double at;
  double slope, intercept;  // what the block's function gains at the zero; 0 at hinges
  std::int32_t unit;        // of layer 2; -1: hinges
  std::int32_t rises;       // the unit is active on the right
  std::int32_t interval;    // between hinges, on the right of the event
  std::int32_t breakpoint;  // the number of the breakpoint here; -1: at the end of the range, where none is needed
};

// Arrays whose length depends on how many events there are. Small ones come from a place that is always fast.
struct EventArrays {
  BreakEvent* event;     // (capacity,)
  std::int32_t* number;  // (capacity,) scratch
  double* breakpoint;    // (capacity,) ascending
  Pair* line;            // (2 capacity + 1,) slope and intercept at each place
  PlaceRange* range;     // (capacity + width,)
};

// The table of one block. What points and gradients need of it; the rest is the builder's scratch.
struct Table {
  std::int32_t* sizes;        // (kTableSizes,)
  std::int32_t* edge;         // (width,) a unit of layer 1 is active on places [0, edge), or
  std::int32_t* rises;        // (width,) where this is 1, on [edge, places)
  std::int32_t* first_range;  // (width + 1,) of a unit of layer 2
  std::int32_t* cell_first;   // (cells + 1,) breakpoints left of each cell of the grid
  EventArrays small, large;
  std::int32_t small_capacity;
};

enum TableSize : std::int32_t { kHinges, kIntervals, kEvents, kBreakpoints, kTableSizes };

PN_INLINE const EventArrays& arrays_of(const Table& t) {
  return t.sizes[kEvents] <= t.small_capacity ? t.small : t.large;
}
PN_INLINE std::int32_t places_of(const Table& t) { return 2 * t.sizes[kBreakpoints] + 1; }

struct TableScratch {
  double* hinge;            // (width,) place of each unit's hinge
  std::int32_t* side;       // (width,) piecewise::Side
  std::int32_t* sorted;     // (width,) units with a hinge in the range, by (hinge, unit)
  std::int32_t* group;      // (width,) of units by rank: hinges at one place are a group; scratch of its scan
  std::int32_t* group_of;   // (width,) of units by number
  std::int32_t* group_end;  // (width,) rank after the group's last one
  Pair* line_start;         // (width + 1,) the block's function at the left end of each interval
  std::int32_t* first;      // (width + 2,) zeros left of each interval
  std::uint8_t* sign;       // (width + 1, width) by interval and unit of layer 2: kPositiveLeft ...
  Pair* walk;               // (width + 1, width) slope and intercept of each preactivation in each interval
};

constexpr std::int32_t kSmallEvents = 128;  // trained networks have 40 to 60

PN_INLINE std::int32_t most_events(const BlockShape& b) {
  return b.width + (b.hidden_layers == 2 ? b.width * (b.width + 1) : 0);
}

PN_INLINE Table take_table(Arena& arena, const BlockShape& b, std::int32_t cells) {
  Table t;
  const std::int64_t most = most_events(b), few = most < kSmallEvents ? most : kSmallEvents;
  t.small_capacity = static_cast<std::int32_t>(few);
  t.sizes = arena.take<std::int32_t>(kTableSizes);
  t.edge = arena.take<std::int32_t>(b.width);
  t.rises = arena.take<std::int32_t>(b.width);
  t.first_range = arena.take<std::int32_t>(b.width + 1);
  t.cell_first = arena.take<std::int32_t>(cells + 1);
  t.small = {arena.take<BreakEvent>(few), arena.take<std::int32_t>(few), arena.take<double>(few),
             arena.take<Pair>(2 * few + 1), arena.take<PlaceRange>(few + b.width)};
  t.large = t.small;
  if (most == few) return t;
  t.large = {arena.take_slow<BreakEvent>(most), arena.take_slow<std::int32_t>(most), arena.take_slow<double>(most),
             arena.take_slow<Pair>(2 * most + 1), arena.take_slow<PlaceRange>(most + b.width)};
  return t;
}

PN_INLINE TableScratch take_table_scratch(Arena& arena, const BlockShape& b) {
  TableScratch s{};
  const std::int64_t width = b.width;
  s.hinge = arena.take<double>(width);
  s.side = arena.take<std::int32_t>(width);
  s.sorted = arena.take<std::int32_t>(width);
  s.group = arena.take<std::int32_t>(width);
  s.group_of = arena.take<std::int32_t>(width);
  s.group_end = arena.take<std::int32_t>(width);
  s.line_start = arena.take<Pair>(width + 1);
  s.first = arena.take<std::int32_t>(width + 2);
  if (b.hidden_layers == 1) return s;
  s.sign = arena.take<std::uint8_t>((width + 1) * width);
  s.walk = arena.take<Pair>((width + 1) * width);
  return s;
}

// Builds the table of a block. cells: of the grid, see find_place.
template <class Team, class T>
class TableBuilder {
 public:
  PN_TEAM TableBuilder(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                       const piecewise::Range& range, const Table& table, const TableScratch& scratch)
      : team_(team), p_(p), range_(range), t_(table), s_(scratch), width_(shape.width), two_(shape.hidden_layers == 2) {
  }

  // Begins and ends with a sync. False where a parameter is not finite; the table is of no use then.
  PN_TEAM bool run(std::int32_t cells) {
    if (!finite()) return false;
    sort_hinges();
    group_hinges();
    if (two_) {
      walk();
      sum_intervals();
    } else {
      sum_one_layer();
    }
    list_events();
    number_breakpoints();
    set_lines();
    set_edges();
    if (two_) set_ranges();
    fill_cells(cells);
    team_.sync();
    return true;
  }

 private:
  enum Sign : std::uint8_t { kPositiveLeft = 1, kPositiveRight = 2, kZeroLeft = 4, kZeroRight = 8 };

  PN_TEAM double w1(std::int32_t j) const { return static_cast<double>(p_.w1[j]); }
  PN_TEAM double b1(std::int32_t j) const { return static_cast<double>(p_.b1[j]); }
  PN_TEAM double w2(std::int32_t k, std::int32_t j) const {
    return static_cast<double>(p_.w2[static_cast<std::int64_t>(k) * width_ + j]);
  }
  PN_TEAM double w3(std::int32_t k) const { return static_cast<double>(p_.w3[k]); }
  PN_TEAM bool inside(std::int32_t j) const { return s_.side[j] >= static_cast<std::int32_t>(piecewise::Side::falls); }
  PN_TEAM std::int64_t at(std::int32_t interval, std::int32_t k) const {
    return static_cast<std::int64_t>(interval) * width_ + k;
  }
  PN_TEAM std::int32_t intervals() const { return t_.sizes[kIntervals]; }
  PN_TEAM double interval_end(std::int32_t i) const {
    return i + 1 < intervals() ? s_.hinge[s_.sorted[s_.group_end[i] - 1]] : range_.high;
  }
  PN_TEAM double interval_start(std::int32_t i) const { return i > 0 ? interval_end(i - 1) : range_.low; }

  PN_TEAM bool finite() const {
    const auto bad = [](T v) { return !(v - v == T(0)); };
    return !team_.any(two_ ? width_ * width_ : width_, [&](std::int32_t i) {
      const bool vectors = i < width_ && (bad(p_.w1[i]) || bad(p_.b1[i]) || bad(p_.w3[i]) || (two_ && bad(p_.b2[i])));
      return vectors || (two_ && bad(p_.w2[i]));
    });
  }

  // By (hinge, unit).
  PN_TEAM void sort_hinges() const {
    team_.one([&] { t_.sizes[kHinges] = 0; });
    team_.for_each(width_, [&](std::int32_t j) {
      const piecewise::Hinge h = piecewise::hinge(w1(j), b1(j), range_);
      s_.hinge[j] = h.at;
      s_.side[j] = static_cast<std::int32_t>(h.side);
      t_.rises[j] = h.side == piecewise::Side::rises;
    });
    team_.sync();
    team_.for_each(width_, [&](std::int32_t j) {
      if (!inside(j)) return;
      const double mine = s_.hinge[j];
      std::int32_t rank = 0;
      for (std::int32_t i = 0; i < width_; ++i) {
        rank += inside(i) && (s_.hinge[i] < mine || (s_.hinge[i] == mine && i < j));
      }
      s_.sorted[rank] = j;
      team_.add(&t_.sizes[kHinges], 1);
    });
    team_.sync();
  }

  PN_TEAM bool begins_group(std::int32_t rank) const {
    return rank == 0 || s_.hinge[s_.sorted[rank - 1]] != s_.hinge[s_.sorted[rank]];
  }

  PN_TEAM void group_hinges() const {
    const std::int32_t hinges = t_.sizes[kHinges];
    team_.for_each(hinges, [&](std::int32_t rank) { s_.group[rank] = begins_group(rank); });
    const std::int32_t groups = team_.exclusive_scan(s_.group, hinges);
    team_.for_each(hinges, [&](std::int32_t rank) {
      const std::int32_t group = s_.group[rank] - (begins_group(rank) ? 0 : 1);
      s_.group_of[s_.sorted[rank]] = group;
      if (rank + 1 == hinges || begins_group(rank + 1)) s_.group_end[group] = rank + 1;
    });
    team_.one([&] { t_.sizes[kIntervals] = groups + 1; });
    team_.sync();
  }

  // Each preactivation of layer 2 is a sum over the units that are on or rise, from the left, and over those that fall,
  // from the right, so that nothing is ever subtracted.
  PN_TEAM void walk() const {
    team_.for_each(width_, [&](std::int32_t k) {
      walk_left(k);
      walk_right(k);
    });
    team_.sync();
  }

  PN_TEAM void add_unit(std::int32_t k, std::int32_t j, Pair& sum) const {
    const double w = w2(k, j);
    sum.first += w * w1(j);
    sum.second += w * b1(j);
  }

  PN_TEAM void walk_left(std::int32_t k) const {
    Pair falling;
    for (std::int32_t i = intervals() - 1; i >= 0; --i) {
      s_.walk[at(i, k)] = falling;
      if (i == 0) return;
      for (std::int32_t rank = s_.group_end[i - 1]; rank-- > (i > 1 ? s_.group_end[i - 2] : 0);) {
        const std::int32_t j = s_.sorted[rank];
        if (t_.rises[j] == 0) add_unit(k, j, falling);
      }
    }
  }

  PN_TEAM void walk_right(std::int32_t k) const {
    Pair rising{0.0, static_cast<double>(p_.b2[k])};
    for (std::int32_t j = 0; j < width_; ++j) {
      if (s_.side[j] == static_cast<std::int32_t>(piecewise::Side::on)) add_unit(k, j, rising);
    }
    Pair falling = s_.walk[at(0, k)];
    double z = (rising.first + falling.first) * range_.low + (rising.second + falling.second);
    const std::int32_t last = intervals() - 1;
    for (std::int32_t i = 0; i <= last; ++i) {
      s_.walk[at(i, k)] = rising + falling;
      falling = i < last ? s_.walk[at(i + 1, k)] : Pair{};
      // At the end its own units count for nothing, so the preactivation there is without them: exactly b2 where no
      // unit is active.
      const double z_right = (rising.first + falling.first) * interval_end(i) + (rising.second + falling.second);
      s_.sign[at(i, k)] =
          static_cast<std::uint8_t>((z > 0.0 ? kPositiveLeft : 0) | (z_right > 0.0 ? kPositiveRight : 0) |
                                    (z == 0.0 ? kZeroLeft : 0) | (z_right == 0.0 ? kZeroRight : 0));
      z = z_right;
      if (i == last) return;
      for (std::int32_t rank = i > 0 ? s_.group_end[i - 1] : 0; rank < s_.group_end[i]; ++rank) {
        const std::int32_t j = s_.sorted[rank];
        if (t_.rises[j] != 0) add_unit(k, j, rising);
      }
    }
  }

  PN_TEAM bool crosses(std::int32_t interval, std::int32_t k) const {
    const std::uint8_t sign = s_.sign[at(interval, k)];
    return ((sign & kPositiveLeft) != 0) != ((sign & kPositiveRight) != 0);
  }

  PN_TEAM void sum_intervals() const {
    team_.row_sums(
        intervals(), width_,
        [&](std::int32_t i, std::int32_t k) {
          if ((s_.sign[at(i, k)] & kPositiveLeft) == 0) return Pair{};
          const Pair line = s_.walk[at(i, k)];
          return Pair{w3(k) * line.first, w3(k) * line.second};
        },
        [&](std::int32_t i, const Pair& sum) { s_.line_start[i] = sum; });
    team_.row_sums(
        intervals(), width_, [&](std::int32_t i, std::int32_t k) { return Pair{crosses(i, k) ? 1.0 : 0.0, 0.0}; },
        [&](std::int32_t i, const Pair& sum) { s_.first[i] = static_cast<std::int32_t>(sum.first); });
  }

  // f = sum_j w2_j relu(w1_j x + b1_j).
  PN_TEAM void sum_one_layer() const {
    team_.row_sums(
        intervals(), width_,
        [&](std::int32_t i, std::int32_t j) {
          const bool active = inside(j) ? (t_.rises[j] != 0 ? s_.group_of[j] < i : s_.group_of[j] >= i)
                                        : s_.side[j] == static_cast<std::int32_t>(piecewise::Side::on);
          return active ? Pair{w3(j) * w1(j), w3(j) * b1(j)} : Pair{};
        },
        [&](std::int32_t i, const Pair& sum) {
          s_.line_start[i] = sum;
          s_.first[i] = 0;
        });
  }

  // The zeros of each interval by (place, unit), and then the hinges at its end.
  PN_TEAM void list_events() const {
    const std::int32_t zeros = team_.exclusive_scan(s_.first, intervals());
    team_.one([&] {
      s_.first[intervals()] = zeros;
      t_.sizes[kEvents] = zeros + intervals() - 1;
    });
    team_.sync();
    BreakEvent* const event = arrays_of(t_).event;
    team_.for_each(intervals(), [&](std::int32_t i) {
      std::int32_t end = s_.first[i] + i;
      for (std::int32_t k = 0; s_.first[i + 1] > s_.first[i] && k < width_; ++k) {
        if (!crosses(i, k)) continue;
        const BreakEvent zero = zero_of(i, k);
        std::int32_t to = end++;
        for (; to > s_.first[i] + i && event[to - 1].at > zero.at; --to) event[to] = event[to - 1];
        event[to] = zero;
      }
      if (i + 1 < intervals()) event[end] = {interval_end(i), 0.0, 0.0, -1, 0, i + 1, -1};
    });
    team_.sync();
  }

  PN_TEAM BreakEvent zero_of(std::int32_t i, std::int32_t k) const {
    const Pair line = s_.walk[at(i, k)];
    const std::uint8_t sign = s_.sign[at(i, k)];
    const double left = interval_start(i), right = interval_end(i);
    double place = piecewise::zero_between(line.first, line.second, left, right);
    if ((sign & kZeroLeft) != 0) place = left;
    if ((sign & kZeroRight) != 0) place = right;
    const bool rises = (sign & kPositiveRight) != 0;
    const double gain = rises ? w3(k) : -w3(k);
    return {place, gain * line.first, gain * line.second, k, rises ? 1 : 0, i, -1};
  }

  // A zero at the very start of the range needs no breakpoint: all data are right of it.
  PN_TEAM bool begins_breakpoint(const BreakEvent* event, std::int32_t e) const {
    return event[e].at != range_.low && (e == 0 || event[e - 1].at != event[e].at);
  }

  PN_TEAM void number_breakpoints() const {
    const EventArrays& a = arrays_of(t_);
    const std::int32_t events = t_.sizes[kEvents];
    team_.for_each(events, [&](std::int32_t e) { a.number[e] = begins_breakpoint(a.event, e); });
    const std::int32_t count = team_.exclusive_scan(a.number, events);
    team_.for_each(events, [&](std::int32_t e) {
      const bool begins = begins_breakpoint(a.event, e);
      const std::int32_t q = a.number[e] - (begins ? 0 : 1);
      a.event[e].breakpoint = q;
      if (begins) a.breakpoint[q] = a.event[e].at;
    });
    team_.one([&] { t_.sizes[kBreakpoints] = count; });
    team_.sync();
  }

  // Of the piece right of each breakpoint, and of the breakpoint itself: the function is continuous.
  PN_TEAM void set_lines() const {
    const EventArrays& a = arrays_of(t_);
    const std::int32_t events = t_.sizes[kEvents];
    team_.one([&] {
      if (events == 0 || a.event[0].breakpoint == 0) a.line[0] = s_.line_start[0];
    });
    team_.for_each(events, [&](std::int32_t e) {
      const BreakEvent last = a.event[e];
      if (e + 1 < events && a.event[e + 1].breakpoint == last.breakpoint) return;
      Pair line = s_.line_start[last.interval];
      for (std::int32_t i = s_.first[last.interval] + last.interval; i <= e; ++i) {
        line = line + Pair{a.event[i].slope, a.event[i].intercept};
      }
      if (last.breakpoint >= 0) a.line[2 * last.breakpoint + 1] = line;
      a.line[2 * last.breakpoint + 2] = line;
    });
  }

  PN_TEAM void set_edges() const {
    const EventArrays& a = arrays_of(t_);
    team_.for_each(width_, [&](std::int32_t j) {
      if (!inside(j)) {
        t_.edge[j] = s_.side[j] == static_cast<std::int32_t>(piecewise::Side::on) ? places_of(t_) : 0;
        return;
      }
      const std::int32_t group = s_.group_of[j];
      t_.edge[j] = 2 * a.event[s_.first[group + 1] + group].breakpoint + (t_.rises[j] != 0 ? 2 : 1);
    });
  }

  PN_TEAM void set_ranges() const {
    const EventArrays& a = arrays_of(t_);
    const std::int32_t events = t_.sizes[kEvents];
    team_.for_each(width_, [&](std::int32_t k) {
      std::int32_t count = (s_.sign[k] & kPositiveLeft) != 0;
      for (std::int32_t e = 0; e < events; ++e) count += a.event[e].unit == k && a.event[e].rises != 0;
      t_.first_range[k] = count;
    });
    const std::int32_t ranges = team_.exclusive_scan(t_.first_range, width_);
    team_.one([&] { t_.first_range[width_] = ranges; });
    team_.for_each(width_, [&](std::int32_t k) {
      PlaceRange* range = a.range + t_.first_range[k];
      bool open = (s_.sign[k] & kPositiveLeft) != 0;
      std::int32_t first = 0;
      for (std::int32_t e = 0; e < events; ++e) {
        if (a.event[e].unit != k) continue;
        const std::int32_t q = a.event[e].breakpoint;
        if (open) *range++ = {first, 2 * q + 1 > first ? 2 * q + 1 : first};
        open = a.event[e].rises != 0;
        first = 2 * q + 2;
      }
      if (open) *range = {first, places_of(t_) > first ? places_of(t_) : first};
    });
  }

  // The number of breakpoints in cells left of each one: cells are a monotone function of x.
  PN_TEAM void fill_cells(std::int32_t cells) const {
    const piecewise::Grid<T> grid = piecewise::make_grid<T>(range_, cells);
    const double* const breakpoint = arrays_of(t_).breakpoint;
    const std::int32_t count = t_.sizes[kBreakpoints];
    team_.for_each(cells + 1, [&](std::int32_t cell) {
      std::int32_t low = 0, high = count;
      while (low < high) {
        const std::int32_t middle = (low + high) / 2;
        const auto its =
            static_cast<std::int32_t>(piecewise::cell_coordinate(static_cast<T>(breakpoint[middle]), grid));
        (its < cell ? low : high) = its < cell ? middle + 1 : middle;
      }
      t_.cell_first[cell] = low;
    });
  }

  const Team& team_;
  const Tensors<const T>& p_;
  const piecewise::Range& range_;
  const Table& t_;
  const TableScratch& s_;
  const std::int32_t width_;
  const bool two_;
};

}  // namespace pn::cuda
