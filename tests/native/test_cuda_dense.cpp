// The dense network's kernels for the GPU, run on the host: gradients and unit classes against the reference.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/random.hpp"
#include "cuda/dense/dense_pass.hpp"
#include "host_launcher.hpp"
#include "reference/reference.hpp"
#include "vectors.hpp"

namespace {

using namespace pn;
using namespace pn::cuda;
using pn::test::draws;
using pn::test::HostLauncher;
using pn::test::widened;
using pn::test::worst;

NetworkShape network(std::int64_t d, std::int64_t width, int layers, Activation activation) {
  return {d, d, width, false, layers, activation};
}

// A network with units of layer 2 of all three classes.
template <class T>
struct Problem {
  Problem(const NetworkShape& s, std::int64_t rows)
      : shape(s), layout(parameter_layout(s)), n(rows), x(draws<T>(1, rows * s.inputs, 1.0)), y(draws<T>(2, rows, 1.0)),
        p(draws<T>(3, layout.size, 0.3)) {
    for (std::int64_t k = 0; layout.b2.rows > 0 && k < s.width; ++k) {
      const T shift = T(4) * static_cast<T>(std::max<std::int64_t>(1, s.inputs));
      if (k % 3 != 0) p[static_cast<std::size_t>(layout.b2.offset + k)] += k % 3 == 1 ? shift : -shift;
    }
  }

  double reference(std::vector<double>& gradient) const {
    const std::vector<double> wide_x = widened(x), wide_y = widened(y), wide_p = widened(p);
    gradient.resize(p.size());
    return pn::reference::loss_and_gradient(shape, wide_p.data(), {wide_x.data(), wide_y.data(), n}, {},
                                            gradient.data());
  }

  NetworkShape shape;
  ParameterLayout layout;
  std::int64_t n;
  std::vector<T> x, y, p;
};

template <class T>
struct Passed {
  double loss = 0.0;
  std::vector<T> gradient;
  std::vector<std::int32_t> slot;
  std::vector<double> active[2];
};

template <class T>
Passed<T> pass_over(const Problem<T>& problem, bool active, HostLauncher& launcher) {
  const DenseShape shape = DenseShape::of(problem.shape, active);
  Carver measure;
  DenseMemory<T>::backward(shape, problem.n, problem.n, measure);
  std::vector<std::uint64_t> storage(static_cast<std::size_t>(measure.bytes() / 8), 0x7ff8dead7ff8deadull);  // NaN
  Carver carver(storage.data());
  const DenseMemory<T> memory = DenseMemory<T>::backward(shape, problem.n, problem.n, carver);
  DensePass<T, HostLauncher> pass(shape, memory, launcher);
  Passed<T> passed;
  passed.gradient.assign(problem.p.size(), std::numeric_limits<T>::quiet_NaN());
  const Tensors<const T> p = tensors_at(problem.p.data(), tensor_offsets(problem.layout));
  const Tensors<T> gradient = tensors_at(passed.gradient.data(), tensor_offsets(problem.layout));
  pass.forward(p, problem.x.data(), problem.n);
  for (int layer = 0; layer < problem.shape.hidden_layers; ++layer) {
    passed.active[layer].assign(static_cast<std::size_t>(shape.width), 0.0);
    pass.count_active(layer, problem.n, passed.active[layer].data());
  }
  launcher.launch(
      SquaredError<T>{memory.output, problem.y.data(), problem.n, shape.inputs, problem.n, false, &passed.loss});
  const HiddenGradient<T> hidden = pass.backward(p, problem.x.data(), problem.n, gradient);
  if (hidden.slot != nullptr) {
    passed.slot.assign(hidden.slot, hidden.slot + shape.width);
    launcher.launch(Elements<ExpandGradient<T>>{{hidden, gradient.w2}, shape.width * shape.width});
  }
  return passed;
}

template <class T>
void test_gradient(const NetworkShape& shape, std::int64_t n, bool active, double tolerance) {
  const Problem<T> problem(shape, n);
  std::vector<double> want;
  const double loss = problem.reference(want);
  HostLauncher forward, backward(true);
  const Passed<T> got = pass_over(problem, active, forward);
  const double error = worst(problem.layout, got.gradient, want);
  if (!(error <= tolerance) || !(std::abs(got.loss - loss) <= tolerance * loss)) {
    test::fail(__FILE__, __LINE__,
               "d=" + std::to_string(shape.inputs) + " width=" + std::to_string(shape.width) +
                   " n=" + std::to_string(n) + " active=" + std::to_string(active) + ": gradient is off by " +
                   std::to_string(error) + ", loss " + std::to_string(got.loss) + " for " + std::to_string(loss));
  }
  // No body of a phase depends on another, nor a block.
  const Passed<T> again = pass_over(problem, active, backward);
  CHECK(worst(problem.layout, again.gradient, want) <= tolerance);
  CHECK(again.slot == got.slot);
}

void test_gradients() {
  for (const std::int64_t width : {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 50, 64, 100, 130}) {
    for (const std::int64_t n : {1, 5, 33, 80}) {
      for (const std::int64_t d : {2, 3, 4}) {
        const NetworkShape relu = network(d, width, 2, Activation::relu);
        test_gradient<float>(relu, n, true, 3e-5);
        test_gradient<float>(relu, n, false, 3e-5);
        if (n != 33) continue;
        for (const bool active : {true, false}) test_gradient<double>(relu, n, active, 1e-12);
        test_gradient<double>(network(d, width, 1, Activation::relu), n, false, 1e-12);
        for (const Activation activation : {Activation::tanh, Activation::sigmoid}) {
          for (const int layers : {1, 2}) {
            test_gradient<double>(network(d, width, layers, activation), n, false, 1e-12);
            test_gradient<float>(network(d, width, layers, activation), n, false, 3e-5);
          }
        }
      }
    }
  }
}

// Slots and panel: ascending, as the units' activity on the rows says, in the least panel that holds them.
void test_classes() {
  for (const std::int64_t width : {5, 50, 96, 200}) {
    const Problem<float> problem(network(3, width, 2, Activation::relu), 40);
    HostLauncher launcher;
    const Passed<float> got = pass_over(problem, true, launcher);
    std::int32_t mixed = 0, dead = 0, on = 0;
    for (std::size_t k = 0; k < static_cast<std::size_t>(width); ++k) {
      const double active = got.active[1][k];
      if (active == 0.0) {
        CHECK_EQ(got.slot[k], kDead);
        ++dead;
      } else if (active == 40.0) {
        CHECK_EQ(got.slot[k], kOn);
        ++on;
      } else {
        CHECK_EQ(got.slot[k], mixed);
        ++mixed;
      }
    }
    CHECK(dead > 0);
    CHECK(on > 0);
    CHECK(mixed > 0);
    const PanelSizes sizes = PanelSizes::of(width);
    CHECK_EQ(launcher.chosen.size(), 1u);
    const int chosen = launcher.chosen.at(0);
    CHECK(sizes.capacity[chosen] >= mixed);
    CHECK(chosen == 0 || sizes.capacity[chosen - 1] < mixed);
    CHECK(launcher.elements < 4 * 40 * width * width ||
          width < 96);  // the direct way's would be 3 * 40 * width^2 alone
  }
}

void test_panel_sizes() {
  for (std::int64_t width = 1; width <= 700; ++width) {
    const PanelSizes sizes = PanelSizes::of(width);
    CHECK(sizes.count >= 2 && sizes.count <= PanelSizes::kMost);
    CHECK_EQ(sizes.capacity[0], 0);
    CHECK(sizes.largest() >= width);
    CHECK(sizes.largest() < width + 8);
    for (int s = 1; s < sizes.count; ++s) {
      CHECK(sizes.capacity[s] > sizes.capacity[s - 1]);
      CHECK_EQ(sizes.capacity[s] % 8, 0);
    }
  }
}

// Without a mixed unit nothing is multiplied in the backward pass but the first layer's gradient.
void test_no_mixed_units() {
  Problem<float> problem(network(3, 40, 2, Activation::relu), 20);
  for (std::int64_t k = 0; k < 40; ++k) {
    problem.p[static_cast<std::size_t>(problem.layout.b2.offset + k)] = k % 2 == 0 ? -20.0f : 20.0f;
  }
  std::vector<double> want;
  problem.reference(want);
  HostLauncher launcher;
  const Passed<float> got = pass_over(problem, true, launcher);
  CHECK_EQ(launcher.products, 3);
  CHECK(worst(problem.layout, got.gradient, want) < 1e-5);
}

void test_split() {
  CHECK_EQ(widen(to_bfloat16(1.0f)), 1.0f);
  CHECK_EQ(widen(to_bfloat16(0.0f)), 0.0f);
  CHECK(std::isnan(widen(to_bfloat16(std::numeric_limits<float>::quiet_NaN()))));
  CHECK(std::isnan(widen(to_bfloat16(float_of(0x7f800001u)))));  // its set bits are among those that are cut off
  CHECK_EQ(widen(to_bfloat16(std::numeric_limits<float>::infinity())), std::numeric_limits<float>::infinity());
  CHECK_EQ(to_bfloat16(float_of(0x3f808000u)).bits, 0x3f80);  // ties to even, down
  CHECK_EQ(to_bfloat16(float_of(0x3f818000u)).bits, 0x3f82);  // and up
  CHECK_EQ(to_bfloat16(float_of(0x3f808001u)).bits, 0x3f81);
  for (const double scale : {1e-8, 1.0, 1e8, 1e30}) {
    for (const float value : draws<float>(11, 4000, scale)) {
      const ThreeTerms t = split(value);
      const double sum =
          static_cast<double>(widen(t.high)) + static_cast<double>(widen(t.middle)) + static_cast<double>(widen(t.low));
      CHECK_EQ(sum, static_cast<double>(value));  // exact
    }
  }
}

// What a network that diverges shows: NaN in a parameter reaches the loss, through every activation.
void test_nan() {
  for (const Activation activation : {Activation::relu, Activation::tanh, Activation::sigmoid}) {
    Problem<float> problem(network(3, 20, 2, activation), 10);
    problem.p[static_cast<std::size_t>(problem.layout.b1.offset)] = std::numeric_limits<float>::quiet_NaN();
    HostLauncher launcher;
    CHECK(std::isnan(pass_over(problem, activation == Activation::relu, launcher).loss));
  }
}

}  // namespace

int main() {
  test_split();
  test_panel_sizes();
  test_gradients();
  test_classes();
  test_no_mixed_units();
  test_nan();
  return test::report();
}
