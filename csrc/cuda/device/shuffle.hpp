// The order of rows in an epoch, as core/random.hpp's Shuffler has it: the stable sort of the rows by their 32-bit
// draws.
#pragma once

#include <cstdint>

#include "core/random.hpp"
#include "cuda/device/team.hpp"

namespace pn::cuda {

constexpr std::int32_t kDigitBits = 4, kDigits = 1 << kDigitBits, kSortPasses = 32 / kDigitBits;

// A radix sort by a team whose threads each keep a stretch of the rows in order. items, scratch: (rows,), key in the
// high half and row in the low one. counts: (kDigits, team.size()). order: (rows,).
template <class Team>
PN_TEAM void draw_order(const Team& team, std::uint64_t seed, std::uint32_t epoch, std::int64_t rows,
                        std::uint64_t* items, std::uint64_t* scratch, std::uint32_t* counts, std::uint32_t* order) {
  const pn::Stream stream{seed, Purpose::shuffling, 0, epoch};
  team.for_each((rows + 3) / 4, [&](std::int64_t block) {
    const Philox4 words = philox_block(stream, static_cast<std::uint64_t>(block));
    for (std::int64_t i = 4 * block; i < rows && i < 4 * block + 4; ++i) {
      items[i] = (std::uint64_t{words.word[i % 4]} << 32) | static_cast<std::uint64_t>(i);
    }
  });
  const std::int64_t threads = team.size(), stretch = (rows + threads - 1) / threads;
  for (std::int32_t pass = 0; pass < kSortPasses; ++pass) {
    const auto place = [&](std::uint64_t item, std::int32_t thread) -> std::uint32_t& {
      const auto digit = static_cast<std::int32_t>(item >> (32 + kDigitBits * pass)) & (kDigits - 1);
      return counts[static_cast<std::int64_t>(digit) * threads + thread];
    };
    const auto for_stretch = [&](std::int32_t thread, auto body) {
      const std::int64_t first = thread * stretch, end = first + stretch < rows ? first + stretch : rows;
      for (std::int64_t i = first; i < end; ++i) body(items[i]);
    };
    team.sync();
    team.for_each(static_cast<std::int32_t>(threads), [&](std::int32_t thread) {
      for (std::int64_t digit = 0; digit < kDigits; ++digit) counts[digit * threads + thread] = 0;
      for_stretch(thread, [&](std::uint64_t item) { ++place(item, thread); });
    });
    team.exclusive_scan(counts, static_cast<std::int32_t>(kDigits * threads));
    team.for_each(static_cast<std::int32_t>(threads), [&](std::int32_t thread) {
      for_stretch(thread, [&](std::uint64_t item) { scratch[place(item, thread)++] = item; });
    });
    std::uint64_t* const sorted = scratch;
    scratch = items;
    items = sorted;
  }
  team.sync();
  team.for_each(rows, [&](std::int64_t i) { order[i] = static_cast<std::uint32_t>(items[i]); });
}

}  // namespace pn::cuda
