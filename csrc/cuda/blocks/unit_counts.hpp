// Which units of a block are dead, on or mixed on the rows of an evaluation.
#pragma once

#include <cstdint>

#include "core/trainer.hpp"
#include "cuda/blocks/piecewise_table.hpp"

namespace pn::cuda {

// hit: (places + 1,) 1 where a point was seen at the place, else 0; overwritten. Adds to counts, (layers,), of which
// another team may have the same. Begins and ends with a sync.
template <class Team>
PN_TEAM void count_units(const Team& team, const BlockShape& b, const Table& table, std::int32_t* hit,
                         UnitCounts* counts) {
  const std::int32_t all = team.exclusive_scan(hit, places_of(table) + 1);
  const PlaceRange* const range = arrays_of(table).range;
  const auto note = [&](UnitCounts& layer, std::int32_t active) {
    team.add(active == 0 ? &layer.dead : (active == all ? &layer.on : &layer.mixed), std::int64_t{1});
  };
  team.for_each(b.width, [&](std::int32_t j) {
    const std::int32_t before = hit[table.edge[j]];
    note(counts[0], table.rises[j] != 0 ? all - before : before);
  });
  if (b.hidden_layers == 2) {
    team.for_each(b.width, [&](std::int32_t k) {
      std::int32_t active = 0;
      for (std::int32_t r = table.first_range[k]; r < table.first_range[k + 1]; ++r) {
        active += hit[range[r].end] - hit[range[r].first];
      }
      note(counts[1], active);
    });
  }
  team.sync();
}

// Where parameters are not finite, no unit is seen active.
template <class Team>
PN_TEAM void count_all_dead(const Team& team, const BlockShape& b, UnitCounts* counts) {
  team.one([&] {
    for (std::int32_t layer = 0; layer < b.hidden_layers; ++layer) team.add(&counts[layer].dead, std::int64_t{b.width});
  });
}

}  // namespace pn::cuda
