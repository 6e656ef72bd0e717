#include "core/random.hpp"

#include <array>
#include <utility>

namespace pn {
namespace {

template <class T>
void fill_uniform(const Stream& stream, std::uint64_t first, std::int64_t count, T* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t draw = first + static_cast<std::uint64_t>(i);
    const Philox4 words = philox_block(stream, draw / 2);
    const int at = static_cast<int>(draw % 2) * 2;
    out[i] = uniform_from_words(words.word[at], words.word[at + 1], T{});
    if (at == 0 && i + 1 < count) {
      ++i;
      out[i] = uniform_from_words(words.word[2], words.word[3], T{});
    }
  }
}

constexpr int kDigitBits = 11;
constexpr std::size_t kDigits = std::size_t{1} << kDigitBits;

}  // namespace

void uniform(const Stream& stream, std::uint64_t first, std::int64_t count, float* out) {
  fill_uniform(stream, first, count, out);
}
void uniform(const Stream& stream, std::uint64_t first, std::int64_t count, double* out) {
  fill_uniform(stream, first, count, out);
}

Shuffler::Shuffler(std::int64_t rows)
    : rows_(rows), items_(static_cast<std::size_t>(rows)), scratch_(static_cast<std::size_t>(rows)) {}

// A least-significant-digit radix sort: stable, three passes over 32-bit keys.
void Shuffler::draw(std::uint64_t seed, std::uint32_t epoch, std::uint32_t* order) {
  const Stream stream{seed, Purpose::shuffling, 0, epoch};
  std::array<std::array<std::uint32_t, kDigits>, 3> counts{};
  const auto digit = [](std::uint64_t item, int pass) {
    return static_cast<std::size_t>(item >> (32 + kDigitBits * pass)) & (kDigits - 1);
  };
  for (std::int64_t first = 0; first < rows_; first += 4) {
    const Philox4 words = philox_block(stream, static_cast<std::uint64_t>(first / 4));
    for (std::int64_t i = first; i < rows_ && i < first + 4; ++i) {
      const std::uint64_t item = (std::uint64_t{words.word[i - first]} << 32) | static_cast<std::uint64_t>(i);
      items_[static_cast<std::size_t>(i)] = item;
      for (int pass = 0; pass < 3; ++pass) ++counts[static_cast<std::size_t>(pass)][digit(item, pass)];
    }
  }
  for (int pass = 0; pass < 3; ++pass) {
    auto& count = counts[static_cast<std::size_t>(pass)];
    std::uint32_t start = 0;
    for (auto& c : count) start += std::exchange(c, start);
    for (const std::uint64_t item : items_) scratch_[count[digit(item, pass)]++] = item;
    items_.swap(scratch_);
  }
  for (std::int64_t i = 0; i < rows_; ++i) {
    order[i] = static_cast<std::uint32_t>(items_[static_cast<std::size_t>(i)]);
  }
}

}  // namespace pn
