// A fixed partition of an extent into nearly equal parts: it depends on the extent alone, never on the number of
// threads.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pn::cpu {

struct Tiling {
  std::int64_t extent = 0, parts = 1;

  static Tiling of(std::int64_t extent, std::int64_t target) {
    return {extent, std::max<std::int64_t>(1, (extent + target - 1) / target)};
  }
  std::int64_t first(std::int64_t part) const { return part * extent / parts; }
  std::int64_t count(std::int64_t part) const { return first(part + 1) - first(part); }
};

}  // namespace pn::cpu
