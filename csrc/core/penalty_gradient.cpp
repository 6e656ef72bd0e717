#include "core/penalty_gradient.hpp"

#include <cmath>
#include <vector>

namespace pn {
namespace {

// The vectors of one set of weights: c_j = sum_i |w1_ji|, e_j = sum_k |w3_k| |W2_kj|, q_k = sum_j |W2_kj| c_j; with one
// hidden layer e_j = |w_j| and q_k = c_k.
struct PathVectors {
  std::vector<double> c, e, q;
};

template <class T>
double magnitude(T value) {
  return std::abs(static_cast<double>(value));
}

template <class T>
PathVectors path_vectors(const NetworkShape& shape, const ParameterLayout& layout, const T* p, std::int64_t group) {
  const auto width = static_cast<std::size_t>(shape.width), in = static_cast<std::size_t>(shape.block_in);
  const T* w1 = p + layout.w1.offset + group * shape.width * shape.block_in;
  const T* w3 = p + layout.output.offset + group * shape.width;
  PathVectors v{std::vector<double>(width), std::vector<double>(width), std::vector<double>(width)};
  for (std::size_t j = 0; j < width; ++j) {
    for (std::size_t i = 0; i < in; ++i) v.c[j] += magnitude(w1[j * in + i]);
  }
  if (shape.hidden_layers == 1) {
    for (std::size_t j = 0; j < width; ++j) v.e[j] = magnitude(w3[j]);
    v.q = v.c;
    return v;
  }
  const T* w2 = p + layout.w2.offset + group * shape.width * shape.width;
  for (std::size_t k = 0; k < width; ++k) {
    for (std::size_t j = 0; j < width; ++j) {
      const double size = magnitude(w2[k * width + j]);
      v.q[k] += size * v.c[j];
      v.e[j] += magnitude(w3[k]) * size;
    }
  }
  return v;
}

template <class T>
void add_path_norm_gradient(const NetworkShape& shape, double factor, const T* p, T* gradient) {
  const ParameterLayout layout = parameter_layout(shape);
  const auto width = static_cast<std::size_t>(shape.width), in = static_cast<std::size_t>(shape.block_in);
  for (std::int64_t group = 0; group < layout.groups; ++group) {
    const PathVectors v = path_vectors(shape, layout, p, group);
    const auto add = [&](std::int64_t at, double scale) { gradient[at] += static_cast<T>(scale * sign(p[at])); };
    const std::int64_t unit = group * shape.width;
    for (std::size_t j = 0; j < width; ++j) {
      const auto row = unit + static_cast<std::int64_t>(j);
      for (std::size_t i = 0; i < in; ++i) {
        add(layout.w1.offset + row * shape.block_in + static_cast<std::int64_t>(i), factor * v.e[j]);
      }
      const double w3 = magnitude(p[layout.output.offset + row]);
      for (std::size_t i = 0; shape.hidden_layers == 2 && i < width; ++i) {
        add(layout.w2.offset + row * shape.width + static_cast<std::int64_t>(i), factor * w3 * v.c[i]);
      }
      add(layout.output.offset + row, factor * v.q[j]);
    }
  }
}

template <class T, class Body>
void for_weights(const NetworkShape& shape, Body body) {
  const ParameterLayout layout = parameter_layout(shape);
  for (const Tensor& tensor : layout.tensors()) {
    if (!tensor.weight) continue;
    const std::int64_t end = tensor.offset + layout.groups * tensor.rows * tensor.columns;
    for (std::int64_t at = tensor.offset; at < end; ++at) body(at);
  }
}

}  // namespace

double path_norm_factor(const NetworkShape& shape) {
  return static_cast<double>(shape.shared ? shape.blocks() : 1) / static_cast<double>(shape.inputs);
}

template <class T>
double path_norm(const NetworkShape& shape, const T* parameters) {
  const ParameterLayout layout = parameter_layout(shape);
  double sum = 0.0;
  for (std::int64_t group = 0; group < layout.groups; ++group) {
    const PathVectors v = path_vectors(shape, layout, parameters, group);
    const T* w3 = parameters + layout.output.offset + group * shape.width;
    for (std::size_t k = 0; k < v.q.size(); ++k) sum += magnitude(w3[k]) * v.q[k];
  }
  return sum * path_norm_factor(shape);
}

template <class T>
double penalty_value(const NetworkShape& shape, const Penalty& penalty, const T* parameters) {
  double sum = 0.0;
  switch (penalty.kind) {
    case PenaltyKind::none: return 0.0;
    case PenaltyKind::path_norm: return penalty.strength * path_norm(shape, parameters);
    case PenaltyKind::l1: for_weights<T>(shape, [&](std::int64_t at) { sum += magnitude(parameters[at]); }); break;
    case PenaltyKind::l2:
      for_weights<T>(shape, [&](std::int64_t at) { sum += magnitude(parameters[at]) * magnitude(parameters[at]); });
      break;
  }
  return penalty.strength * sum;
}

template <class T>
void add_penalty_gradient(const NetworkShape& shape, const Penalty& penalty, const T* parameters, T* gradient) {
  const T strength = static_cast<T>(penalty.strength);
  switch (penalty.kind) {
    case PenaltyKind::none: return;
    case PenaltyKind::path_norm:
      return add_path_norm_gradient(shape, penalty.strength * path_norm_factor(shape), parameters, gradient);
    case PenaltyKind::l1:
      return for_weights<T>(shape, [&](std::int64_t at) { gradient[at] += strength * sign(parameters[at]); });
    case PenaltyKind::l2:
      return for_weights<T>(shape, [&](std::int64_t at) { gradient[at] += T(2) * strength * parameters[at]; });
  }
}

template double path_norm(const NetworkShape&, const float*);
template double path_norm(const NetworkShape&, const double*);
template double penalty_value(const NetworkShape&, const Penalty&, const float*);
template double penalty_value(const NetworkShape&, const Penalty&, const double*);
template void add_penalty_gradient(const NetworkShape&, const Penalty&, const float*, float*);
template void add_penalty_gradient(const NetworkShape&, const Penalty&, const double*, double*);

}  // namespace pn
