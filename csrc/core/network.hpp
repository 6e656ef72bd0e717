// What a network is, for every backend: a stack of equal blocks of one or two hidden layers.
//
//   local (LN)              shared block, one for all inputs
//   locally connected (LCN) a block per input
//   global (GN)             one block that sees every input: blocks() == 1, block_in == inputs
//
// The undivided output is the sum over blocks of  w3 . act(W2 act(W1 x + b1) + b2); f = output / inputs.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace pn {

enum class Activation : std::int32_t { relu, tanh, sigmoid };

struct NetworkShape {
  std::int64_t inputs = 1;    // d
  std::int64_t block_in = 1;  // inputs that one block sees
  std::int64_t width = 1;     // units of a block in each hidden layer
  bool shared = false;        // one set of weights for all blocks
  std::int32_t hidden_layers = 2;
  Activation activation = Activation::relu;

  std::int64_t blocks() const { return inputs / block_in; }
  std::int64_t groups() const { return shared ? 1 : blocks(); }  // sets of weights
  std::int64_t units() const { return groups() * width; }        // units of one hidden layer
};

// One tensor of a network inside its flat parameter vector: (groups, rows, columns), C order.
struct Tensor {
  std::int64_t offset = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool weight = true;  // penalties apply to weights, never to biases
};

// The flat parameter vector: w1 | b1 | w2 | b2 | w3 for two hidden layers, w1 | b1 | w2 for one.
struct ParameterLayout {
  Tensor w1;      // w1: (groups, width, block_in) [out, in]
  Tensor b1;      // b1: (groups, width)
  Tensor w2;      // w2: (groups, width, width) [out, in]; absent with one hidden layer
  Tensor b2;      // b2: (groups, width); absent with one hidden layer
  Tensor output;  // w3 (w2 with one hidden layer): (groups, width)
  std::int64_t groups = 0;
  std::int64_t size = 0;

  // The tensors that exist, in storage order; unused entries have rows == 0.
  std::array<Tensor, 5> tensors() const { return {w1, b1, w2, b2, output}; }
};

// Throws std::invalid_argument where an extent is impossible or the parameters' count overflows.
void validate(const NetworkShape& shape);
ParameterLayout parameter_layout(const NetworkShape& shape);

std::string_view name(Activation activation);
Activation parse_activation(std::string_view text);

}  // namespace pn
