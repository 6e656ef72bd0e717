// Steps of the optimiser on all parameters of a network, for a profiler that counts instructions within `counted_step`
// alone; bench/instructions.py runs it.
//   count_adam WAY NETWORK D PENALTY COUNTED PARAMETERS
// WAY: "separate", the penalty's gradient is added to that of the loss, and Adam without a penalty comes after it;
// "vectors", the path norm's vectors in a pass of their own, the rest in one; "one", as training does it.
// PARAMETERS: a file of float32, flat.
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/penalty_gradient.hpp"
#include "core/random.hpp"
#include "cpu/adam_pass.hpp"
#include "protocol.hpp"

namespace {

struct Optimiser {
  pn::NetworkShape shape;
  pn::Penalty penalty;
  bool separate, vectors;
  pn::cpu::AdamPass<float> pass;
  std::vector<float> p, gradient, m, v;
};

}  // namespace

extern "C" __attribute__((noinline)) void counted_step(Optimiser& o, std::int64_t t) {
  const pn::cpu::FlushDenormals flush;
  if (o.separate) pn::add_penalty_gradient(o.shape, o.penalty, o.p.data(), o.gradient.data());
  if (o.vectors) o.pass.prepare(o.p.data());
  o.pass.step({o.p.data(), o.gradient.data(), o.m.data(), o.v.data()}, t);
}

int main(int argc, char** argv) try {
  if (argc != 7) {
    std::cerr << "usage: count_adam WAY NETWORK D PENALTY COUNTED PARAMETERS\n";
    return 2;
  }
  const std::string way = argv[1];
  if (way != "separate" && way != "vectors" && way != "one") throw std::invalid_argument("no such way: " + way);
  const bool separate = way == "separate";
  const pn::NetworkShape shape = shape_of(argv[2], std::atoll(argv[3]));
  const pn::Penalty penalty = penalty_of(argv[4]);
  const std::int64_t counted = std::atoll(argv[5]), size = pn::parameter_layout(shape).size;
  const std::vector<float> zeros(static_cast<std::size_t>(size));
  pn::cpu::ThreadPool pool(1);
  Optimiser o{shape,
              penalty,
              separate,
              way == "vectors",
              {shape, {}, separate ? pn::Penalty{} : penalty, pn::cpu::active_level(), pool},
              read_parameters(argv[6], size),
              zeros,
              zeros,
              zeros};
  pn::uniform({5, pn::Purpose::data, 0, 0}, 0, size, o.gradient.data());
  for (float& g : o.gradient) g = 1e-3f * (2.0f * g - 1.0f);
  o.pass.prepare(o.p.data());
  for (std::int64_t t = 1; t <= counted; ++t) counted_step(o, t);
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
