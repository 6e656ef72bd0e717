// Networks and data for the piecewise-linear kernels of every backend, with what the reference says of them: random
// ones, and the special cases of kernels.md, section 2.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/random.hpp"
#include "reference/reference.hpp"

namespace pn::test {

inline NetworkShape network(std::int64_t inputs, std::int64_t width, bool shared, std::int32_t layers = 2) {
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
inline Case random_case(const NetworkShape& shape, std::int64_t rows, Draws& draws, double bias, double low = -1.0,
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

inline void check_below(double error, double tolerance, const std::string& what) {
  if (!(error <= tolerance)) {
    std::ostringstream text;
    text << what << ": error " << error << " > " << tolerance;
    pn::test::fail(__FILE__, __LINE__, text.str());
  }
}

// Weights, hinges, zeros of layer 2 and data are multiples of small powers of two: nothing rounds, and many points lie
// exactly on breakpoints, many hinges at one place, and many zeros on the ends of intervals.
inline Case dyadic_case(const NetworkShape& shape, std::int64_t rows, Draws& draws, std::int64_t steps) {
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

// Many of them.
template <class Check>
void for_dyadic(Draws& draws, Check check) {
  for (int i = 0; i < 120; ++i) {
    const NetworkShape shape =
        network(draws.integer(1, 9), draws.integer(1, 20), i % 2 == 0, draws.integer(0, 3) == 0 ? 1 : 2);
    check(dyadic_case(shape, draws.integer(1, 90), draws, draws.integer(1, 9)));
  }
}

// Random networks of awkward sizes.
template <class Check>
void for_random(Check check) {
  Draws draws(1);
  for (const bool shared : {true, false}) {
    for (const std::int32_t layers : {1, 2}) {
      for (const std::int64_t width : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 50, 64, 100, 128}) {
        const std::int64_t inputs = draws.integer(1, width > 60 ? 5 : 12), rows = draws.integer(1, 150);
        check(random_case(network(inputs, width, shared, layers), rows, draws, 0.0));
        check(random_case(network(inputs, width, shared, layers), rows, draws, 0.7));
        check(random_case(network(inputs, width, shared, layers), rows, draws, 0.7, 2.0, 900.0));
      }
    }
    for (const std::int64_t inputs : {1, 4, 20, 60, 100, 700}) {
      check(random_case(network(inputs, 12, shared), inputs == 700 ? 40 : 260, draws, 0.4));
    }
    check(random_case(network(2, 9, shared), 9000, draws, 0.4));
    check(random_case(network(20, 50, shared), 800, draws, 0.1));
  }
}

// Each unit of layer 2 zigzags through 0 between all hinges: far more breakpoints than usual.
inline Case zigzag(std::int64_t width, bool shared, std::int64_t rows, Draws& draws) {
  Case c = random_case(network(3, width, shared), rows, draws, 0.0);
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
  return c;
}

template <class Check>
void for_many_breakpoints(Check check) {
  Draws draws(3);
  for (const bool shared : {true, false}) {
    for (const std::int64_t width : {5, 32, 64}) check(zigzag(width, shared, 700, draws));
  }
}

// The special cases of kernels.md, section 2, and some more.
template <class Check>
void for_special(Check check) {
  Draws draws(4);
  const auto with = [&](const std::string& what, const std::function<void(Case&, const pn::ParameterLayout&)>& change) {
    for (const bool shared : {true, false}) {
      for (const std::int32_t layers : {1, 2}) {
        Case c = random_case(network(3, 11, shared, layers), 70, draws, 0.5);
        c.what = what;
        change(c, pn::parameter_layout(c.shape));
        check(c);
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

}  // namespace pn::test
