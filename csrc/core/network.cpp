#include "core/network.hpp"

#include <limits>
#include <stdexcept>
#include <string>

namespace pn {
namespace {

constexpr std::int64_t kMaxParameters = std::int64_t{1} << 40;

void require_positive(std::int64_t value, const char* what) {
  if (value < 1) {
    throw std::invalid_argument(std::string(what) + " must be at least 1, got " + std::to_string(value));
  }
}

std::int64_t checked_product(std::int64_t a, std::int64_t b) {
  if (a != 0 && b > kMaxParameters / a) {
    throw std::invalid_argument("the network must have at most 2^40 parameters");
  }
  return a * b;
}

}  // namespace

void validate(const NetworkShape& shape) {
  require_positive(shape.inputs, "inputs");
  require_positive(shape.block_in, "block_in");
  require_positive(shape.width, "width");
  if (shape.inputs % shape.block_in != 0) {
    throw std::invalid_argument("block_in must divide inputs=" + std::to_string(shape.inputs) + ", got " +
                                std::to_string(shape.block_in));
  }
  if (shape.hidden_layers != 1 && shape.hidden_layers != 2) {
    throw std::invalid_argument("hidden_layers must be 1 or 2, got " + std::to_string(shape.hidden_layers));
  }
  if (shape.width > std::numeric_limits<std::int32_t>::max()) {
    throw std::invalid_argument("width must fit 32 bits, got " + std::to_string(shape.width));
  }
  const std::int64_t in = checked_product(checked_product(shape.groups(), shape.width), shape.block_in);
  const std::int64_t next = shape.hidden_layers == 2 ? shape.width : 0;
  const std::int64_t hidden = checked_product(checked_product(shape.groups(), shape.width), next);
  checked_product(in + hidden, 1);
}

ParameterLayout parameter_layout(const NetworkShape& shape) {
  validate(shape);
  ParameterLayout layout;
  layout.groups = shape.groups();
  const auto place = [&layout](std::int64_t rows, std::int64_t columns, bool weight) {
    const Tensor tensor{layout.size, rows, columns, weight};
    layout.size += layout.groups * rows * columns;
    return tensor;
  };
  layout.w1 = place(shape.width, shape.block_in, true);
  layout.b1 = place(shape.width, 1, false);
  if (shape.hidden_layers == 2) {
    layout.w2 = place(shape.width, shape.width, true);
    layout.b2 = place(shape.width, 1, false);
  }
  layout.output = place(shape.width, 1, true);
  return layout;
}

std::string_view name(Activation activation) {
  switch (activation) {
    case Activation::relu: return "relu";
    case Activation::tanh: return "tanh";
    case Activation::sigmoid: return "sigmoid";
  }
  return "unknown";
}

Activation parse_activation(std::string_view text) {
  for (const Activation a : {Activation::relu, Activation::tanh, Activation::sigmoid}) {
    if (text == name(a)) return a;
  }
  throw std::invalid_argument("activation must be one of 'relu', 'tanh', 'sigmoid', got '" + std::string(text) + "'");
}

}  // namespace pn
