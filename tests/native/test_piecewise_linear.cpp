// The piecewise-linear kernel against the reference and the direct kernel: random networks, trained ones, and every
// special case of kernels.md, section 2, at every level and in both precisions. With the argument "long", 50,000 steps
// of training.
#include <cmath>
#include <cstdint>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"
#include "cpu/engine.hpp"
#include "cpu/kernel_choice.hpp"
#include "piecewise_cases.hpp"

namespace {

using pn::NetworkShape;
using pn::cpu::Isa;
using namespace pn::test;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
Answer<T> run(const std::string& kernel_name, const Case& c, Isa isa, int threads) {
  const std::vector<T> p = cast<T>(c.p), x = cast<T>(c.x), y = cast<T>(c.y);
  Answer<T> a{0.0, std::vector<T>(p.size(), T(7)), std::vector<T>(y.size(), T(7)), {}};
  pn::cpu::ThreadPool pool(threads);
  const auto kernel = pn::cpu::make_kernel<T>(kernel_name, c.shape, isa, pool, c.rows());
  const pn::cpu::Rows<T> rows{x.data(), y.data(), nullptr, c.rows(), c.shape.inputs};
  a.loss = kernel->loss_and_gradient(p.data(), rows, a.gradient.data());
  pn::cpu::Activity activity(c.shape);
  kernel->forward(p.data(), rows, a.f.data(), &activity);
  a.units = activity.counts();
  return a;
}

template <class T>
std::string describe(const Case& c, Isa isa) {
  return c.what + ": inputs " + std::to_string(c.shape.inputs) + ", width " + std::to_string(c.shape.width) +
         (c.shape.shared ? ", LN, " : ", LCN, ") + std::to_string(c.shape.hidden_layers) + " layers, " +
         std::to_string(c.rows()) + " rows, " + std::string(pn::cpu::name(isa)) + ", " + std::to_string(8 * sizeof(T)) +
         " bits";
}

template <class T>
void check_case(const Case& c, Isa isa) {
  const std::string what = describe<T>(c, isa);
  CHECK_EQ(pn::cpu::kernels_of(c.shape).front(), "piecewise_linear");
  const Answer<double> expected = truth<T>(c);
  const Answer<T> got = run<T>("auto", c, isa, 1);
  check_below(std::abs(got.loss - expected.loss) / std::max(expected.loss, 1e-30), kTolerance<T>, what + ", loss");
  check_below(gradient_error(c.shape, got.gradient, expected.gradient), kTolerance<T>, what + ", gradient");
  check_below(difference(got.f.data(), expected.f.data(), c.rows(), 1e-6), kTolerance<T>, what + ", forward");
  const Answer<T> threaded = run<T>("piecewise_linear", c, isa, 3);
  CHECK_EQ(threaded.loss, got.loss);
  CHECK(threaded.gradient == got.gradient);
  CHECK(threaded.f == got.f);
}

void check_everywhere(const Case& c) {
  for (const Isa isa : pn::cpu::supported_levels()) {
    check_case<float>(c, isa);
    check_case<double>(c, isa);
  }
}

// Where all arithmetic is exact, also which units were seen active.
void check_exact(const Case& c) {
  check_everywhere(c);
  for (const Isa isa : pn::cpu::supported_levels()) {
    const Answer<double> direct = run<double>("direct", c, isa, 1);
    const Answer<double> got = run<double>("piecewise_linear", c, isa, 2);
    const Answer<float> narrow = run<float>("piecewise_linear", c, isa, 2);
    const std::string what = describe<double>(c, isa) + ", against direct";
    check_below(gradient_error(c.shape, got.gradient, direct.gradient), 1e-12, what);
    for (std::size_t layer = 0; layer < static_cast<std::size_t>(c.shape.hidden_layers); ++layer) {
      for (const auto& units : {got.units[layer], narrow.units[layer]}) {
        if (units.dead != direct.units[layer].dead || units.on != direct.units[layer].on) {
          pn::test::fail(__FILE__, __LINE__, what + ", units of layer " + std::to_string(layer));
        }
      }
    }
  }
}

void points_on_breakpoints() {
  Draws draws(2);
  for_dyadic(draws, check_exact);
  Case c = random_case(network(2, 50, true), 4, draws, 0.0);  // all biases 0: all hinges and zeros at 0
  c.x = {0.0, -0.0, 0.5, -0.25, 0.0, 1.0, -0.0, -1.0};
  c.what = "zeros";
  check_exact(c);
  c.x.assign(8, 0.0);
  check_exact(c);
  CHECK(run<float>("auto", c, Isa::scalar, 1).gradient == std::vector<float>(c.p.size(), 0.0f));
}

// Threads take turns with the one room for tables that are larger than usual: chunks of rows, or blocks.
void threads_with_many_breakpoints(bool shared) {
  Draws draws(9);
  const Case c = zigzag(40, shared, 12000, draws);
  const Answer<double> alone = run<double>("auto", c, pn::cpu::active_level(), 1);
  const Answer<double> direct = run<double>("direct", c, pn::cpu::active_level(), 1);
  check_below(gradient_error(c.shape, alone.gradient, direct.gradient), 1e-10,
              describe<double>(c, pn::cpu::active_level()));
  for (const int threads : {2, 5}) {
    const Answer<double> got = run<double>("auto", c, pn::cpu::active_level(), threads);
    CHECK_EQ(got.loss, alone.loss);
    CHECK(got.gradient == alone.gradient);
    CHECK(got.f == alone.f);
    for (std::size_t layer = 0; layer < 2; ++layer) {
      CHECK_EQ(got.units[layer].dead, alone.units[layer].dead);
      CHECK_EQ(got.units[layer].on, alone.units[layer].on);
    }
  }
}

// No crash, no read out of range; a loss that says so where a parameter is NaN or infinite.
template <class T>
void broken_numbers(Isa isa) {
  Draws draws(5);
  for (const bool shared : {true, false}) {
    for (const std::int32_t layers : {1, 2}) {
      const Case c = random_case(network(3, 7, shared, layers), 40, draws, 0.5);
      for (std::size_t at = 0; at < c.p.size(); at += 3) {
        for (const double bad : {std::nan(""), kInfinity, -kInfinity}) {
          Case broken = c;
          broken.p[at] = bad;
          const Answer<T> got = run<T>("piecewise_linear", broken, isa, 2);
          CHECK(!std::isfinite(got.loss));
        }
      }
      for (const double bad : {std::nan(""), kInfinity, -kInfinity}) {
        Case broken = c;
        broken.x[11] = bad;
        run<T>("piecewise_linear", broken, isa, 2);
        broken.x.assign(broken.x.size(), bad);
        run<T>("piecewise_linear", broken, isa, 2);
      }
      const auto most = static_cast<double>(std::numeric_limits<T>::max());
      const auto least = static_cast<double>(std::numeric_limits<T>::denorm_min());
      for (const double scale :
           {most, most / 4, std::sqrt(most), static_cast<double>(std::numeric_limits<T>::min()), least}) {
        Case extreme = c;
        for (double& v : extreme.p) v *= scale / 4;
        run<T>("piecewise_linear", extreme, isa, 2);
        extreme = c;
        for (double& v : extreme.x) v *= scale;
        run<T>("piecewise_linear", extreme, isa, 2);
        for (std::size_t i = 0; i < extreme.p.size(); i += 2) extreme.p[i] *= scale;
        run<T>("piecewise_linear", extreme, isa, 2);
      }
    }
  }
}

// Rows of two attached data sets and of one that is not, by index and in stretches, from one kernel.
template <class T>
void attached_data(Isa isa, bool shared) {
  Draws draws(6);
  const NetworkShape shape = network(4, 13, shared);
  Case train = random_case(shape, 90, draws, 0.3), other = random_case(shape, 50, draws, 0.3, -3.0, 2.0);
  const std::vector<T> p = cast<T>(train.p), x = cast<T>(train.x), y = cast<T>(train.y), vx = cast<T>(other.x);
  const std::vector<T> copy = x;
  pn::cpu::ThreadPool pool(1);
  const auto kernel = pn::cpu::make_kernel<T>("piecewise_linear", shape, isa, pool, 32);
  kernel->attach(x.data(), 90);
  kernel->attach(vx.data(), 50);
  std::vector<std::uint32_t> index;
  Case picked{shape, train.p, {}, {}, "picked"};
  for (std::uint32_t b = 0; b < 32; ++b) {
    const std::uint32_t row = (b * 37 + 5) % 90;
    index.push_back(row);
    picked.x.insert(picked.x.end(), train.x.begin() + row * 4, train.x.begin() + (row + 1) * 4);
    picked.y.push_back(train.y[row]);
  }
  const Answer<double> expected = truth<T>(picked);
  std::vector<T> gradient(p.size()), f(50);
  for (const T* data : {x.data(), copy.data(), x.data()}) {
    const double loss = kernel->loss_and_gradient(p.data(), {data, y.data(), index.data(), 32, 4}, gradient.data());
    check_below(std::abs(loss / expected.loss - 1.0), kTolerance<T>, "attached, loss");
    check_below(gradient_error(shape, gradient, expected.gradient), kTolerance<T>, "attached, gradient");
    kernel->forward(p.data(), {vx.data(), nullptr, nullptr, 50, 4}, f.data(), nullptr);
    other.p = train.p;
    check_below(difference(f.data(), truth<T>(other).f.data(), 50, 1e-6), kTolerance<T>, "attached, forward");
  }
}

// Data sets that begin at one address, the shorter one with a narrower range: hinges between the two ranges count as
// breakpoints for either, whichever is attached first.
template <class T>
void attached_at_one_address(Isa isa, bool shared) {
  Draws draws(8);
  const NetworkShape shape = network(4, 13, shared);
  Case all = random_case(shape, 90, draws, 0.3);
  for (std::size_t i = 0; i < 20 * 4; ++i) all.x[i] *= 0.01;
  const std::vector<T> p = cast<T>(all.p), x = cast<T>(all.x), y = cast<T>(all.y);
  const Answer<double> expected = truth<T>(all);
  pn::cpu::ThreadPool pool(1);
  for (const bool longer_first : {true, false}) {
    const auto kernel = pn::cpu::make_kernel<T>("piecewise_linear", shape, isa, pool, 90);
    kernel->attach(x.data(), longer_first ? 90 : 20);
    kernel->attach(x.data(), longer_first ? 20 : 90);
    std::vector<T> gradient(p.size());
    const double loss = kernel->loss_and_gradient(p.data(), {x.data(), y.data(), nullptr, 90, 4}, gradient.data());
    check_below(std::abs(loss / expected.loss - 1.0), kTolerance<T>, "one address, loss");
    check_below(gradient_error(shape, gradient, expected.gradient), kTolerance<T>, "one address, gradient");
  }
}

// Gradients along a training by the kernel itself, on the square target.
template <class T>
void trained_networks(const NetworkShape& shape, Isa isa, const std::vector<std::int64_t>& stops) {
  Draws draws(7);
  const std::int64_t batch = 100, rows = 800;
  Case all = random_case(shape, rows, draws, 0.0);
  for (std::int64_t b = 0; b < rows; ++b) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < shape.inputs; ++i)
      sum += std::pow(all.x[static_cast<std::size_t>(b * shape.inputs + i)], 2);
    all.y[static_cast<std::size_t>(b)] = sum / static_cast<double>(shape.inputs);
  }
  const std::vector<T> p = cast<T>(all.p), x = cast<T>(all.x), y = cast<T>(all.y);
  pn::cpu::CpuEngine<T> engine({shape, {}, {}, "auto", batch, 1}, isa,
                               {x.data(), y.data(), rows, x.data(), y.data(), rows}, p.data());
  CHECK_EQ(engine.kernel_name(), "piecewise_linear");
  pn::Shuffler shuffler(rows);
  std::vector<std::uint32_t> order(static_cast<std::size_t>(rows));
  std::int64_t t = 0;
  for (const std::int64_t stop : stops) {
    for (; t < stop; ++t) {
      if (t % 8 == 0) {
        shuffler.draw(0, static_cast<std::uint32_t>(t / 8), order.data());
        engine.begin_epoch(order.data());
      }
      engine.step(t % 8 * batch, batch, t + 1);
    }
    Case now = all;
    now.p.assign(engine.parameters().data(), engine.parameters().data() + engine.parameters().size());
    now.what = "after " + std::to_string(stop) + " steps";
    check_case<T>(now, isa);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool full = argc > 1 && std::string(argv[1]) == "long";
  for_random(check_everywhere);
  points_on_breakpoints();
  for_many_breakpoints(check_everywhere);
  for (const bool shared : {true, false}) threads_with_many_breakpoints(shared);
  for_special(check_everywhere);
  for (const Isa isa : pn::cpu::supported_levels()) {
    broken_numbers<float>(isa);
    broken_numbers<double>(isa);
    for (const bool shared : {true, false}) {
      attached_data<float>(isa, shared);
      attached_data<double>(isa, shared);
      attached_at_one_address<float>(isa, shared);
      attached_at_one_address<double>(isa, shared);
      std::vector<std::int64_t> stops{0, 1, 10, pn::test::kSanitized ? 100 : 300};
      if (!pn::test::kSanitized) stops.insert(stops.end(), {1000, 3000});
      if (full) stops.push_back(50000);
      trained_networks<float>(network(4, 50, shared), isa, stops);
      trained_networks<double>(network(4, 50, shared), isa, stops);
      trained_networks<float>(network(7, 20, shared, 1), isa, stops);
    }
  }
  return pn::test::report();
}
