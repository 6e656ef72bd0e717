// One optimiser step over all parameters, fused with the penalty (kernels.md, section 4).
#pragma once

#include <cstdint>
#include <vector>

#include "core/adam.hpp"
#include "core/network.hpp"
#include "core/penalty.hpp"
#include "cpu/buffer.hpp"
#include "cpu/isa.hpp"
#include "cpu/kernel.hpp"
#include "cpu/levels/table.hpp"
#include "cpu/thread_pool.hpp"
#include "cpu/tiling.hpp"

namespace pn::cpu {

template <class T>
struct AdamState {
  T* p;               // parameters, updated
  const T* gradient;  // of the loss alone
  T *m, *v;           // moments, updated
};

// Step t on `size` numbers that belong to no network: the penalty, which is no path norm, and the weight decay apply to
// all of them.
template <class T>
void adam_step_flat(const AdamState<T>& state, std::int64_t size, const AdamSettings& settings, const Penalty& penalty,
                    std::int64_t t, Isa isa, ThreadPool& pool);

template <class T>
class AdamPass {
 public:
  // The pool outlives the pass.
  AdamPass(const NetworkShape& shape, const AdamSettings& settings, const Penalty& penalty, Isa isa, ThreadPool& pool);

  // Reads the parameters for the path norm's vectors. To be called before the first step and whenever somebody else has
  // changed the parameters.
  void prepare(const T* p);

  // All arrays: (layout.size,); t = 1 at the first step. w2 and listener: see kernel.hpp; the latter may be null.
  void step(const AdamState<T>& state, std::int64_t t, const RowGradient<T>& w2 = {}, RowListener* listener = nullptr);

  // A step that needs no `prepare` and leaves nothing prepared: for one step on parameters that are used only once.
  void step_alone(const AdamState<T>& state, std::int64_t t);

  // Gives every row at rest the moments that it has after step t.
  void settle(const AdamState<T>& state, std::int64_t t);

 private:
  struct Stretch {
    std::int64_t first, count;
    bool weight;
  };
  struct Step {
    AdamStep<T> scalars;
    std::int64_t t;
    bool may_rest;  // of rows of W2
    RowGradient<T> w2;
    RowListener* listener;
  };
  AdamStretch<T> part(const AdamState<T>& state, std::int64_t first, std::int64_t count) const;
  void add_stretches(const Tensor& tensor);
  void step_plain(const AdamState<T>& state, const Step& step);
  void step_path(const AdamState<T>& state, const Step& step);
  void update_stretches(std::size_t count, const AdamState<T>& state, const AdamStep<T>& step);
  AdamStretch<T> hidden_row(const AdamState<T>& state, const Step& step, std::int64_t unit) const;
  void update_hidden_rows(const AdamState<T>& state, const Step& step);
  void wake(const AdamStretch<T>& row, std::int64_t t, std::int64_t& rest_since);
  bool update_row_or_rest(const AdamState<T>& state, const Step& step, std::int64_t k);
  bool may_rest(std::int64_t t) const;
  void update_biases(const AdamState<T>& state, const AdamStep<T>& step);
  void update_output(const AdamState<T>& state, const AdamStep<T>& step);
  void update_first_weights(const AdamState<T>& state, const AdamStep<T>& step);
  void update_hidden_weights(const AdamState<T>& state, const Step& step);
  // row(unit, first column of its group, e: (width,) to add to) returns q of the unit.
  template <class RowFunction>
  void sum_over_hidden_rows(const RowFunction& row);
  void sum_columns();
  void column_norms(const T* p, std::int64_t first, std::int64_t last);
  void output_norms(const T* p);

  NetworkShape shape_;
  ParameterLayout layout_;
  AdamSettings settings_;
  Penalty penalty_;
  T path_factor_ = T(0);  // lambda times core's path_norm_factor
  const AdamRowFunctions<T>& functions_;
  ThreadPool& pool_;
  T l1_, twice_l2_;
  std::vector<Stretch> stretches_;  // of all tensors, W2 last, or of the biases alone under a path norm
  std::size_t without_w2_ = 0;      // how many of them are not W2's
  Tiling row_chunks_;               // of the rows of W2
  // Rows of W2 at rest, per unit of a dense network: the step that no longer changed them, or 0. Their moments stay as
  // that step left them, until a gradient wakes the row.
  std::vector<std::int64_t> rest_since_;
  Buffer<T> zeros_;  // (width,) a gradient
  // Path norm, per group: c_j = sum_i |w1_ji|, e_j = sum_k |w3_k| |W2_kj|, q_k = sum_j |W2_kj| c_j; each (groups,
  // width). With one hidden layer e_j = |w_j| and q_k = c_k.
  Buffer<T> c_, old_c_, e_, q_, old_w3_;
  Buffer<T> partial_e_;  // (groups, row chunks, width)
  Buffer<T> row_scale_;  // w1's shape: e_j throughout row j
};

}  // namespace pn::cpu
