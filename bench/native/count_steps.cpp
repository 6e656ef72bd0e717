// Training steps for a profiler that counts instructions within `counted_step` alone; bench/instructions.py runs it.
//   count_steps KERNEL NETWORK D PENALTY WARM COUNTED STATE STEPS BLAS
// STATE: a file of float32, flat: parameters and both moments after STEPS steps. The first WARM steps are not counted,
// in which kernels find out what to leave out.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <numeric>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "cpu/blas.hpp"
#include "cpu/engine.hpp"
#include "protocol.hpp"

extern "C" __attribute__((noinline)) void counted_step(pn::Engine& engine, std::int64_t batch, std::int64_t t) {
  engine.step(batch * kBatch, kBatch, t);
}

int main(int argc, char** argv) try {
  if (argc != 10) {
    std::cerr << "usage: count_steps KERNEL NETWORK D PENALTY WARM COUNTED STATE STEPS BLAS\n";
    return 2;
  }
  const std::string kernel = argv[1];
  const std::int64_t d = std::atoll(argv[3]), warm = std::atoll(argv[5]), counted = std::atoll(argv[6]),
                     done = std::atoll(argv[8]);
  const pn::NetworkShape shape = shape_of(argv[2], d);
  const std::int64_t size = pn::parameter_layout(shape).size, rows = (warm + counted) * kBatch;
  const std::vector<float> state = read_parameters(argv[7], 3 * size);
  pn::cpu::blas::load(argv[9]);
  std::vector<float> x(static_cast<std::size_t>(rows * d)), y(static_cast<std::size_t>(rows));
  pn::uniform({5, pn::Purpose::data, 0, 0}, 0, rows * d, x.data());
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t i = 0; i < d; ++i) {
      float& value = x[static_cast<std::size_t>(row * d + i)];
      value = 2.0f * value - 1.0f;
      y[static_cast<std::size_t>(row)] += value * value / static_cast<float>(d);
    }
    const auto begin = x.begin() + row * d;
    std::sort(begin, begin + d, [](float a, float b) { return std::abs(a) < std::abs(b); });
  }
  std::vector<std::uint32_t> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), 0u);
  pn::cpu::CpuEngine<float> engine({shape, {}, penalty_of(argv[4]), kernel, kBatch, 1}, pn::cpu::active_level(),
                                   {x.data(), y.data(), rows, x.data(), y.data(), kBatch}, state.data());
  engine.restore(state.data() + size, state.data() + 2 * size, state.data());
  engine.begin_epoch(order.data());
  for (std::int64_t i = 0; i < warm; ++i) engine.step(i * kBatch, kBatch, done + i + 1);
  for (std::int64_t i = warm; i < warm + counted; ++i) counted_step(engine, i, done + i + 1);
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
