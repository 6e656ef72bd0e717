// Certificates of layer-2 units (kernels.md, section 3, fact one): proofs that a unit is dead, or on, for every row of
// a batch, without its pre-activations z_bk = b2_k + sum_j W2_kj h1_bj. All of them hold in exact arithmetic and leave
// room for the rounding of a product in T, so that a certified unit is what the dense path would have found it to be.
//
// Range: with H1's column maxima g_j (h1 >= 0; no column of layer 1 stays above 0, so a minimum would add nothing),
//   z_bk <= b2_k + sum_j max(W2_kj, 0) g_j.
//   The sum is taken once, for an inflated g; it stays good while the row is unchanged, a batch beyond g paying
//   max_j |W2_kj| times its excess.
// Screening: with scales s_j, v_j = W2_kj s_j = t q_j + rho_j (q whole numbers, 8 bits) and h1_bj / s_j = p_bj + eta_bj
//   (p whole numbers, 7 bits), Cauchy and Schwarz give
//   |z_bk - b2_k - t q.p_b| <= ||v|| ||eta_b|| + ||rho|| ||p_b||,
//   so that the extreme of q.p_b over b, exact in integers, decides: with AVX512-VNNI at a quarter of a product's
//   instructions, without it at about half of its time.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/buffer.hpp"
#include "cpu/isa.hpp"
#include "cpu/levels/table.hpp"
#include "cpu/thread_pool.hpp"

namespace pn::cpu {

enum class UnitClass : std::uint8_t { dead, on, mixed };

template <class T>
struct OutputLayers {
  const T* w2;  // w2: (width, width) [out, in]
  const T* b2;  // b2: (width,)
  const T* w3;  // w3: (width,)
};

template <class T>
class Certificates {
 public:
  // batch: the most rows of a call; screen: one of the level's, or null. The pool outlives the certificates.
  Certificates(std::int64_t width, Isa isa, ThreadPool& pool, std::int64_t batch, const ScreenFunctions* screen);
  Certificates(std::int64_t width, Isa isa, ThreadPool& pool, std::int64_t batch)
      : Certificates(width, isa, pool, batch, screen_functions(isa)) {}

  // Nothing is known of any row any more.
  void forget();

  // Row k of W2 has changed. Any thread may call it, each row on one thread; bound: whether the row is likely to be
  // asked for.
  void row_changed(std::int64_t k, const T* row, bool bound);

  // h1: (n, width). For every k, units[k] holds what the unit is expected to be; mixed ones are left alone. A certified
  // one is left with its certified class, which may differ; one that can't be certified becomes mixed.
  void certify(const OutputLayers<T>& layers, const T* h1, std::int64_t n, UnitClass* units);

 private:
  bool scan(const T* h1, std::int64_t n);
  void renew_envelope();
  void bound_stale_rows(const OutputLayers<T>& layers, const UnitClass* units);
  bool in_range(const OutputLayers<T>& layers, std::int64_t k) const;
  void screen(const OutputLayers<T>& layers, const T* h1, std::int64_t n, UnitClass* units);
  void quantize(const T* h1, std::int64_t n);
  UnitClass decide(const OutputLayers<T>& layers, std::int64_t k, std::int32_t largest, std::int32_t smallest) const;

  std::int64_t width_, stride_;
  const ActiveRowFunctions<T>& functions_;
  const ScreenFunctions* screen_;
  ThreadPool& pool_;
  Buffer<T> scale_, inverse_scale_;    // (width,) s_j = g_j / kUnitLevels
  Buffer<T> recent_largest_;           // (width,) H1's column maxima, older batches faded
  Buffer<T> column_largest_, poison_;  // (row tiles, width)
  double excess_ = 0.0;                // of this batch beyond g, summed over the columns
  bool envelope_ = false;
  std::int64_t batches_ = 0;              // since the envelope was taken
  std::int64_t patience_ = 1;             // that many of them it serves at least
  std::vector<RowBound<T>> bounds_;       // (width,)
  std::vector<std::uint8_t> bounded_;     // (width,) whether bounds_ and quantized_rows_ are about the row as it is
  Buffer<std::int8_t> quantized_rows_;    // (width, stride)
  Buffer<std::uint8_t> quantized_units_;  // (batch, stride)
  Buffer<T> norm_, rounding_;             // (batch,) ||p_b|| and ||eta_b||
  double most_norm_ = 0.0, most_rounding_ = 0.0;
  std::vector<std::int32_t> list_;           // units to bound, then units to screen
  Buffer<std::int32_t> largest_, smallest_;  // (row tiles, width)
};

}  // namespace pn::cpu
