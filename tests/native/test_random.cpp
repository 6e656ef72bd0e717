// Philox against the published known answers, the prefix property of streams, and the order of an epoch.
#include "core/random.hpp"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "check.hpp"

namespace {

using pn::Philox4;
using pn::Purpose;
using pn::Stream;

bool same(const Philox4& a, const Philox4& b) { return std::equal(a.word, a.word + 4, b.word); }

// "philox4x32 10" of kat_vectors in the Random123 distribution (Salmon et al. 2011).
void known_answers() {
  CHECK(same(pn::philox({{0, 0, 0, 0}}, 0, 0), {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
  constexpr std::uint32_t ones = 0xffffffff;
  CHECK(same(pn::philox({{ones, ones, ones, ones}}, ones, ones), {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
  CHECK(same(pn::philox({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0),
             {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));
}

template <class T>
std::vector<T> draws(const Stream& stream, std::uint64_t first, std::int64_t count) {
  std::vector<T> out(static_cast<std::size_t>(count));
  pn::uniform(stream, first, count, out.data());
  return out;
}

// Draw i is a function of the stream and i: any piece of a stream, from an even or odd start, is that piece of the
// whole.
template <class T>
void pieces_are_pieces_of_the_whole() {
  const Stream stream{42, Purpose::data, 3, 7};
  const std::vector<T> whole = draws<T>(stream, 0, 41);
  for (std::uint64_t first = 0; first < 9; ++first) {
    for (std::int64_t count = 0; count < 9; ++count) {
      const std::vector<T> piece = draws<T>(stream, first, count);
      CHECK(std::equal(piece.begin(), piece.end(), whole.begin() + static_cast<std::ptrdiff_t>(first)));
    }
  }
  const std::vector<T> far = draws<T>(stream, (std::uint64_t{1} << 33) - 1, 3);
  CHECK_EQ(far[1], draws<T>(stream, std::uint64_t{1} << 33, 1)[0]);
}

void uniforms_are_uniform() {
  const Stream stream{1, Purpose::initialization, 0, 0};
  const std::vector<double> wide = draws<double>(stream, 0, 100'000);
  const std::vector<float> narrow = draws<float>(stream, 0, 100'000);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    CHECK(wide[i] >= 0.0 && wide[i] < 1.0);
    CHECK(narrow[i] >= 0.0f && narrow[i] < 1.0f);
    CHECK(wide[i] - static_cast<double>(narrow[i]) >= 0.0);  // cut to 24 bits, not rounded
    CHECK(wide[i] - static_cast<double>(narrow[i]) < 0x1p-24);
  }
  const double mean = std::accumulate(wide.begin(), wide.end(), 0.0) / static_cast<double>(wide.size());
  CHECK(mean > 0.5 - 0.0046 && mean < 0.5 + 0.0046);  // five standard errors of 1 / sqrt(12 n)
}

void streams_differ_in_every_field() {
  const Stream base{5, Purpose::data, 0, 0};
  std::vector<std::vector<double>> all{draws<double>(base, 0, 4)};
  for (const Stream& other :
       {Stream{6, Purpose::data, 0, 0}, Stream{5 + (std::uint64_t{1} << 32), Purpose::data, 0, 0},
        Stream{5, Purpose::shuffling, 0, 0}, Stream{5, Purpose::data, 1, 0}, Stream{5, Purpose::data, 0, 1}}) {
    const std::vector<double> drawn = draws<double>(other, 0, 4);
    CHECK(std::find(all.begin(), all.end(), drawn) == all.end());
    all.push_back(drawn);
  }
}

// The definition in words: word i % 4 of block i / 4 of the shuffling stream is row i's key; rows in stable order of
// keys.
std::vector<std::uint32_t> order_by_definition(std::uint64_t seed, std::uint32_t epoch, std::uint32_t rows) {
  const Stream stream{seed, Purpose::shuffling, 0, epoch};
  std::vector<std::uint32_t> keys(rows), order(rows);
  for (std::uint32_t i = 0; i < rows; ++i) keys[i] = pn::philox_block(stream, i / 4).word[i % 4];
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&keys](std::uint32_t a, std::uint32_t b) { return keys[a] < keys[b]; });
  return order;
}

void orders_are_the_stable_sort_of_the_draws() {
  for (const std::uint32_t rows : {0u, 1u, 2u, 3u, 4u, 5u, 7u, 64u, 1000u, 64'000u, 200'000u}) {
    pn::Shuffler shuffler(rows);
    std::vector<std::uint32_t> order(rows);
    for (const std::uint32_t epoch : {0u, 1u, 999u}) {  // one Shuffler, many epochs: nothing may be left over
      shuffler.draw(11, epoch, order.data());
      CHECK(order == order_by_definition(11, epoch, rows));
      std::vector<std::uint32_t> sorted = order;
      std::sort(sorted.begin(), sorted.end());
      for (std::uint32_t i = 0; i < rows; ++i) CHECK_EQ(sorted[i], i);
    }
  }
}

// 200,000 keys of 32 bits hold about 4.7 equal pairs: the test of stability above has something to test.
void there_are_equal_keys() {
  const Stream stream{11, Purpose::shuffling, 0, 0};
  std::vector<std::uint32_t> keys(200'000);
  for (std::uint32_t i = 0; i < keys.size(); ++i) keys[i] = pn::philox_block(stream, i / 4).word[i % 4];
  std::sort(keys.begin(), keys.end());
  CHECK(std::adjacent_find(keys.begin(), keys.end()) != keys.end());
}

void orders_depend_on_seed_and_epoch() {
  pn::Shuffler shuffler(100);
  std::vector<std::uint32_t> a(100), b(100), c(100);
  shuffler.draw(1, 0, a.data());
  shuffler.draw(1, 1, b.data());
  shuffler.draw(2, 0, c.data());
  CHECK(a != b);
  CHECK(a != c);
  shuffler.draw(1, 0, b.data());
  CHECK(a == b);
}

}  // namespace

int main() {
  known_answers();
  pieces_are_pieces_of_the_whole<float>();
  pieces_are_pieces_of_the_whole<double>();
  uniforms_are_uniform();
  streams_differ_in_every_field();
  orders_are_the_stable_sort_of_the_draws();
  there_are_equal_keys();
  orders_depend_on_seed_and_epoch();
  return pn::test::report();
}
