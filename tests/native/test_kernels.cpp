// Every kernel, level and precision against the reference at awkward sizes, on arrays of exactly the size that is
// promised, so that AddressSanitizer sees a read or a write beyond them. The tests of accuracy proper are in Python.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/random.hpp"
#include "cpu/blas.hpp"
#include "cpu/engine.hpp"
#include "cpu/kernel_choice.hpp"
#include "reference/reference.hpp"

namespace {

using pn::Activation;
using pn::NetworkShape;
using pn::cpu::Isa;

template <class T>
std::vector<T> draws(std::uint32_t member, std::int64_t count, double low, double high) {
  std::vector<T> out(static_cast<std::size_t>(count));
  pn::uniform({3, pn::Purpose::data, member, 0}, 0, count, out.data());
  for (T& value : out) value = static_cast<T>(low + (high - low) * static_cast<double>(value));
  return out;
}

template <class T>
std::vector<double> widened(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

// Largest difference, relative to the largest value; NaN where there is one.
template <class A, class B>
double difference(const A& actual, const B& expected) {
  double worst = 0.0, size = 1e-30;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double d = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    if (!(d <= worst)) worst = d;
    size = std::max(size, std::abs(static_cast<double>(expected[i])));
  }
  return worst / size;
}

template <class T>
constexpr double kTolerance = sizeof(T) == 4 ? 2e-5 : 1e-12;

std::string describe(const NetworkShape& s, Isa isa, std::int64_t rows, std::size_t bytes) {
  return "inputs " + std::to_string(s.inputs) + ", block_in " + std::to_string(s.block_in) + ", width " +
         std::to_string(s.width) + (s.shared ? ", shared, " : ", ") + std::to_string(s.hidden_layers) + " layers, " +
         std::string(pn::name(s.activation)) + ", " + std::string(pn::cpu::name(isa)) + ", " + std::to_string(rows) +
         " rows, " + std::to_string(8 * bytes) + " bits";
}

void check_near(double error, double tolerance, const std::string& what) {
  if (!(error <= tolerance)) {
    pn::test::fail(__FILE__, __LINE__, what + ": off by " + std::to_string(error / tolerance) + " tolerances");
  }
}

template <class T>
void compare(const NetworkShape& shape, Isa isa, std::int64_t rows, int threads) {
  const std::int64_t size = pn::parameter_layout(shape).size, all_rows = 2 * rows + 1;
  const std::vector<T> p = draws<T>(1, size, -0.7, 0.7), x = draws<T>(2, all_rows * shape.inputs, -1.0, 1.0),
                       y = draws<T>(3, all_rows, 0.0, 1.0);
  std::vector<std::uint32_t> index(static_cast<std::size_t>(rows));
  std::vector<double> picked_x, picked_y;
  for (std::int64_t b = 0; b < rows; ++b) {
    const std::int64_t row = all_rows - 1 - 2 * b;  // the very last row is among them
    index[static_cast<std::size_t>(b)] = static_cast<std::uint32_t>(row);
    picked_x.insert(picked_x.end(), x.begin() + row * shape.inputs, x.begin() + (row + 1) * shape.inputs);
    picked_y.push_back(static_cast<double>(y[static_cast<std::size_t>(row)]));
  }
  const std::vector<double> wide = widened(p);
  const pn::reference::Rows reference_rows{picked_x.data(), picked_y.data(), rows};
  std::vector<double> expected(static_cast<std::size_t>(size)), expected_f(static_cast<std::size_t>(rows));
  const double expected_loss =
      pn::reference::loss_and_gradient(shape, wide.data(), reference_rows, {}, expected.data());
  pn::reference::forward(shape, wide.data(), reference_rows, expected_f.data());

  pn::cpu::ThreadPool pool(threads);
  for (const std::string& name : pn::cpu::kernels_of(shape)) {
    const std::string what = name + ", " + describe(shape, isa, rows, sizeof(T));
    const auto kernel = pn::cpu::make_kernel<T>(name, shape, isa, pool, rows);
    kernel->attach(x.data(), all_rows);
    const pn::cpu::Rows<T> batch{x.data(), y.data(), index.data(), rows, shape.inputs};
    std::vector<T> gradient(static_cast<std::size_t>(size), T(7)), f(static_cast<std::size_t>(rows), T(7));
    for (int again = 0; again < 2; ++again) {  // nothing may be left over from the step before
      const double loss = kernel->loss_and_gradient(p.data(), batch, gradient.data());
      check_near(std::abs(loss / expected_loss - 1.0), kTolerance<T>, what + ", loss");
      check_near(difference(gradient, expected), kTolerance<T>, what + ", gradient");
      pn::cpu::Activity activity(shape);
      kernel->forward(p.data(), batch, f.data(), &activity);
      check_near(difference(f, expected_f), kTolerance<T>, what + ", forward");
      const pn::UnitCounts units = activity.counts()[0];
      CHECK_EQ(units.dead + units.on + units.mixed, shape.units());
    }
  }
}

template <class T>
void compare_shapes(Isa isa) {
  for (const std::int64_t width : {1, 3, 8, 17, 50}) {
    for (const std::int32_t layers : {1, 2}) {
      for (const Activation activation : {Activation::relu, Activation::tanh, Activation::sigmoid}) {
        const std::int64_t rows = activation == Activation::relu ? 65 : 9;
        compare<T>({3, 1, width, true, layers, activation}, isa, rows, 2);
        compare<T>({3, 1, width, false, layers, activation}, isa, rows, 2);
        compare<T>({6, 2, width, false, layers, activation}, isa, rows, 1);
        if (pn::cpu::blas::loaded()) compare<T>({3, 3, width, false, layers, activation}, isa, rows, 2);
      }
    }
  }
  for (const std::int64_t rows : {1, 2, 15, 16, 17, 63, 64, 130, 800}) {
    compare<T>({2, 1, 7, true, 2, Activation::relu}, isa, rows, 3);
    compare<T>({2, 1, 7, false, 2, Activation::relu}, isa, rows, 3);
    if (pn::cpu::blas::loaded()) compare<T>({2, 2, 7, false, 2, Activation::relu}, isa, rows, 3);
  }
}

// A whole run by the trainer ends where the reference's does: batches, Adam, penalties and validation together.
void compare_training(const NetworkShape& shape, Isa isa, const pn::Penalty& penalty) {
  const std::int64_t rows = 50, validation_rows = 13, size = pn::parameter_layout(shape).size;
  const std::vector<double> x = draws<double>(4, rows * shape.inputs, -1.0, 1.0), y = draws<double>(5, rows, 0.0, 1.0),
                            vx = draws<double>(6, validation_rows * shape.inputs, -1.0, 1.0),
                            vy = draws<double>(7, validation_rows, 0.0, 1.0), p = draws<double>(8, size, -0.7, 0.7);
  const pn::TrainingPlan plan{rows, 12, 4, 1, true, {}};
  const pn::AdamSettings adam{.weight_decay = 1e-3};
  pn::Monitor monitor, reference_monitor;
  pn::reference::ReferenceEngine reference(shape, adam, penalty, {x, y, vx, vy}, p);
  const pn::TrainingRecord expected = pn::train(reference, plan, reference_monitor);
  pn::cpu::CpuEngine<double> engine({shape, adam, penalty, "auto", plan.batch_size, 2}, isa,
                                    {x.data(), y.data(), rows, vx.data(), vy.data(), validation_rows}, p.data());
  const pn::TrainingRecord record = pn::train(engine, plan, monitor);
  const std::string what = "training, " + std::string(pn::name(penalty.kind)) + ", " + describe(shape, isa, rows, 8);
  CHECK(record.status == pn::Status::completed);
  CHECK_EQ(record.standing.best_epoch, expected.standing.best_epoch);
  check_near(difference(record.history.train_loss, expected.history.train_loss), 1e-9, what + ", losses");
  check_near(difference(record.history.validation_loss, expected.history.validation_loss), 1e-9, what + ", validation");
  check_near(difference(engine.parameters(), reference.parameters()), 1e-9, what + ", parameters");
  check_near(difference(engine.best_parameters(), reference.best_parameters()), 1e-9, what + ", best parameters");
  for (std::size_t e = 0; e < expected.history.units.size(); ++e) {
    for (std::size_t layer = 0; layer < 2; ++layer) {
      CHECK_EQ(record.history.units[e][layer].dead, expected.history.units[e][layer].dead);
      CHECK_EQ(record.history.units[e][layer].on, expected.history.units[e][layer].on);
    }
  }
}

}  // namespace

int main() {
  if (const char* path = std::getenv("PYNEEDLE_TEST_BLAS")) {
    pn::cpu::blas::load(path);
  } else {
    std::cout << "PYNEEDLE_TEST_BLAS names no OpenBLAS library: dense networks are left out\n";
  }
  for (const Isa isa : pn::cpu::supported_levels()) {
    compare_shapes<float>(isa);
    compare_shapes<double>(isa);
    for (const char* penalty : {"none", "l1", "l2", "path-norm"}) {
      for (const std::int32_t layers : {1, 2}) {
        compare_training({4, 1, 9, true, layers, Activation::relu}, isa, pn::make_penalty(penalty, 1e-3));
        compare_training({4, 1, 9, false, layers, Activation::tanh}, isa, pn::make_penalty(penalty, 1e-3));
        if (!pn::cpu::blas::loaded()) continue;
        compare_training({4, 4, 36, false, layers, Activation::relu}, isa, pn::make_penalty(penalty, 1e-3));
      }
    }
  }
  return pn::test::report();
}
