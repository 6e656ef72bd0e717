#include "cpu/adam_pass.hpp"

#include <algorithm>
#include <cmath>

#include "core/penalty_gradient.hpp"

namespace pn::cpu {
namespace {

constexpr std::int64_t kStretch = 16384;  // elements of a task: four arrays of 64 KiB
constexpr std::int64_t kRowChunk = 64, kMostRowChunks = 16;

}  // namespace

template <class T>
AdamPass<T>::AdamPass(const NetworkShape& shape, const AdamSettings& settings, const Penalty& penalty, Isa isa,
                      ThreadPool& pool)
    : shape_(shape), layout_(parameter_layout(shape)), settings_(settings), penalty_(penalty),
      functions_(table<T>(isa).adam), pool_(pool) {
  validate(settings);
  const bool path = penalty_.kind == PenaltyKind::path_norm;
  for (const Tensor& tensor : layout_.tensors()) {
    if (!path || !tensor.weight) add_stretches(tensor);
  }
  if (!path) return;
  path_factor_ = static_cast<T>(penalty_.strength * path_norm_factor(shape));
  const std::int64_t units = shape.units();
  c_ = Buffer<T>(units);
  old_c_ = Buffer<T>(units);
  e_ = Buffer<T>(units);
  q_ = Buffer<T>(units);
  old_w3_ = Buffer<T>(units);
  row_chunks_ = Tiling::of(shape.width, std::max(kRowChunk, (shape.width + kMostRowChunks - 1) / kMostRowChunks));
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
void AdamPass<T>::step(const AdamState<T>& state, std::int64_t t) {
  const AdamStep<T> scalars = adam_step<T>(settings_, t);
  if (penalty_.kind == PenaltyKind::path_norm) {
    step_path(state, scalars);
  } else {
    step_plain(state, scalars);
  }
}

template <class T>
void AdamPass<T>::step_plain(const AdamState<T>& state, const AdamStep<T>& step) {
  const T l1 = penalty_.kind == PenaltyKind::l1 ? static_cast<T>(penalty_.strength) : T(0);
  const T twice_l2 = penalty_.kind == PenaltyKind::l2 ? static_cast<T>(2 * penalty_.strength) : T(0);
  AdamStep<T> bias_step = step;
  bias_step.retention = T(1);
  pool_.run(static_cast<std::int64_t>(stretches_.size()), [&](std::int64_t i, int) {
    const Stretch& s = stretches_[static_cast<std::size_t>(i)];
    functions_.update(part(state, s.first, s.count), s.weight ? step : bias_step, s.weight ? l1 : T(0),
                      s.weight ? twice_l2 : T(0));
  });
}

template <class T>
void AdamPass<T>::step_path(const AdamState<T>& state, const AdamStep<T>& step) {
  AdamStep<T> bias_step = step;
  bias_step.retention = T(1);
  for (const Stretch& s : stretches_) functions_.update(part(state, s.first, s.count), bias_step, T(0), T(0));
  const std::int64_t units = shape_.units();
  const T* w3 = state.p + layout_.output.offset;
  for (std::int64_t k = 0; k < units; ++k) old_w3_[k] = std::abs(w3[k]);
  functions_.update_path(part(state, layout_.output.offset, units), step, path_factor_, q_.data());
  update_first_weights(state, step);
  std::copy_n(c_.data(), units, old_c_.data());
  column_norms(state.p);
  if (shape_.hidden_layers == 2) {
    update_hidden_weights(state, step);
    sum_columns();
  } else {
    for (std::int64_t k = 0; k < units; ++k) e_[k] = std::abs(w3[k]);
    std::copy_n(c_.data(), units, q_.data());
  }
}

// w1: every row j has the one factor lambda e_j / d, as the L1 penalty has.
template <class T>
void AdamPass<T>::update_first_weights(const AdamState<T>& state, const AdamStep<T>& step) {
  const AdamStretch<T> all = part(state, layout_.w1.offset, shape_.units() * shape_.block_in);
  if (shape_.block_in == 1) {
    functions_.update_path(all, step, path_factor_, e_.data());
    return;
  }
  for (std::int64_t j = 0; j < shape_.units(); ++j) {
    const std::int64_t first = layout_.w1.offset + j * shape_.block_in;
    functions_.update(part(state, first, shape_.block_in), step, path_factor_ * e_[j], T(0));
  }
}

template <class T>
void AdamPass<T>::update_hidden_weights(const AdamState<T>& state, const AdamStep<T>& step) {
  const std::int64_t width = shape_.width;
  pool_.run(layout_.groups * row_chunks_.parts, [&](std::int64_t task, int) {
    const std::int64_t group = task / row_chunks_.parts, chunk = task % row_chunks_.parts;
    T* e = partial_e_.data() + task * width;
    std::fill_n(e, width, T(0));
    const T* old_c = old_c_.data() + group * width;
    const T* new_c = c_.data() + group * width;
    for (std::int64_t k = row_chunks_.first(chunk); k < row_chunks_.first(chunk + 1); ++k) {
      const std::int64_t unit = group * width + k;
      const T new_w3 = std::abs(state.p[layout_.output.offset + unit]);
      q_[unit] = functions_.update_path_sums(part(state, layout_.w2.offset + unit * width, width), step,
                                             path_factor_ * old_w3_[unit], old_c, new_c, new_w3, e);
    }
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
void AdamPass<T>::column_norms(const T* p) {
  const T* w1 = p + layout_.w1.offset;
  for (std::int64_t j = 0; j < shape_.units(); ++j) {
    T sum = T(0);
    for (std::int64_t i = 0; i < shape_.block_in; ++i) sum += std::abs(w1[j * shape_.block_in + i]);
    c_[j] = sum;
  }
}

template <class T>
void AdamPass<T>::prepare(const T* p) {
  if (penalty_.kind != PenaltyKind::path_norm) return;
  const std::int64_t width = shape_.width;
  const T* w3 = p + layout_.output.offset;
  column_norms(p);
  if (shape_.hidden_layers == 1) {
    for (std::int64_t k = 0; k < shape_.units(); ++k) e_[k] = std::abs(w3[k]);
    std::copy_n(c_.data(), shape_.units(), q_.data());
    return;
  }
  std::fill_n(e_.data(), e_.size(), T(0));
  for (std::int64_t unit = 0; unit < shape_.units(); ++unit) {
    const std::int64_t base = unit / width * width;
    const T* row = p + layout_.w2.offset + unit * width;
    T q = T(0);
    for (std::int64_t j = 0; j < width; ++j) {
      q += std::abs(row[j]) * c_[base + j];
      e_[base + j] += std::abs(w3[unit]) * std::abs(row[j]);
    }
    q_[unit] = q;
  }
}

template class AdamPass<float>;
template class AdamPass<double>;

}  // namespace pn::cpu
