#include "cpu/adam_pass.hpp"

#include <algorithm>
#include <cmath>

#include "core/penalty_gradient.hpp"

namespace pn::cpu {
namespace {

constexpr std::int64_t kStretch = 16384;  // elements of a task: four arrays of 64 KiB
constexpr std::int64_t kRowChunk = 64, kMostRowChunks = 16;

template <class T>
T l1_strength(const Penalty& penalty) {
  return penalty.kind == PenaltyKind::l1 ? static_cast<T>(penalty.strength) : T(0);
}

template <class T>
T twice_l2_strength(const Penalty& penalty) {
  return penalty.kind == PenaltyKind::l2 ? static_cast<T>(2 * penalty.strength) : T(0);
}

}  // namespace

template <class T>
void adam_step_flat(const AdamState<T>& state, std::int64_t size, const AdamSettings& settings, const Penalty& penalty,
                    std::int64_t t, Isa isa, ThreadPool& pool) {
  const auto& functions = table<T>(isa).adam;
  const AdamStep<T> step = adam_step<T>(settings, t);
  const Tiling chunks = Tiling::of(size, kStretch);
  pool.run(chunks.parts, [&](std::int64_t chunk, int) {
    const std::int64_t i = chunks.first(chunk);
    functions.update({state.p + i, state.gradient + i, state.m + i, state.v + i, chunks.count(chunk)}, step,
                     l1_strength<T>(penalty), twice_l2_strength<T>(penalty));
  });
}

template <class T>
AdamPass<T>::AdamPass(const NetworkShape& shape, const AdamSettings& settings, const Penalty& penalty, Isa isa,
                      ThreadPool& pool)
    : shape_(shape), layout_(parameter_layout(shape)), settings_(settings), penalty_(penalty),
      functions_(table<T>(isa).adam), pool_(pool), l1_(l1_strength<T>(penalty)),
      twice_l2_(twice_l2_strength<T>(penalty)) {
  validate(settings);
  const bool path = penalty_.kind == PenaltyKind::path_norm;
  for (const Tensor& tensor : {layout_.w1, layout_.b1, layout_.b2, layout_.output}) {
    if (!path || !tensor.weight) add_stretches(tensor);
  }
  without_w2_ = stretches_.size();
  if (!path) add_stretches(layout_.w2);
  row_chunks_ = Tiling::of(shape.width, std::max(kRowChunk, (shape.width + kMostRowChunks - 1) / kMostRowChunks));
  if (layout_.groups == 1 && shape.hidden_layers == 2) {
    rest_since_.resize(static_cast<std::size_t>(shape.width));
    zeros_ = Buffer<T>(shape.width);
  }
  if (!path) return;
  path_factor_ = static_cast<T>(penalty_.strength * path_norm_factor(shape));
  const std::int64_t units = shape.units();
  c_ = Buffer<T>(units);
  old_c_ = Buffer<T>(units);
  e_ = Buffer<T>(units);
  q_ = Buffer<T>(units);
  old_w3_ = Buffer<T>(units);
  row_scale_ = Buffer<T>(units * shape.block_in);
  if (shape.hidden_layers == 2) partial_e_ = Buffer<T>(layout_.groups * row_chunks_.parts * shape.width);
}

template <class T>
void AdamPass<T>::add_stretches(const Tensor& tensor) {
  const std::int64_t size = layout_.groups * tensor.rows * tensor.columns;
  for (std::int64_t first = 0; first < size; first += kStretch) {
    stretches_.push_back({tensor.offset + first, std::min(kStretch, size - first), tensor.weight});
  }
}

template <class T>
AdamStretch<T> AdamPass<T>::part(const AdamState<T>& s, std::int64_t first, std::int64_t count) const {
  return {s.p + first, s.gradient + first, s.m + first, s.v + first, count};
}

template <class T>
void AdamPass<T>::step(const AdamState<T>& state, std::int64_t t, const RowGradient<T>& w2, RowListener* listener) {
  const Step step{adam_step<T>(settings_, t), t, may_rest(t), w2, listener};
  if (penalty_.kind == PenaltyKind::path_norm) {
    step_path(state, step);
  } else {
    step_plain(state, step);
  }
}

template <class T>
void AdamPass<T>::step_plain(const AdamState<T>& state, const Step& step) {
  const bool by_rows = step.w2.row != nullptr || step.listener != nullptr;
  update_stretches(by_rows ? without_w2_ : stretches_.size(), state, step.scalars);
  if (by_rows) update_hidden_rows(state, step);
}

template <class T>
void AdamPass<T>::update_stretches(std::size_t count, const AdamState<T>& state, const AdamStep<T>& step) {
  AdamStep<T> bias_step = step;
  bias_step.retention = T(1);
  pool_.run(static_cast<std::int64_t>(count), [&](std::int64_t i, int) {
    const Stretch& s = stretches_[static_cast<std::size_t>(i)];
    functions_.update(part(state, s.first, s.count), s.weight ? step : bias_step, s.weight ? l1_ : T(0),
                      s.weight ? twice_l2_ : T(0));
  });
}

template <class T>
AdamStretch<T> AdamPass<T>::hidden_row(const AdamState<T>& state, const Step& step, std::int64_t unit) const {
  AdamStretch<T> row = part(state, layout_.w2.offset + unit * shape_.width, shape_.width);
  if (step.w2.row == nullptr) return row;
  const T* gradient = step.w2.row[unit];
  row.gradient = gradient != nullptr ? gradient : zeros_.data();
  row.scale = gradient != nullptr ? step.w2.scale[unit] : T(0);
  return row;
}

template <class T>
void AdamPass<T>::update_hidden_rows(const AdamState<T>& state, const Step& step) {
  const Tiling chunks = Tiling::of(shape_.width, std::max<std::int64_t>(1, kStretch / shape_.width));
  pool_.run(chunks.parts, [&](std::int64_t chunk, int) {
    for (std::int64_t k = chunks.first(chunk); k < chunks.first(chunk + 1); ++k) {
      const bool changed = update_row_or_rest(state, step, k);
      if (changed && step.listener != nullptr) step.listener->row_changed(k);
    }
  });
}

template <class T>
bool AdamPass<T>::may_rest(std::int64_t t) const {
  return penalty_.kind == PenaltyKind::none && idle_rows_may_rest(settings_, t);
}

template <class T>
bool AdamPass<T>::update_row_or_rest(const AdamState<T>& state, const Step& step, std::int64_t k) {
  const AdamStretch<T> row = hidden_row(state, step, k);
  std::int64_t& rest_since = rest_since_[static_cast<std::size_t>(k)];
  const bool idle = step.w2.row != nullptr && step.w2.row[k] == nullptr;
  if (idle && rest_since != 0) return false;
  if (rest_since != 0) wake(row, step.t - 1, rest_since);
  if (!idle || !step.may_rest) {
    functions_.update(row, step.scalars, l1_, twice_l2_);
    return true;
  }
  const bool changed = functions_.update_idle(row, step.scalars);
  if (!changed) rest_since = step.t;
  return changed;
}

// The moments of a row at rest as they would be after step t.
template <class T>
void AdamPass<T>::wake(const AdamStretch<T>& row, std::int64_t t, std::int64_t& rest_since) {
  const auto steps = static_cast<double>(t - rest_since);
  functions_.decay(row, static_cast<T>(std::pow(settings_.beta1, steps)),
                   static_cast<T>(std::pow(settings_.beta2, steps)));
  rest_since = 0;
}

template <class T>
void AdamPass<T>::settle(const AdamState<T>& state, std::int64_t t) {
  pool_.run(static_cast<std::int64_t>(rest_since_.size()), [&](std::int64_t k, int) {
    std::int64_t& rest_since = rest_since_[static_cast<std::size_t>(k)];
    if (rest_since != 0) wake(part(state, layout_.w2.offset + k * shape_.width, shape_.width), t, rest_since);
  });
}

template <class T>
void AdamPass<T>::step_path(const AdamState<T>& state, const Step& step) {
  update_biases(state, step.scalars);
  update_output(state, step.scalars);
  std::copy_n(c_.data(), shape_.units(), old_c_.data());
  update_first_weights(state, step.scalars);
  if (shape_.hidden_layers == 2) {
    update_hidden_weights(state, step);
  } else {
    output_norms(state.p);
  }
}

// Every gradient needs old values alone, and the vectors of W2 are sums of the values that its pass reads: W2 first.
template <class T>
void AdamPass<T>::step_alone(const AdamState<T>& state, std::int64_t t) {
  if (penalty_.kind != PenaltyKind::path_norm) {
    step(state, t);
    return;
  }
  const Step step{adam_step<T>(settings_, t), t, false, {}, nullptr};
  update_biases(state, step.scalars);
  column_norms(state.p, 0, shape_.units());
  if (shape_.hidden_layers == 2) {
    const T* w3 = state.p + layout_.output.offset;
    sum_over_hidden_rows([&](std::int64_t unit, std::int64_t first_column, T* e) {
      const T size = std::abs(w3[unit]);
      return functions_.update_path_old_sums(hidden_row(state, step, unit), step.scalars, path_factor_ * size,
                                             c_.data() + first_column, size, e);
    });
  } else {
    output_norms(state.p);
  }
  update_output(state, step.scalars);
  update_first_weights(state, step.scalars);
}

template <class T>
void AdamPass<T>::update_biases(const AdamState<T>& state, const AdamStep<T>& step) {
  AdamStep<T> bias_step = step;
  bias_step.retention = T(1);
  for (const Stretch& s : stretches_) functions_.update(part(state, s.first, s.count), bias_step, T(0), T(0));
}

template <class T>
void AdamPass<T>::update_output(const AdamState<T>& state, const AdamStep<T>& step) {
  const T* w3 = state.p + layout_.output.offset;
  for (std::int64_t k = 0; k < shape_.units(); ++k) old_w3_[k] = std::abs(w3[k]);
  functions_.update_path(part(state, layout_.output.offset, shape_.units()), step, path_factor_, q_.data());
}

// w1: every row j has the one factor lambda e_j / d, as the L1 penalty has; then c of the new values.
template <class T>
void AdamPass<T>::update_first_weights(const AdamState<T>& state, const AdamStep<T>& step) {
  const std::int64_t in = shape_.block_in;
  const Tiling chunks = Tiling::of(shape_.units(), std::max<std::int64_t>(1, kStretch / in));
  pool_.run(chunks.parts, [&](std::int64_t chunk, int) {
    const std::int64_t first = chunks.first(chunk), last = chunks.first(chunk + 1);
    const AdamStretch<T> rows = part(state, layout_.w1.offset + first * in, (last - first) * in);
    T* scale = row_scale_.data() + first * in;
    for (std::int64_t j = first; j < last; ++j) scale = std::fill_n(scale, in, e_[j]);
    functions_.update_path(rows, step, path_factor_, row_scale_.data() + first * in);
    column_norms(state.p, first, last);
  });
}

template <class T>
template <class RowFunction>
void AdamPass<T>::sum_over_hidden_rows(const RowFunction& row) {
  const std::int64_t width = shape_.width;
  pool_.run(layout_.groups * row_chunks_.parts, [&](std::int64_t task, int) {
    const std::int64_t group = task / row_chunks_.parts, chunk = task % row_chunks_.parts;
    T* e = partial_e_.data() + task * width;
    std::fill_n(e, width, T(0));
    for (std::int64_t k = row_chunks_.first(chunk); k < row_chunks_.first(chunk + 1); ++k) {
      const std::int64_t unit = group * width + k;
      q_[unit] = row(unit, group * width, e);
    }
  });
  sum_columns();
}

template <class T>
void AdamPass<T>::update_hidden_weights(const AdamState<T>& state, const Step& step) {
  const T* w3 = state.p + layout_.output.offset;
  sum_over_hidden_rows([&](std::int64_t unit, std::int64_t first_column, T* e) {
    const T q =
        functions_.update_path_sums(hidden_row(state, step, unit), step.scalars, path_factor_ * old_w3_[unit],
                                    old_c_.data() + first_column, c_.data() + first_column, std::abs(w3[unit]), e);
    if (step.listener != nullptr) step.listener->row_changed(unit);
    return q;
  });
}

template <class T>
void AdamPass<T>::sum_columns() {
  const std::int64_t width = shape_.width;
  for (std::int64_t group = 0; group < layout_.groups; ++group) {
    T* e = e_.data() + group * width;
    const T* partial = partial_e_.data() + group * row_chunks_.parts * width;
    std::copy_n(partial, width, e);
    for (std::int64_t chunk = 1; chunk < row_chunks_.parts; ++chunk) {
      for (std::int64_t j = 0; j < width; ++j) e[j] += partial[chunk * width + j];
    }
  }
}

template <class T>
void AdamPass<T>::column_norms(const T* p, std::int64_t first, std::int64_t last) {
  const T* w1 = p + layout_.w1.offset;
  for (std::int64_t j = first; j < last; ++j) {
    T sum = T(0);
    for (std::int64_t i = 0; i < shape_.block_in; ++i) sum += std::abs(w1[j * shape_.block_in + i]);
    c_[j] = sum;
  }
}

template <class T>
void AdamPass<T>::prepare(const T* p) {
  if (penalty_.kind != PenaltyKind::path_norm) return;
  column_norms(p, 0, shape_.units());
  if (shape_.hidden_layers == 1) {
    output_norms(p);
    return;
  }
  const T* w3 = p + layout_.output.offset;
  sum_over_hidden_rows([&](std::int64_t unit, std::int64_t first_column, T* e) {
    return functions_.path_sums(p + layout_.w2.offset + unit * shape_.width, shape_.width, c_.data() + first_column,
                                std::abs(w3[unit]), e);
  });
}

// With one hidden layer.
template <class T>
void AdamPass<T>::output_norms(const T* p) {
  const T* w = p + layout_.output.offset;
  for (std::int64_t k = 0; k < shape_.units(); ++k) e_[k] = std::abs(w[k]);
  std::copy_n(c_.data(), shape_.units(), q_.data());
}

template void adam_step_flat(const AdamState<float>&, std::int64_t, const AdamSettings&, const Penalty&, std::int64_t,
                             Isa, ThreadPool&);
template void adam_step_flat(const AdamState<double>&, std::int64_t, const AdamSettings&, const Penalty&, std::int64_t,
                             Isa, ThreadPool&);
template class AdamPass<float>;
template class AdamPass<double>;

}  // namespace pn::cpu
