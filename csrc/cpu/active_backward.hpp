// Backward half of the active-unit kernel (active_kernel.hpp): the gradient, from what the forward half left.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/active_forward.hpp"
#include "cpu/buffer.hpp"
#include "cpu/kernel.hpp"
#include "cpu/masked_products.hpp"
#include "cpu/packed_units.hpp"

namespace pn::cpu {

template <class T>
class ActiveBackward {
 public:
  // batch: the most rows of a pass. The pool outlives this; BLAS must be loaded.
  ActiveBackward(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch);

  // The gradient of the rows of the forward pass, its output now residuals; its h2, units and sums are used up. Rows of
  // W2's gradient are where the result says, in `gradient` too.
  RowGradient<T> run(const T* parameters, std::int64_t n, ActiveForward<T>& forward, T* gradient);

 private:
  void choose_mixed(std::int64_t n, ActiveForward<T>& forward);
  void on_gradient(std::int64_t n, ActiveForward<T>& forward, T* gradient);
  void mixed_gradient(std::int64_t n, ActiveForward<T>& forward, T* gradient);
  void hidden_gradient(std::int64_t n, ActiveForward<T>& forward, T* gradient);

  std::int64_t inputs_, width_;
  ParameterLayout layout_;
  const Table<T>& table_;
  ThreadPool& pool_;
  MaskedProducts<T> products_;
  const T* parameters_ = nullptr;  // of the pass under way
  bool masked_ = false;            // whether the mixed units' products are masked ones
  UnitSelection<T> mixed_;
  UnitList positions_;           // (mixed,) among the evaluated units
  T* dz2_ = nullptr;             // (n, mixed), at first still h2; the forward half's where all are mixed
  Buffer<T> mixed_h2_;           // (batch, width)
  Buffer<T> dz1_;                // (batch, width)
  Buffer<T> dw3_, db2_;          // (mixed,)
  Buffer<T> weighted_;           // (width,) u
  Buffer<double> weighted_sum_;  // (width,) before it is rounded
  Buffer<T> partial_;            // (2, row tiles, width)
  std::vector<const T*> gradient_rows_;
  Buffer<T> gradient_scales_;  // (width,)
};

}  // namespace pn::cpu
