// Counter-based random numbers: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2,
// 3", SC 2011). Draw i of a stream depends on the stream and i alone, so the first N of more draws are the N draws, and
// every backend draws the same numbers in any order.
#pragma once

#include <cstdint>
#include <vector>

#include "core/host_device.hpp"

namespace pn {

enum class Purpose : std::uint32_t { data = 0, initialization = 1, shuffling = 2 };

struct Stream {
  std::uint64_t seed = 0;
  Purpose purpose = Purpose::data;
  std::uint32_t member = 0;  // < 2^24; which tensor, for an initialization
  std::uint32_t epoch = 0;
};

struct Philox4 {
  std::uint32_t word[4];
};

PN_INLINE Philox4 philox(Philox4 counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter.word[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter.word[2];
    counter = {
        {static_cast<std::uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0, static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1, static_cast<std::uint32_t>(product0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// The four words number `block` of a stream.
PN_INLINE Philox4 philox_block(const Stream& s, std::uint64_t block) {
  const Philox4 counter{{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), s.epoch,
                         (static_cast<std::uint32_t>(s.purpose) << 24) | s.member}};
  return philox(counter, static_cast<std::uint32_t>(s.seed), static_cast<std::uint32_t>(s.seed >> 32));
}

// Uniform on [0, 1): 24 bits for float, 53 for double, from the same two words, so that the float draw is the double
// draw cut to 24 bits.
PN_INLINE float uniform_from_words(std::uint32_t high, std::uint32_t, float) {
  return static_cast<float>(high >> 8) * 0x1p-24f;
}
PN_INLINE double uniform_from_words(std::uint32_t high, std::uint32_t low, double) {
  const std::uint64_t bits = ((std::uint64_t{high} << 32) | low) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

// out: (count,) draws first .. first+count-1 of the stream, uniform on [0, 1).
void uniform(const Stream& stream, std::uint64_t first, std::int64_t count, float* out);
void uniform(const Stream& stream, std::uint64_t first, std::int64_t count, double* out);

// The order of `rows` rows in one epoch: the stable sort of the rows by their 32-bit draws (word i % 4 of block i / 4).
// Working memory is kept between epochs, so that drawing an order allocates nothing after the first.
class Shuffler {
 public:
  explicit Shuffler(std::int64_t rows);
  void draw(std::uint64_t seed, std::uint32_t epoch, std::uint32_t* order);  // order: (rows,)

 private:
  std::int64_t rows_;
  std::vector<std::uint64_t> items_, scratch_;  // key in the high half, row in the low half
};

}  // namespace pn
