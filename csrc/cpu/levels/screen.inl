// Extreme products of quantized rows (ScreenFunctions), in bytes: every level finds the same integers.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC bug 105593: false alarms from its own header
#endif
#include <immintrin.h>

#include "cpu/levels/active_rows.hpp"

namespace pn::cpu {
namespace {

constexpr int kScreenRows = 4;  // of a tile, a lane each in the end

// A tile is kScreenRows rows and kScreenUnits units: their sums stay in registers.
#if PN_VECTOR_BYTES == 64
using Bytes = __m512i;
constexpr int kScreenUnits = 4;

inline Bytes no_bytes() { return _mm512_setzero_si512(); }
inline Bytes load_bytes(const void* p) { return _mm512_loadu_si512(p); }

// sum, 32 bits a lane, plus the products of h, unsigned, and w, signed.
inline Bytes add_products(Bytes sum, Bytes h, Bytes w) {
#if defined(__AVX512VNNI__)
  return _mm512_dpbusd_epi32(sum, h, w);
#else
  return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(h, w), _mm512_set1_epi16(1)));
#endif
}

// The four vectors' sums, in order.
inline __m128i sums_of(const Bytes v[kScreenRows]) {
  const auto pair = [](Bytes a, Bytes b) {
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  };
  const Bytes low = pair(v[0], v[1]), high = pair(v[2], v[3]);
  const Bytes all = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}
#else
using Bytes = __m256i;
constexpr int kScreenUnits = 2;

inline Bytes no_bytes() { return _mm256_setzero_si256(); }
inline Bytes load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

inline Bytes add_products(Bytes sum, Bytes h, Bytes w) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(h, w), _mm256_set1_epi16(1)));
}

inline __m128i sums_of(const Bytes v[kScreenRows]) {
  const Bytes all = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
  return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}
#endif
// VPMADDUBSW adds two products into 16 bits and saturates: a sum that does would be no bound of anything.
static_assert(2 * kUnitLevels * kWeightLevels <= INT16_MAX);
static_assert(kScreenStride % PN_VECTOR_BYTES == 0);

// GCC would carry the sums from register to register, and some through memory: such moves were more than half of the
// loop's instructions with AVX512-VNNI, and took a third of its time.
inline void keep_in_place(Bytes& sum) { __asm__("" : "+v"(sum)); }

struct Extremes {
  __m128i largest, smallest;  // of a unit, a part of the rows a lane
};

inline void screen_tile(const std::uint8_t* const (&h)[kScreenRows], const std::int8_t* const (&w)[kScreenUnits],
                        std::int64_t stride, Extremes (&extremes)[kScreenUnits]) {
  Bytes sum[kScreenUnits][kScreenRows];
  for (auto& unit : sum) {
    for (Bytes& s : unit) s = no_bytes();
  }
  for (std::int64_t j = 0; j < stride; j += PN_VECTOR_BYTES) {
    Bytes weights[kScreenUnits];
    for (int u = 0; u < kScreenUnits; ++u) weights[u] = load_bytes(w[u] + j);
    for (int r = 0; r < kScreenRows; ++r) {
      const Bytes row = load_bytes(h[r] + j);
      for (int u = 0; u < kScreenUnits; ++u) {
        sum[u][r] = add_products(sum[u][r], row, weights[u]);
        keep_in_place(sum[u][r]);
      }
    }
  }
  for (int u = 0; u < kScreenUnits; ++u) {
    const __m128i sums = sums_of(sum[u]);
    extremes[u].largest = _mm_max_epi32(extremes[u].largest, sums);
    extremes[u].smallest = _mm_min_epi32(extremes[u].smallest, sums);
  }
}

template <class Better>
inline std::int32_t best_lane(__m128i v, Better better) {
  alignas(16) std::int32_t lane[kScreenRows];
  _mm_store_si128(reinterpret_cast<__m128i*>(lane), v);
  std::int32_t best = lane[0];
  for (int i = 1; i < kScreenRows; ++i) best = better(lane[i], best) ? lane[i] : best;
  return best;
}

// A tile's missing rows and units repeat the last one, which changes no extreme.
inline void screen_extremes(const std::uint8_t* h, std::int64_t rows, const std::int8_t* w, const std::int32_t* unit,
                            std::int64_t units, std::int64_t stride, std::int32_t* largest, std::int32_t* smallest) {
  for (std::int64_t u = 0; u < units; u += kScreenUnits) {
    const std::int8_t* weights[kScreenUnits];
    Extremes found[kScreenUnits];
    for (int i = 0; i < kScreenUnits; ++i) {
      weights[i] = w + unit[u + i < units ? u + i : units - 1] * stride;
      found[i] = {_mm_set1_epi32(INT32_MIN), _mm_set1_epi32(INT32_MAX)};
    }
    for (std::int64_t r = 0; r < rows; r += kScreenRows) {
      const std::uint8_t* row[kScreenRows];
      for (int i = 0; i < kScreenRows; ++i) row[i] = h + (r + i < rows ? r + i : rows - 1) * stride;
      screen_tile(row, weights, stride, found);
    }
    for (int i = 0; i < kScreenUnits && u + i < units; ++i) {
      largest[u + i] = best_lane(found[i].largest, [](std::int32_t a, std::int32_t b) { return a > b; });
      smallest[u + i] = best_lane(found[i].smallest, [](std::int32_t a, std::int32_t b) { return a < b; });
    }
  }
}

}  // namespace

// screen_LEVEL(), which table.cpp declares.
#define PN_SCREEN_(level) screen_##level
#define PN_SCREEN(level) PN_SCREEN_(level)
const ScreenFunctions& PN_SCREEN(PN_LEVEL)();
const ScreenFunctions& PN_SCREEN(PN_LEVEL)() {
  static constexpr ScreenFunctions functions{screen_extremes};
  return functions;
}

}  // namespace pn::cpu
