// The mixed units' two backward products as sums of selected rows (kernels.md, section 3, fact two): with the masks
// [h2_bk > 0] of n rows and `count` units,
//   dW2_k = w3_k sum_b mask_bk (r_b h1_b),   dH1_b = r_b sum_k mask_bk (w3_k W2_k).
#pragma once

#include "cpu/buffer.hpp"
#include "cpu/isa.hpp"
#include "cpu/levels/table.hpp"
#include "cpu/thread_pool.hpp"

namespace pn::cpu {

template <class T>
class MaskedProducts {
 public:
  // batch, width: the most rows and units, and the columns. The pool outlives the products.
  MaskedProducts(std::int64_t width, Isa isa, ThreadPool& pool, std::int64_t batch);

  // Whether they beat the BLAS for so many units. Measured with one thread of an AVX-512 machine against OpenBLAS, both
  // products together, float32, 800 rows: 1.1 times at 20 units, 1.3 at 30, 1.6 at 60, 1.8 at 110 to 140, 2.0 at 400
  // and more, whatever the width (400 to 3000); AVX2 instructions 0.96, 1.15, 1.4, 1.7 and 1.9; float64 1.15 at 30, 1.9
  // at 140. Few units don't pay for the tables of h1. With 80 rows 0.8 to 1.05 times at 24 units, 1.0 to 1.4 at 32, 1.1
  // to 1.5 at 60, 1.3 to 1.7 from 200 on (AVX-512); 1.1 to 1.3 at 24 and 1.2 to 1.75 at 200 (AVX2).
  static bool pay(std::int64_t count) { return count >= 24; }

  // h2: (n, count)
  void take_masks(const T* h2, std::int64_t n, std::int64_t count);

  // dw: (count, width), row k still to be multiplied by w3_k. residual: (n,), h1: (n, width).
  void weight_gradient(const T* residual, const T* h1, T* dw);

  // A panel of dH1, row b still to be multiplied by r_b: `rows` rows from `row` on. w2: (count, columns) rows `stride`
  // apart; w3: (count,); out has the same stride. Any thread may call it.
  void hidden_panel(std::int64_t row, std::int64_t rows, std::int64_t columns, std::int64_t stride, const T* w2,
                    const T* w3, T* out) const;

 private:
  std::int64_t width_;
  const MaskedProductFunctions<T>& functions_;
  ThreadPool& pool_;
  std::int64_t n_ = 0, count_ = 0;
  Buffer<std::uint8_t> of_rows_, of_units_;
};

}  // namespace pn::cpu
