// Compiled with -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx512vnni: the screening product alone. It serves the
// AVX-512 level where the processor multiplies bytes (VPDPBUSD: 64 products and sums an instruction, against 16 of a
// float FMA).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC bug 105593: false alarms from its own header
#endif
#include <immintrin.h>

#include "cpu/levels/active_rows.hpp"

namespace pn::cpu {
namespace {

constexpr int kTile = 4;  // rows and units of a tile: 16 sums and 8 operands in registers

// The four vectors' sums, in order.
inline __m128i sums_of(const __m512i v[kTile]) {
  const auto pair = [](__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  };
  const __m512i low = pair(v[0], v[1]), high = pair(v[2], v[3]);
  const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

struct Extremes {
  __m128i largest, smallest;  // of a unit, a part of the rows a lane
};

inline void tile(const std::uint8_t* const (&h)[kTile], const std::int8_t* const (&w)[kTile], std::int64_t stride,
                 Extremes (&extremes)[kTile]) {
  __m512i sum[kTile][kTile];
  for (auto& unit : sum) {
    for (__m512i& s : unit) s = _mm512_setzero_si512();
  }
  for (std::int64_t j = 0; j < stride; j += kScreenStride) {
    __m512i rows[kTile];
    for (int r = 0; r < kTile; ++r) rows[r] = _mm512_loadu_si512(h[r] + j);
    for (int u = 0; u < kTile; ++u) {
      const __m512i weights = _mm512_loadu_si512(w[u] + j);
      for (int r = 0; r < kTile; ++r) sum[u][r] = _mm512_dpbusd_epi32(sum[u][r], rows[r], weights);
    }
  }
  for (int u = 0; u < kTile; ++u) {
    const __m128i sums = sums_of(sum[u]);
    extremes[u].largest = _mm_max_epi32(extremes[u].largest, sums);
    extremes[u].smallest = _mm_min_epi32(extremes[u].smallest, sums);
  }
}

template <class Better>
inline std::int32_t best_lane(__m128i v, Better better) {
  alignas(16) std::int32_t lane[kTile];
  _mm_store_si128(reinterpret_cast<__m128i*>(lane), v);
  std::int32_t best = lane[0];
  for (int i = 1; i < kTile; ++i) best = better(lane[i], best) ? lane[i] : best;
  return best;
}

// A tile's missing rows and units repeat the last one, which changes no extreme.
void extremes_of(const std::uint8_t* h, std::int64_t rows, const std::int8_t* w, const std::int32_t* unit,
                 std::int64_t units, std::int64_t stride, std::int32_t* largest, std::int32_t* smallest) {
  for (std::int64_t u = 0; u < units; u += kTile) {
    const std::int8_t* weights[kTile];
    Extremes found[kTile];
    for (int i = 0; i < kTile; ++i) {
      weights[i] = w + unit[u + i < units ? u + i : units - 1] * stride;
      found[i] = {_mm_set1_epi32(INT32_MIN), _mm_set1_epi32(INT32_MAX)};
    }
    for (std::int64_t r = 0; r < rows; r += kTile) {
      const std::uint8_t* row[kTile];
      for (int i = 0; i < kTile; ++i) row[i] = h + (r + i < rows ? r + i : rows - 1) * stride;
      tile(row, weights, stride, found);
    }
    for (int i = 0; i < kTile && u + i < units; ++i) {
      largest[u + i] = best_lane(found[i].largest, [](std::int32_t a, std::int32_t b) { return a > b; });
      smallest[u + i] = best_lane(found[i].smallest, [](std::int32_t a, std::int32_t b) { return a < b; });
    }
  }
}

}  // namespace

const ScreenFunctions& screen_avx512vnni();
const ScreenFunctions& screen_avx512vnni() {
  static constexpr ScreenFunctions functions{extremes_of};
  return functions;
}

}  // namespace pn::cpu
