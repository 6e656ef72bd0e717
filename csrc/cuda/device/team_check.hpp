// Every method of a team, on numbers whose sums are known: all kernels rely on them, so that a fault here would show as
// hundreds of others. Run on the device by team_faults, and on the host, for HostTeam and its like, by tests.
#pragma once

#include <cstdint>
#include <limits>

#include "cuda/device/team.hpp"

namespace pn::cuda {

enum TeamMethod : int { kForEach, kOne, kTotal, kMost, kAny, kScan, kRowSums, kAdd, kMark, kTeamMethods };
constexpr const char* kTeamMethodNames[kTeamMethods] = {"for_each",       "one",      "total", "most", "any",
                                                        "exclusive_scan", "row_sums", "add",   "mark"};

// What the threads pass each other, in shared or in global memory.
struct TeamCheckMemory {
  static constexpr std::int32_t kCount = 1100;  // more than any team has threads
  std::int32_t faults[kTeamMethods];            // threads that saw a wrong result
  std::int32_t hits[kCount];
  std::uint32_t counts[kCount];
  Pair sums[kCount];
  std::int64_t wide;
  std::int32_t narrow, marks[2];
  double one;
};

template <class Team>
class TeamCheck {
 public:
  PN_TEAM TeamCheck(const Team& team, TeamCheckMemory& memory) : team_(team), m_(memory) {}

  // Leaves the faults in the memory, which needs no initialising.
  PN_TEAM void run() const {
    team_.sync();
    team_.one([&] {
      for (std::int32_t& fault : m_.faults) fault = 0;
    });
    team_.sync();
    check_for_each();
    check_one();
    for (const std::int32_t n : {1, 5, 31, 32, 33, 257, 1024, TeamCheckMemory::kCount}) {
      check_total(n);
      check_most(n);
      check_any(n);
      check_scan(m_.hits, n);
      check_scan(m_.counts, n);
    }
    for (const std::int32_t columns : {1, 2, 3, 7, 31, 32, 33, 100}) {
      for (const std::int32_t rows : {1, 9, 64, 301}) check_row_sums(rows, columns);
    }
    check_add();
    check_mark();
    team_.sync();
  }

 private:
  static constexpr std::int32_t kCount = TeamCheckMemory::kCount;
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();
  static constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

  PN_TEAM void expect(bool good, TeamMethod method) const {
    if (!good) team_.add(&m_.faults[method], 1);
  }
  // What each thread adds up: 1 + 2 + ... + n by all.
  PN_TEAM double part_of_sum(std::int32_t n) const {
    double mine = 0.0;
    team_.for_each(n, [&](std::int32_t i) { mine += i + 1.0; });
    return mine;
  }

  PN_TEAM void check_for_each() const {
    team_.for_each(kCount, [&](std::int32_t i) { m_.hits[i] = 0; });
    team_.sync();
    team_.for_each(kCount, [&](std::int32_t i) { m_.hits[kCount - 1 - i] += i + 1; });
    team_.sync();
    // A thread looks at what others have written.
    team_.for_each(kCount, [&](std::int32_t i) {
      const std::int32_t other = (i + 517) % kCount;
      expect(m_.hits[other] == kCount - other, kForEach);
    });
    team_.sync();
  }

  PN_TEAM void check_one() const {
    for (const double value : {1.0, 2.0}) {
      team_.one([&] { m_.one = value; });
      team_.sync();
      expect(m_.one == value, kOne);
      team_.sync();
    }
  }

  PN_TEAM void check_total(std::int32_t n) const {
    // Twice in a row: the second may not write over what a thread still reads.
    const double mine = part_of_sum(n), wanted = 0.5 * n * (n + 1.0);
    const double once = team_.total(mine), twice = team_.total(2.0 * mine);
    expect(once == wanted && twice == 2.0 * wanted, kTotal);
  }

  PN_TEAM void check_most(std::int32_t n) const {
    // The largest is of each n another place.
    const std::int32_t top = n / 2;
    const auto largest_of = [&](double at_top) {
      double mine = 0.0;
      team_.for_each(n, [&](std::int32_t i) { mine = larger(mine, i == top ? at_top : 1.0 / (i + 1.0)); });
      return team_.most(mine);
    };
    expect(largest_of(3.0) == 3.0, kMost);
    expect(largest_of(kInfinity) == kInfinity, kMost);
    const double none = largest_of(kNan);
    expect(none != none, kMost);
  }

  PN_TEAM void check_any(std::int32_t n) const {
    for (const std::int32_t at : {0, n / 3, n - 1}) {
      expect(team_.any(n, [&](std::int32_t i) { return i == at; }), kAny);
      expect(!team_.any(n, [&](std::int32_t i) { return i == n + at; }), kAny);
    }
    expect(!team_.any(0, [](std::int32_t) { return true; }), kAny);
  }

  template <class Integer>
  PN_TEAM void check_scan(Integer* values, std::int32_t n) const {
    team_.sync();
    team_.for_each(n, [&](std::int32_t i) { values[i] = static_cast<Integer>(i % 7); });
    const Integer sum = team_.exclusive_scan(values, n);
    const auto before = [](std::int32_t i) { return static_cast<Integer>(i / 7 * 21 + i % 7 * (i % 7 - 1) / 2); };
    expect(sum == before(n), kScan);
    team_.for_each(n, [&](std::int32_t i) {
      const std::int32_t other = n - 1 - i;
      expect(values[other] == before(other), kScan);
    });
    expect(team_.exclusive_scan(values, 0) == 0, kScan);
  }

  PN_TEAM void check_row_sums(std::int32_t rows, std::int32_t columns) const {
    team_.for_each(rows, [&](std::int32_t row) { m_.hits[row] = 0; });
    team_.sync();
    team_.row_sums(
        rows, columns, [](std::int32_t row, std::int32_t c) { return Pair{row + 1.0 * c, row * 2.0}; },
        [&](std::int32_t row, const Pair& total) {
          m_.sums[row] = total;
          team_.add(&m_.hits[row], 1);
        });
    team_.sync();
    team_.for_each(rows, [&](std::int32_t i) {
      const std::int32_t row = rows - 1 - i;
      const double first = 1.0 * columns * row + 0.5 * columns * (columns - 1.0), second = 2.0 * columns * row;
      expect(m_.hits[row] == 1 && m_.sums[row].first == first && m_.sums[row].second == second, kRowSums);
    });
    team_.sync();
  }

  // Its fault is written plainly, since adding is what is in doubt.
  PN_TEAM void check_add() const {
    constexpr std::int64_t kLarge = std::int64_t{1} << 33;
    team_.one([&] {
      m_.wide = 5;
      m_.narrow = -5;
    });
    team_.sync();
    team_.for_each(kCount, [&](std::int32_t i) {
      team_.add(&m_.wide, i % 2 == 0 ? kLarge + i : -i);
      team_.add(&m_.narrow, i % 2 == 0 ? i : 1 - i);
    });
    team_.sync();
    team_.one([&] {
      constexpr std::int32_t kHalf = kCount / 2;  // sum of the even numbers less that of the odd ones: -kHalf
      if (m_.wide != 5 + kHalf * kLarge - kHalf || m_.narrow != -5) m_.faults[kAdd] = 1;
    });
    team_.sync();
  }

  PN_TEAM void check_mark() const {
    team_.one([&] { m_.marks[0] = m_.marks[1] = 0; });
    team_.sync();
    team_.for_each(kCount, [&](std::int32_t i) {
      if (i % 3 == 1) team_.mark(&m_.marks[1]);
    });
    team_.sync();
    expect(m_.marks[0] == 0 && m_.marks[1] == 1, kMark);
  }

  const Team& team_;
  TeamCheckMemory& m_;
};

}  // namespace pn::cuda
