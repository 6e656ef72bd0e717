// Loops over elements that sum into a vector's lanes.
#pragma once

#include <cstdint>

#include "cpu/simd.hpp"

namespace pn::cpu {
namespace {

// Calls one(i, lane) for i in [0, count), lane = i % lanes, so that sums keep a partial a lane and the loop is a
// vector's: no call may write what another one of the same vector touches.
template <class T, class One>
inline __attribute__((always_inline)) void by_lanes(std::int64_t count, One one) {
  constexpr int n = kLanes<T>;
  const std::int64_t whole = count / n * n;
  for (std::int64_t i = 0; i < whole; i += n) {
#pragma GCC ivdep
    for (int lane = 0; lane < n; ++lane) one(i + lane, lane);
  }
  for (std::int64_t i = whole; i < count; ++i) one(i, static_cast<int>(i - whole));
}

}  // namespace
}  // namespace pn::cpu
