// Classes of layer-2 units on a batch (kernels.md, section 3): a dead unit has no gradient, one that is on for every
// row has the gradient of a linear unit, and only the mixed ones take part in products. They are gathered side by side,
// in ascending order, into a panel whose width is the least of a few sizes that holds them, because a product's extents
// have to be known before it is launched.
#pragma once

#include <cstdint>

#include "core/network.hpp"
#include "core/trainer.hpp"
#include "cuda/dense/tiles.hpp"

namespace pn::cuda {

// A unit's slot: its column of the panel where it is mixed, else one of these.
constexpr std::int32_t kDead = -1, kOn = -2;

// Capacities of the panel, ascending, from none to all units; multiples of 8, so that rows of bfloat16 are aligned to
// the 16 bytes that tensor cores want.
struct PanelSizes {
  static constexpr int kMost = 8;
  int count = 0;
  std::int64_t capacity[kMost] = {};

  static std::int64_t aligned(std::int64_t n) { return parts_of(n, 8) * 8; }

  static PanelSizes of(std::int64_t width) {
    PanelSizes sizes;
    sizes.capacity[sizes.count++] = 0;
    for (std::int64_t parts = 32; parts >= 1; parts /= 2) {
      const std::int64_t capacity = aligned(parts_of(width, parts));
      if (capacity > sizes.capacity[sizes.count - 1]) sizes.capacity[sizes.count++] = capacity;
    }
    return sizes;
  }
  std::int64_t largest() const { return capacity[count - 1]; }
};

// One block. slot: (width,), mixed: (width,) the mixed units, ascending.
struct ClassifyUnits {
  const double* active;  // (width,) on how many rows
  std::int64_t width, rows;
  PanelSizes sizes;
  std::int32_t *slot, *mixed;
  std::int32_t* mixed_count;
  std::int32_t* size;  // index of the panel's size

  static std::int64_t blocks() { return 1; }
  static constexpr int threads() { return 1024; }

  PN_TEAM bool is_mixed(std::int64_t k) const { return active[k] > 0.0 && active[k] < static_cast<double>(rows); }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t) const {
    team.for_each(width, [&](std::int64_t k) { slot[k] = is_mixed(k) ? 1 : 0; });
    const std::int32_t count = team.exclusive_scan(slot, static_cast<std::int32_t>(width));
    team.for_each(width, [&](std::int64_t k) {
      if (is_mixed(k)) {
        mixed[slot[k]] = static_cast<std::int32_t>(k);
      } else {
        slot[k] = active[k] > 0.0 ? kOn : kDead;
      }
    });
    team.one([&] {
      *mixed_count = count;
      std::int32_t s = 0;
      while (sizes.capacity[s] < count) ++s;
      *size = s;
    });
  }
};

// One block: how many of one layer's units are dead, on and mixed. All of them are mixed where the activation is no
// ReLU.
struct CountUnits {
  const double* active;  // (units,) on how many rows
  std::int64_t units, rows;
  bool relu;
  UnitCounts* counts;

  static std::int64_t blocks() { return 1; }
  static constexpr int threads() { return 1024; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t) const {
    double never = 0.0, always = 0.0;
    team.for_each(units, [&](std::int64_t k) {
      never += static_cast<double>(active[k] == 0.0);
      always += static_cast<double>(active[k] == static_cast<double>(rows));
    });
    never = team.total(never);
    always = team.total(always);
    team.one([&] {
      const std::int64_t dead = relu ? static_cast<std::int64_t>(never) : 0;
      const std::int64_t on = relu ? static_cast<std::int64_t>(always) : 0;
      *counts = {dead, on, units - dead - on};
    });
  }
};

}  // namespace pn::cuda
