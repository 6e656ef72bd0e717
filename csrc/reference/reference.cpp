#include "reference/reference.hpp"

#include <algorithm>
#include <cmath>
#include <span>

namespace pn::reference {
namespace {

using Values = std::vector<double>;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

double act(Activation a, double z) {
  switch (a) {
    case Activation::relu: return z > 0.0 || std::isnan(z) ? z : 0.0;
    case Activation::tanh: return std::tanh(z);
    case Activation::sigmoid: return 1.0 / (1.0 + std::exp(-z));
  }
  return z;
}

double derivative(Activation a, double z) {
  switch (a) {
    case Activation::relu: return z > 0.0 ? 1.0 : 0.0;
    case Activation::tanh: return 1.0 - std::tanh(z) * std::tanh(z);
    case Activation::sigmoid: return act(a, z) * (1.0 - act(a, z));
  }
  return 1.0;
}

// A fully connected layer z = W h + b; W: (out, in).
Values affine(std::span<const double> w, std::span<const double> b, const Values& h) {
  Values z(b.begin(), b.end());
  for (std::size_t k = 0; k < z.size(); ++k) {
    for (std::size_t j = 0; j < h.size(); ++j) z[k] += w[k * h.size() + j] * h[j];
  }
  return z;
}

Values activate(Activation a, const Values& z) {
  Values h(z.size());
  for (std::size_t k = 0; k < z.size(); ++k) h[k] = act(a, z[k]);
  return h;
}

// Gradient of a layer from dz; returns dh of its input.
Values backward(std::span<const double> w, const Values& h, const Values& dz, std::span<double> dw,
                std::span<double> db) {
  Values dh(h.size(), 0.0);
  for (std::size_t k = 0; k < dz.size(); ++k) {
    db[k] += dz[k];
    for (std::size_t j = 0; j < h.size(); ++j) {
      dw[k * h.size() + j] += dz[k] * h[j];
      dh[j] += w[k * h.size() + j] * dz[k];
    }
  }
  return dh;
}

// One block of a network: the tensors of its set of weights, and its inputs within a row.
class Block {
 public:
  Block(const NetworkShape& shape, std::int64_t block)
      : shape_(shape), layout_(parameter_layout(shape)), group_(shape.shared ? 0 : block),
        first_input_(block * shape.block_in) {}

  struct Trace {
    Values x, z1, h1, z2, h2;  // z2, h2 are empty with one hidden layer
  };

  Trace run(const double* p, const double* row) const {
    Trace t;
    t.x.assign(row + first_input_, row + first_input_ + shape_.block_in);
    t.z1 = affine(part(p, layout_.w1), part(p, layout_.b1), t.x);
    t.h1 = activate(shape_.activation, t.z1);
    if (shape_.hidden_layers == 2) {
      t.z2 = affine(part(p, layout_.w2), part(p, layout_.b2), t.h1);
      t.h2 = activate(shape_.activation, t.z2);
    }
    return t;
  }

  double output(const double* p, const Trace& t) const {
    const Values& h = shape_.hidden_layers == 2 ? t.h2 : t.h1;
    const auto w = part(p, layout_.output);
    double sum = 0.0;
    for (std::size_t k = 0; k < h.size(); ++k) sum += w[k] * h[k];
    return sum;
  }

  void add_gradient(const double* p, const Trace& t, double residual, double* g) const {
    const bool two = shape_.hidden_layers == 2;
    const Values& h = two ? t.h2 : t.h1;
    const Values& z = two ? t.z2 : t.z1;
    const auto w = part(p, layout_.output);
    const auto dw = part(g, layout_.output);
    Values dz(h.size());
    for (std::size_t k = 0; k < h.size(); ++k) {
      dw[k] += residual * h[k];
      dz[k] = residual * w[k] * derivative(shape_.activation, z[k]);
    }
    if (two) {
      dz = backward(part(p, layout_.w2), t.h1, dz, part(g, layout_.w2), part(g, layout_.b2));
      for (std::size_t j = 0; j < dz.size(); ++j) dz[j] *= derivative(shape_.activation, t.z1[j]);
    }
    backward(part(p, layout_.w1), t.x, dz, part(g, layout_.w1), part(g, layout_.b1));
  }

 private:
  template <class P>
  std::span<P> part(P* flat, const Tensor& tensor) const {
    const std::int64_t size = tensor.rows * tensor.columns;
    return {flat + tensor.offset + group_ * size, index(size)};
  }

  NetworkShape shape_;
  ParameterLayout layout_;
  std::int64_t group_, first_input_;
};

double sign_of(double w) { return w > 0.0 ? 1.0 : (w < 0.0 ? -1.0 : 0.0); }

// Calls visit(w1's place, W2's place or -1, w3's place) for every path of every set of weights.
template <class Visit>
void for_paths(const NetworkShape& shape, Visit visit) {
  const ParameterLayout l = parameter_layout(shape);
  const std::int64_t width = shape.width;
  for (std::int64_t g = 0; g < l.groups; ++g) {
    for (std::int64_t j = 0; j < width; ++j) {
      for (std::int64_t i = 0; i < shape.block_in; ++i) {
        const std::int64_t w1 = l.w1.offset + (g * width + j) * shape.block_in + i;
        if (shape.hidden_layers == 1) {
          visit(w1, -1, l.output.offset + g * width + j);
          continue;
        }
        for (std::int64_t k = 0; k < width; ++k) {
          visit(w1, l.w2.offset + (g * width + k) * width + j, l.output.offset + g * width + k);
        }
      }
    }
  }
}

// A weight-shared network has the path norm of the dense network that embeds it: each path once per block.
double path_weight(const NetworkShape& shape) {
  return (shape.shared ? static_cast<double>(shape.blocks()) : 1.0) / static_cast<double>(shape.inputs);
}

double add_path_norm(const NetworkShape& shape, double strength, const double* p, double* g) {
  const double scale = strength * path_weight(shape);
  for_paths(shape, [&](std::int64_t w1, std::int64_t w2, std::int64_t w3) {
    const double a = std::abs(p[w1]), b = w2 < 0 ? 1.0 : std::abs(p[w2]), c = std::abs(p[w3]);
    g[w1] += scale * sign_of(p[w1]) * b * c;
    if (w2 >= 0) g[w2] += scale * a * sign_of(p[w2]) * c;
    g[w3] += scale * a * b * sign_of(p[w3]);
  });
  return strength * path_norm(shape, p);
}

double add_penalty(const NetworkShape& shape, const Penalty& penalty, const double* p, double* g) {
  if (penalty.kind == PenaltyKind::path_norm) return add_path_norm(shape, penalty.strength, p, g);
  const ParameterLayout layout = parameter_layout(shape);
  double sum = 0.0;
  for (const Tensor& t : layout.tensors()) {
    if (!t.weight) continue;
    for (std::int64_t at = t.offset; at < t.offset + layout.groups * t.rows * t.columns; ++at) {
      const double w = p[at];
      if (penalty.kind == PenaltyKind::l1) {
        sum += std::abs(w);
        g[at] += penalty.strength * sign_of(w);
      } else if (penalty.kind == PenaltyKind::l2) {
        sum += w * w;
        g[at] += 2.0 * penalty.strength * w;
      }
    }
  }
  return penalty.strength * sum;
}

// What one row does to the counts: Trace's layers in order.
void note(const Values& z, std::int64_t first_unit, std::vector<char>& positive, std::vector<char>& nonpositive) {
  for (std::size_t u = 0; u < z.size(); ++u) (z[u] > 0.0 ? positive : nonpositive)[index(first_unit) + u] = 1;
}

}  // namespace

void forward(const NetworkShape& shape, const double* parameters, const Rows& rows, double* prediction) {
  for (std::int64_t b = 0; b < rows.count; ++b) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < shape.blocks(); ++i) {
      const Block block(shape, i);
      sum += block.output(parameters, block.run(parameters, rows.x + b * shape.inputs));
    }
    prediction[b] = sum / static_cast<double>(shape.inputs);
  }
}

double loss_and_gradient(const NetworkShape& shape, const double* parameters, const Rows& rows, const Penalty& penalty,
                         double* gradient) {
  std::fill_n(gradient, parameter_layout(shape).size, 0.0);
  const double n = static_cast<double>(rows.count), d = static_cast<double>(shape.inputs);
  double sum = 0.0;
  for (std::int64_t b = 0; b < rows.count; ++b) {
    double prediction = 0.0;
    const double* row = rows.x + b * shape.inputs;
    forward(shape, parameters, {row, nullptr, 1}, &prediction);
    const double error = prediction - rows.y[b];
    sum += error * error;
    for (std::int64_t i = 0; i < shape.blocks(); ++i) {
      const Block block(shape, i);
      block.add_gradient(parameters, block.run(parameters, row), 2.0 * error / (n * d), gradient);
    }
  }
  return sum / n + add_penalty(shape, penalty, parameters, gradient);
}

double path_norm(const NetworkShape& shape, const double* p) {
  double sum = 0.0;
  for_paths(shape, [&](std::int64_t w1, std::int64_t w2, std::int64_t w3) {
    sum += std::abs(p[w1]) * (w2 < 0 ? 1.0 : std::abs(p[w2])) * std::abs(p[w3]);
  });
  return sum * path_weight(shape);
}

void adam(const NetworkShape& shape, const AdamSettings& s, std::int64_t t, const double* gradient, double* parameters,
          double* m, double* v) {
  const ParameterLayout layout = parameter_layout(shape);
  const double steps = static_cast<double>(t);
  const double rate = s.learning_rate / (1.0 + s.decay * (steps - 1.0));
  const double unbias1 = 1.0 - std::pow(s.beta1, steps), unbias2 = 1.0 - std::pow(s.beta2, steps);
  for (const Tensor& tensor : layout.tensors()) {
    for (std::int64_t at = tensor.offset; at < tensor.offset + layout.groups * tensor.rows * tensor.columns; ++at) {
      m[at] = s.beta1 * m[at] + (1.0 - s.beta1) * gradient[at];
      v[at] = s.beta2 * v[at] + (1.0 - s.beta2) * gradient[at] * gradient[at];
      if (tensor.weight) parameters[at] -= rate * s.weight_decay * parameters[at];
      if (s.epsilon_placement == EpsilonPlacement::corrected) {
        parameters[at] -= rate * (m[at] / unbias1) / (std::sqrt(v[at] / unbias2) + s.epsilon);
      } else {
        parameters[at] -= rate * std::sqrt(unbias2) / unbias1 * m[at] / (std::sqrt(v[at]) + s.epsilon);
      }
    }
  }
}

ReferenceEngine::ReferenceEngine(const NetworkShape& shape, const AdamSettings& adam, const Penalty& penalty,
                                 EngineData data, std::vector<double> initial)
    : shape_(shape), adam_(adam), penalty_(penalty), data_(std::move(data)), parameters_(std::move(initial)),
      best_(parameters_), m_(parameters_.size()), v_(parameters_.size()), gradient_(parameters_.size()) {
  validate(adam_);
}

void ReferenceEngine::restore(std::vector<double> m, std::vector<double> v, std::vector<double> best) {
  m_ = std::move(m);
  v_ = std::move(v);
  best_ = std::move(best);
}

void ReferenceEngine::begin_epoch(const std::uint32_t* order) {
  order_ = order;
  epoch_loss_ = 0.0;
}

void ReferenceEngine::step(std::int64_t first, std::int64_t count, std::int64_t t) {
  Values x, y;
  for (std::int64_t b = first; b < first + count; ++b) {
    const double* row = data_.train_x.data() + static_cast<std::int64_t>(order_[b]) * shape_.inputs;
    x.insert(x.end(), row, row + shape_.inputs);
    y.push_back(data_.train_y[order_[b]]);
  }
  const Rows rows{x.data(), y.data(), count};
  epoch_loss_ += loss_and_gradient(shape_, parameters_.data(), rows, Penalty{}, gradient_.data());
  add_penalty(shape_, penalty_, parameters_.data(), gradient_.data());
  adam(shape_, adam_, t, gradient_.data(), parameters_.data(), m_.data(), v_.data());
}

Evaluation ReferenceEngine::evaluate(Split split, const ShouldStop& stop) {
  const Values& x = split == Split::train ? data_.train_x : data_.validation_x;
  const Values& y = split == Split::train ? data_.train_y : data_.validation_y;
  std::array<std::vector<char>, kMaxHiddenLayers> positive, nonpositive;
  for (std::vector<char>& layer : positive) layer.assign(index(shape_.units()), 0);
  nonpositive = positive;
  Evaluation result;
  for (std::size_t b = 0; b < y.size() && !stop(); ++b) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < shape_.blocks(); ++i) {
      const Block block(shape_, i);
      const auto trace = block.run(parameters_.data(), x.data() + b * index(shape_.inputs));
      sum += block.output(parameters_.data(), trace);
      const std::int64_t unit = shape_.shared ? 0 : i * shape_.width;
      note(trace.z1, unit, positive[0], nonpositive[0]);
      note(trace.z2, unit, positive[1], nonpositive[1]);
    }
    const double error = sum / static_cast<double>(shape_.inputs) - y[b];
    result.mse += error * error / static_cast<double>(y.size());
  }
  for (std::size_t l = 0; l < index(shape_.hidden_layers); ++l) {
    for (std::size_t u = 0; u < positive[l].size(); ++u) {
      const bool relu = shape_.activation == Activation::relu;
      if (relu && !positive[l][u]) {
        ++result.units[l].dead;
      } else if (relu && !nonpositive[l][u]) {
        ++result.units[l].on;
      } else {
        ++result.units[l].mixed;
      }
    }
  }
  return result;
}

}  // namespace pn::reference
