// The piecewise-linear kernel against the reference and the direct kernel: random networks, trained ones, and every
// special case of kernels.md, section 2, at every level and in both precisions. With the argument "long", 50,000 steps
// of training.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/random.hpp"
#include "cpu/engine.hpp"
#include "cpu/kernel_choice.hpp"
#include "reference/reference.hpp"

namespace {

using pn::NetworkShape;
using pn::cpu::Isa;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

NetworkShape network(std::int64_t inputs, std::int64_t width, bool shared, std::int32_t layers = 2) {
  return {inputs, 1, width, shared, layers, pn::Activation::relu};
}

// A reproducible source of numbers.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : seed_(seed) {}
  double uniform(double low, double high) {
    double u = 0.0;
    pn::uniform({seed_, pn::Purpose::data, 0, 0}, next_++, 1, &u);
    return low + (high - low) * u;
  }
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(uniform(0.0, static_cast<double>(high - low + 1)));
  }
  std::vector<double> uniforms(std::int64_t count, double low, double high) {
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& v : values) v = uniform(low, high);
    return values;
  }

 private:
  std::uint64_t seed_, next_ = 0;
};

struct Case {
  NetworkShape shape;
  std::vector<double> p, x, y;  // flat parameters; (rows, inputs); (rows,)
  std::string what;

  std::int64_t rows() const { return static_cast<std::int64_t>(y.size()); }
  double* tensor(const pn::Tensor& t) { return p.data() + t.offset; }
};

// Glorot weights; biases in [-bias, bias]; data in [low, high].
Case random_case(const NetworkShape& shape, std::int64_t rows, Draws& draws, double bias, double low = -1.0,
                 double high = 1.0) {
  const pn::ParameterLayout layout = pn::parameter_layout(shape);
  Case c{shape, std::vector<double>(static_cast<std::size_t>(layout.size)),
         draws.uniforms(rows * shape.inputs, low, high), draws.uniforms(rows, 0.0, 1.0), ""};
  for (const pn::Tensor& t : layout.tensors()) {
    const double limit = t.weight ? std::sqrt(6.0 / static_cast<double>(t.rows + t.columns)) : bias;
    for (std::int64_t i = 0; i < layout.groups * t.rows * t.columns; ++i) {
      c.tensor(t)[i] = draws.uniform(-limit, limit);
    }
  }
  c.what = "random";
  return c;
}

template <class T>
std::vector<T> cast(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}
template <class T>
std::vector<double> widened(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

template <class T>
struct Answer {
  double loss = 0.0;
  std::vector<T> gradient, f;
  std::array<pn::UnitCounts, pn::kMaxHiddenLayers> units{};
};

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

// The reference on the values that T holds.
template <class T>
Answer<double> truth(const Case& c) {
  const std::vector<double> p = widened(cast<T>(c.p)), x = widened(cast<T>(c.x)), y = widened(cast<T>(c.y));
  Answer<double> a{0.0, std::vector<double>(p.size()), std::vector<double>(y.size()), {}};
  const pn::reference::Rows rows{x.data(), y.data(), c.rows()};
  a.loss = pn::reference::loss_and_gradient(c.shape, p.data(), rows, {}, a.gradient.data());
  pn::reference::forward(c.shape, p.data(), rows, a.f.data());
  return a;
}

template <class A, class B>
double difference(const A* actual, const B* expected, std::int64_t count, double floor) {
  double error = 0.0, size = 0.0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double d = static_cast<double>(actual[i]) - static_cast<double>(expected[i]);
    error += d * d;
    size += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return std::sqrt(error) / std::max({std::sqrt(size), floor, std::numeric_limits<double>::min()});
}

// Norm-wise per tensor. A tensor whose gradient is far below the others' is measured against these.
template <class A>
double gradient_error(const NetworkShape& shape, const std::vector<A>& actual, const std::vector<double>& expected) {
  const pn::ParameterLayout layout = pn::parameter_layout(shape);
  const std::vector<double> zeros(expected.size(), 0.0);
  const double all = difference(expected.data(), zeros.data(), layout.size, 1.0);
  double worst = 0.0;
  for (const pn::Tensor& t : layout.tensors()) {
    const std::int64_t count = layout.groups * t.rows * t.columns;
    const double error = difference(actual.data() + t.offset, expected.data() + t.offset, count, 1e-3 * all);
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

template <class T>
constexpr double kTolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;

template <class T>
std::string describe(const Case& c, Isa isa) {
  return c.what + ": inputs " + std::to_string(c.shape.inputs) + ", width " + std::to_string(c.shape.width) +
         (c.shape.shared ? ", LN, " : ", LCN, ") + std::to_string(c.shape.hidden_layers) + " layers, " +
         std::to_string(c.rows()) + " rows, " + std::string(pn::cpu::name(isa)) + ", " + std::to_string(8 * sizeof(T)) +
         " bits";
}

void check_below(double error, double tolerance, const std::string& what) {
  if (!(error <= tolerance)) {
    std::ostringstream text;
    text << what << ": error " << error << " > " << tolerance;
    pn::test::fail(__FILE__, __LINE__, text.str());
  }
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

void random_networks() {
  Draws draws(1);
  for (const bool shared : {true, false}) {
    for (const std::int32_t layers : {1, 2}) {
      for (const std::int64_t width : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 50, 64, 100, 128}) {
        const std::int64_t inputs = draws.integer(1, width > 60 ? 5 : 12), rows = draws.integer(1, 150);
        check_everywhere(random_case(network(inputs, width, shared, layers), rows, draws, 0.0));
        check_everywhere(random_case(network(inputs, width, shared, layers), rows, draws, 0.7));
        check_everywhere(random_case(network(inputs, width, shared, layers), rows, draws, 0.7, 2.0, 900.0));
      }
    }
    for (const std::int64_t inputs : {1, 4, 20, 60, 100, 700}) {
      check_everywhere(random_case(network(inputs, 12, shared), inputs == 700 ? 40 : 260, draws, 0.4));
    }
    check_everywhere(random_case(network(2, 9, shared), 9000, draws, 0.4));
    check_everywhere(random_case(network(20, 50, shared), 800, draws, 0.1));
  }
}

// Weights, hinges, zeros of layer 2 and data are multiples of small powers of two: nothing rounds, and many points lie
// exactly on breakpoints, many hinges at one place, and many zeros on the ends of intervals.
Case dyadic_case(const NetworkShape& shape, std::int64_t rows, Draws& draws, std::int64_t steps) {
  Case c = random_case(shape, rows, draws, 0.0);
  const pn::ParameterLayout layout = pn::parameter_layout(shape);
  const auto grid = [&](double unit) { return static_cast<double>(draws.integer(-steps, steps)) * unit; };
  for (std::int64_t j = 0; j < shape.units(); ++j) {
    const double w = static_cast<double>(draws.integer(-2, 2));
    c.tensor(layout.w1)[j] = w;
    c.tensor(layout.b1)[j] = draws.integer(0, 3) == 0 ? 0.0 : (w == 0.0 ? 1.0 : w) * grid(0.125);
    c.tensor(layout.output)[j] = grid(0.25);
    if (shape.hidden_layers == 2) c.tensor(layout.b2)[j] = draws.integer(0, 1) == 0 ? 0.0 : grid(0.125);
  }
  if (shape.hidden_layers == 2) {
    for (std::int64_t i = 0; i < shape.units() * shape.width; ++i) c.tensor(layout.w2)[i] = grid(0.5);
  }
  for (double& x : c.x) x = grid(0.125);
  for (double& y : c.y) y = grid(0.25);
  c.what = "dyadic";
  return c;
}

void points_on_breakpoints() {
  Draws draws(2);
  for (int i = 0; i < 120; ++i) {
    const NetworkShape shape =
        network(draws.integer(1, 9), draws.integer(1, 20), i % 2 == 0, draws.integer(0, 3) == 0 ? 1 : 2);
    check_exact(dyadic_case(shape, draws.integer(1, 90), draws, draws.integer(1, 9)));
  }
  Case c = random_case(network(2, 50, true), 4, draws, 0.0);  // all biases 0: all hinges and zeros at 0
  c.x = {0.0, -0.0, 0.5, -0.25, 0.0, 1.0, -0.0, -1.0};
  c.what = "zeros";
  check_exact(c);
  c.x.assign(8, 0.0);
  check_exact(c);
  CHECK(run<float>("auto", c, Isa::scalar, 1).gradient == std::vector<float>(c.p.size(), 0.0f));
}

// Each unit of layer 2 zigzags through 0 between all hinges: far more breakpoints than usual.
void many_breakpoints() {
  Draws draws(3);
  for (const bool shared : {true, false}) {
    for (const std::int64_t width : {5, 32, 64}) {
      Case c = random_case(network(3, width, shared), 700, draws, 0.0);
      const pn::ParameterLayout layout = pn::parameter_layout(c.shape);
      const auto n = static_cast<double>(width);
      for (std::int64_t u = 0; u < c.shape.units(); ++u) {
        const auto j = static_cast<double>(u % width);
        c.tensor(layout.w1)[u] = 1.0;
        c.tensor(layout.b1)[u] = 1.0 - 2.0 * j / n;
        c.tensor(layout.b2)[u] = -1.0 / n;
        for (std::int64_t i = 0; i < width; ++i) {
          c.tensor(layout.w2)[u * width + i] = (i % 2 == 0 ? 1.0 : -1.0) * (i == 0 ? 1.0 : 2.0) * (1.0 + 0.01 * j);
        }
      }
      c.what = "zigzag";
      check_everywhere(c);
    }
  }
}

void special_parameters() {
  Draws draws(4);
  const auto with = [&](const std::string& what, const std::function<void(Case&, const pn::ParameterLayout&)>& change) {
    for (const bool shared : {true, false}) {
      for (const std::int32_t layers : {1, 2}) {
        Case c = random_case(network(3, 11, shared, layers), 70, draws, 0.5);
        c.what = what;
        change(c, pn::parameter_layout(c.shape));
        check_everywhere(c);
      }
    }
  };
  const auto for_units = [](Case& c, const std::function<void(std::int64_t)>& change) {
    for (std::int64_t u = 0; u < c.shape.units(); ++u) change(u);
  };
  with("w1 = 0", [&](Case& c, const auto& l) {
    for_units(c, [&](std::int64_t u) { c.tensor(l.w1)[u] *= u % 3 == 0 ? 0.0 : 1.0; });
  });
  with("all w1 = 0",
       [&](Case& c, const auto& l) { for_units(c, [&](std::int64_t u) { c.tensor(l.w1)[u] = u % 2 ? 0.0 : -0.0; }); });
  with("all parameters 0", [](Case& c, const auto&) { c.p.assign(c.p.size(), 0.0); });
  with("hinges outside the data",
       [&](Case& c, const auto& l) { for_units(c, [&](std::int64_t u) { c.tensor(l.b1)[u] *= u % 2 ? 40.0 : 1.0; }); });
  with("layer 1 dead",
       [&](Case& c, const auto& l) { for_units(c, [&](std::int64_t u) { c.tensor(l.b1)[u] = -10.0; }); });
  with("layer 2 dead", [&](Case& c, const auto& l) {
    if (c.shape.hidden_layers == 2) for_units(c, [&](std::int64_t u) { c.tensor(l.b2)[u] = -50.0; });
  });
  with("one live unit", [&](Case& c, const auto& l) {
    if (c.shape.hidden_layers == 2) for_units(c, [&](std::int64_t u) { c.tensor(l.b2)[u] = u == 5 ? 0.1 : -50.0; });
  });
  with("repeated hinges", [&](Case& c, const auto& l) {
    for_units(c, [&](std::int64_t u) {
      const double w = u % 2 == 0 ? 0.5 : -0.25;
      c.tensor(l.w1)[u] = w;
      c.tensor(l.b1)[u] = -w * (u % 3 == 0 ? 0.25 : -0.375);
    });
  });
  with("one hinge", [&](Case& c, const auto& l) {
    for_units(c, [&](std::int64_t u) {
      c.tensor(l.w1)[u] = 0.7;
      c.tensor(l.b1)[u] = 0.3;
    });
  });
  with("huge weights", [&](Case& c, const auto&) {
    for (double& v : c.p) v *= 1e6;
  });
  with("tiny weights", [&](Case& c, const auto&) {
    for (double& v : c.p) v *= 1e-6;
  });
  with("constant data", [](Case& c, const auto&) { c.x.assign(c.x.size(), 0.3); });
  with("zero data", [](Case& c, const auto&) { c.x.assign(c.x.size(), 0.0); });
  with("far data", [](Case& c, const auto&) {
    for (double& v : c.x) v = 1000.0 + 0.125 * std::round(8 * v);
  });
  with("an outlier", [](Case& c, const auto&) { c.x[17] = 1e5; });
  with("one row", [](Case& c, const auto&) {
    c.y.resize(1);
    c.x.resize(static_cast<std::size_t>(c.shape.inputs));
  });
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
  random_networks();
  points_on_breakpoints();
  many_breakpoints();
  special_parameters();
  for (const Isa isa : pn::cpu::supported_levels()) {
    broken_numbers<float>(isa);
    broken_numbers<double>(isa);
    for (const bool shared : {true, false}) {
      attached_data<float>(isa, shared);
      attached_data<double>(isa, shared);
      std::vector<std::int64_t> stops{0, 1, 10, 1000, 3000};
      if (full) stops.push_back(50000);
      trained_networks<float>(network(4, 50, shared), isa, stops);
      trained_networks<double>(network(4, 50, shared), isa, stops);
      trained_networks<float>(network(7, 20, shared, 1), isa, stops);
    }
  }
  return pn::test::report();
}
