// The order of rows in an epoch, as core/random.hpp's Shuffler has it: the stable sort of the rows by their 32-bit
// draws.
#pragma once

#include <cstdint>

#include "core/random.hpp"
#include "cuda/device/team.hpp"

namespace pn::cuda {

constexpr std::int32_t kDigitBits = 4, kDigits = 1 << kDigitBits, kSortPasses = 32 / kDigitBits;

// How the threads of a team share the rows: each has a stretch of them in order. Items of neighbouring threads lie side
// by side, so that the threads of a warp read one line of memory.
struct Stretches {
  std::int64_t rows, threads, length;

  static PN_INLINE_MEMBER Stretches of(std::int64_t rows, std::int64_t threads) {
    return {rows, threads, (rows + threads - 1) / threads};
  }
  // Of items, some of which are nobody's.
  PN_INLINE_MEMBER std::int64_t items() const { return length * threads; }
  // Where the item of a place in the order lies.
  PN_INLINE_MEMBER std::int64_t item(std::uint32_t place) const {
    const auto each = static_cast<std::uint32_t>(length);
    return static_cast<std::int64_t>(place % each) * threads + place / each;
  }
  template <class Body>
  PN_TEAM void for_each(std::int32_t thread, Body body) const {
    const std::int64_t left = rows - thread * length, count = left < length ? left : length;
    for (std::int64_t i = 0; i < count; ++i) body(i * threads + thread);
  }
};

// A radix sort. items, scratch: (Stretches::items,), key in the high half and row in the low one. counts: (kDigits,
// team.size()). order: (rows,).
template <class Team>
PN_TEAM void draw_order(const Team& team, std::uint64_t seed, std::uint32_t epoch, std::int64_t rows,
                        std::uint64_t* items, std::uint64_t* scratch, std::uint32_t* counts, std::uint32_t* order) {
  const pn::Stream stream{seed, Purpose::shuffling, 0, epoch};
  const std::int64_t threads = team.size();
  const Stretches stretches = Stretches::of(rows, threads);
  team.for_each((rows + 3) / 4, [&](std::int64_t block) {
    const Philox4 words = philox_block(stream, static_cast<std::uint64_t>(block));
    for (std::int64_t i = 4 * block; i < rows && i < 4 * block + 4; ++i) {
      items[stretches.item(static_cast<std::uint32_t>(i))] =
          (std::uint64_t{words.word[i % 4]} << 32) | static_cast<std::uint64_t>(i);
    }
  });
  for (std::int32_t pass = 0; pass < kSortPasses; ++pass) {
    const auto place = [&](std::uint64_t item, std::int32_t thread) -> std::uint32_t& {
      const auto digit = static_cast<std::int32_t>(item >> (32 + kDigitBits * pass)) & (kDigits - 1);
      return counts[static_cast<std::int64_t>(digit) * threads + thread];
    };
    team.sync();
    team.for_each(static_cast<std::int32_t>(threads), [&](std::int32_t thread) {
      for (std::int64_t digit = 0; digit < kDigits; ++digit) counts[digit * threads + thread] = 0;
      stretches.for_each(thread, [&](std::int64_t at) { ++place(items[at], thread); });
    });
    team.exclusive_scan(counts, static_cast<std::int32_t>(kDigits * threads));
    const bool last = pass == kSortPasses - 1;
    team.for_each(static_cast<std::int32_t>(threads), [&](std::int32_t thread) {
      stretches.for_each(thread, [&](std::int64_t at) {
        const std::uint64_t item = items[at];
        const std::uint32_t to = place(item, thread)++;
        if (last) {
          order[to] = static_cast<std::uint32_t>(item);
        } else {
          scratch[stretches.item(to)] = item;
        }
      });
    });
    std::uint64_t* const sorted = scratch;
    scratch = items;
    items = sorted;
  }
  team.sync();
}

}  // namespace pn::cuda
