// The active-unit kernel while it tracks parameters, as in a training run: certificates, rows that wake, rows at rest.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/random.hpp"
#include "cpu/active_forward.hpp"
#include "cpu/active_kernel.hpp"
#include "cpu/adam_pass.hpp"
#include "cpu/blas.hpp"
#include "cpu/certificates.hpp"
#include "cpu/dense_kernel.hpp"
#include "vectors.hpp"

namespace {

using namespace pn;
using namespace pn::cpu;
using pn::test::draws;
using pn::test::kSanitized;
using pn::test::worst;

NetworkShape network(std::int64_t d, std::int64_t width) { return {d, d, width, false, 2, Activation::relu}; }

// Rows sorted by |x|, the scaled square target, Glorot weights: the paper's start.
template <class T>
struct Problem {
  Problem(std::int64_t d_, std::int64_t width_, std::int64_t n_)
      : d(d_), width(width_), n(n_), layout(parameter_layout(network(d, width))), x(draws<T>(1, n * d, 1.0)),
        y(static_cast<std::size_t>(n)), p(static_cast<std::size_t>(layout.size)) {
    for (std::int64_t i = 0; i < n; ++i) {
      T* row = x.data() + i * d;
      std::sort(row, row + d, [](T a, T b) { return std::abs(a) < std::abs(b); });
      for (std::int64_t j = 0; j < d; ++j) y[static_cast<std::size_t>(i)] += row[j] * row[j] / static_cast<T>(d);
    }
    fill(layout.w1, d, width);
    fill(layout.w2, width, width);
    fill(layout.output, width, 1);
  }
  void fill(const Tensor& t, std::int64_t fan_in, std::int64_t fan_out) {
    const auto values = draws<T>(static_cast<std::uint64_t>(t.offset) + 7, t.rows * t.columns,
                                 std::sqrt(6.0 / static_cast<double>(fan_in + fan_out)));
    std::copy(values.begin(), values.end(), p.begin() + t.offset);
  }
  Rows<T> rows(std::int64_t first, std::int64_t count) const { return {x.data(), y.data(), nullptr, count, d, first}; }
  T* at(const Tensor& t, std::int64_t i = 0) { return p.data() + t.offset + i; }

  std::int64_t d, width, n;
  ParameterLayout layout;
  std::vector<T> x, y, p;
};

// The gradient that a training step is given, whole and in the original order.
template <class T>
std::vector<T> expanded(const ParameterLayout& layout, const RowGradient<T>& w2, const std::vector<T>& gradient) {
  std::vector<T> whole = gradient;
  for (std::int64_t k = 0; w2.row != nullptr && k < layout.w2.rows; ++k) {
    T* to = whole.data() + layout.w2.offset + k * layout.w2.columns;
    for (std::int64_t j = 0; j < layout.w2.columns; ++j)
      to[j] = w2.row[k] != nullptr ? w2.scale[k] * w2.row[k][j] : T(0);
  }
  return whole;
}

struct Kernels {
  Kernels(const NetworkShape& shape, std::int64_t batch, int threads, Isa isa)
      : pool(threads), active(make_active_kernel<double>(shape, isa, pool, batch)),
        direct(make_dense_kernel<double>(shape, isa, pool, batch)) {}
  ThreadPool pool;
  std::unique_ptr<Kernel<double>> active, direct;
};

// Both gradients on the same rows and parameters; the active one as a training step gets it.
double gradient_error(Kernels& kernels, Problem<double>& problem, const Rows<double>& rows) {
  std::vector<double> got(problem.p.size()), want(problem.p.size());
  RowGradient<double> w2;
  const double loss = kernels.active->loss_and_rows(problem.p.data(), rows, got.data(), w2);
  const double want_loss = kernels.direct->loss_and_gradient(problem.p.data(), rows, want.data());
  CHECK(std::abs(loss - want_loss) <= 1e-12 * want_loss);
  return worst(problem.layout, expanded(problem.layout, w2, got), want);
}

// Units of layer 2 that are active on some of the rows and inactive on others.
std::int64_t mixed_units(Kernels& kernels, const Problem<double>& problem, std::int64_t batch) {
  const NetworkShape shape = network(problem.d, problem.width);
  Activity activity(shape);
  std::vector<double> f(static_cast<std::size_t>(batch));
  for (std::int64_t first = 0; first < problem.n; first += batch)
    kernels.direct->forward(problem.p.data(), problem.rows(first, batch), f.data(), &activity);
  return activity.counts()[1].mixed;
}

// Every step's gradient, from the start through the collapse, and the optimiser's shortcuts: `plain` gets the same
// gradients whole, takes no rest, and must stay where the run is.
void test_training(Isa isa, std::int64_t d, std::int64_t steps, const Penalty& penalty, double agreement) {
  const NetworkShape shape = network(d, 50 * d);
  const std::int64_t batch = 100;
  Problem<double> problem(d, 50 * d, 1000);
  Kernels kernels(shape, batch, 2, isa);
  AdamPass<double> pass(shape, {}, penalty, isa, kernels.pool), plain(shape, {}, penalty, isa, kernels.pool);
  const std::size_t size = problem.p.size();
  std::vector<double> m(size), v(size), gradient(size), want(size), p2 = problem.p, m2(size), v2(size);
  RowListener* listener = kernels.active->track(problem.p.data());
  pass.prepare(problem.p.data());
  plain.prepare(p2.data());
  double error = 0.0, loss_error = 0.0;
  std::int64_t zero_rows = 0;
  const std::int64_t mixed = mixed_units(kernels, problem, batch);
  for (std::int64_t t = 1; t <= steps; ++t) {
    const FlushDenormals flush;
    const Rows<double> rows = problem.rows(t % 10 * batch, batch);
    RowGradient<double> w2;
    const double loss = kernels.active->loss_and_rows(problem.p.data(), rows, gradient.data(), w2);
    const double want_loss = kernels.direct->loss_and_gradient(problem.p.data(), rows, want.data());
    const std::vector<double> whole = expanded(problem.layout, w2, gradient);
    error = std::max(error, worst(problem.layout, whole, want));
    loss_error = std::max(loss_error, std::abs(loss - want_loss) / want_loss);
    if (w2.row != nullptr) zero_rows += std::count(w2.row, w2.row + shape.width, nullptr);
    pass.step({problem.p.data(), gradient.data(), m.data(), v.data()}, t, w2, listener);
    plain.step({p2.data(), whole.data(), m2.data(), v2.data()}, t);
  }
  CHECK(error < 1e-12);
  CHECK(loss_error < 1e-12);
  CHECK(worst(problem.layout, problem.p, p2) < agreement);
  CHECK(zero_rows > 0);                                     // or nothing was tested
  CHECK(mixed_units(kernels, problem, batch) < mixed / 2);  // it has collapsed
}

using Units = std::vector<std::int64_t>;

// A tracked network: its even units are dead on all rows, by margins of all sizes, its odd ones on. A forward half of
// its own goes through the same passes as the kernel's and shows what is certified in them.
struct Asleep {
  explicit Asleep(Isa isa)
      : problem(4, 64, 64), kernels(network(4, 64), 64, 2, isa), passes(network(4, 64), isa, kernels.pool, 64) {
    for (std::int64_t k = 0; k < problem.width; ++k)
      *b2(k) = k % 2 == 0 ? -std::pow(1.35, static_cast<double>(k / 2 + 3)) : 3.0;
    listener = kernels.active->track(problem.p.data());
    passes.forget();
    for (int i = 0; i < 3; ++i) step();
    CHECK(certified(UnitClass::dead).size() > 20);
    CHECK_EQ(certified(UnitClass::on).size(), std::size_t{isa == Isa::scalar ? 0U : 32U});  // which has no screening
  }

  // A training step's gradient. Returns the units that the step before had certified to be dead and that are not now.
  Units step() {
    const Units dead = certified(UnitClass::dead);
    CHECK(gradient_error(kernels, problem, rows()) < 1e-12);
    passes.run(problem.p.data(), rows(), true);
    Units woken;
    for (const std::int64_t k : dead) {
      if (passes.classes().units[static_cast<std::size_t>(k)] != UnitClass::dead) woken.push_back(k);
    }
    return woken;
  }

  // Units that the last pass did not evaluate, being certain of their class.
  Units certified(UnitClass unit_class) const {
    const BatchClasses<double>& classes = passes.classes();
    Units units;
    for (std::int64_t k = 0; k < problem.width; ++k) {
      const UnitList& evaluated = classes.evaluated.units;
      if (classes.units[static_cast<std::size_t>(k)] == unit_class &&
          !std::binary_search(evaluated.begin(), evaluated.end(), static_cast<std::int32_t>(k)))
        units.push_back(k);
    }
    return units;
  }

  void row_changed(std::int64_t k) {
    listener->row_changed(k);
    passes.row_changed(k, problem.at(problem.layout.w2, k * problem.width));
  }
  Rows<double> rows() const { return problem.rows(0, problem.n); }
  double* b2(std::int64_t k) { return problem.at(problem.layout.b2, k); }

  Problem<double> problem;
  Kernels kernels;
  ActiveForward<double> passes;
  RowListener* listener = nullptr;
};

void test_waking_by_bias(Isa isa) {
  Asleep asleep(isa);
  for (const double bias : {-0.1, 0.0, 0.1, 3.0}) {
    *asleep.b2(6) = bias;
    CHECK(asleep.step() == Units{6});
    *asleep.b2(6) = -20.0;
    for (int i = 0; i < 2; ++i) CHECK(asleep.step().empty());  // found dead, then certified again
  }
}

void test_waking_by_row(Isa isa) {
  Asleep asleep(isa);
  double* row = asleep.problem.at(asleep.problem.layout.w2, 8 * 64);
  const auto scale = [&](double factor) {
    for (std::int64_t j = 0; j < 64; ++j) row[j] = factor * std::abs(row[j]);
    asleep.row_changed(8);
  };
  *asleep.b2(8) = -20.0;
  for (int i = 0; i < 3; ++i) {
    scale(1000.0);
    CHECK(asleep.step() == Units{8});
    scale(-1.0);
    for (int pass = 0; pass < 2; ++pass) CHECK(asleep.step().empty());
    scale(0.001);
    CHECK(asleep.step().empty());
  }
}

// H1 grows beyond what the bounds of the rows, which do not change, were taken for: once so that they are taken anew,
// and once so that they must serve.
void test_waking_by_layer1(Isa isa) {
  Asleep asleep(isa);
  for (const double factor : {1.1, 1.3, 20.0, 40.0, 0.01}) {
    for (std::int64_t i = 0; i < 64 * 4; ++i) asleep.problem.at(asleep.problem.layout.w1)[i] *= factor;
    const Units woken = asleep.step();
    CHECK_EQ(woken.empty(), factor < 2.0);
  }
}

// Parameters that are not the tracked ones, between steps: neither served from what is kept nor spoiling it.
void test_other_parameters(Isa isa) {
  Asleep asleep(isa);
  Problem<double> other(4, 64, 64);
  for (std::int64_t k = 0; k < 64; ++k) other.at(other.layout.b2)[k] = 0.3;
  CHECK(gradient_error(asleep.kernels, other, other.rows(0, 64)) < 1e-12);
  for (int i = 0; i < 3; ++i) CHECK(asleep.step().empty());
}

// A row without gradient comes to rest, and is woken as if every step had been taken.
template <class T>
void test_rest(Isa isa, double agreement) {
  constexpr std::int64_t width = 40;
  const NetworkShape shape = network(3, width);
  Problem<T> problem(3, width, 1);
  ThreadPool pool(2);
  AdamPass<T> pass(shape, {}, {}, isa, pool), plain(shape, {}, {}, isa, pool);
  struct Listener final : RowListener {
    void row_changed(std::int64_t k) override { ++told[static_cast<std::size_t>(k)]; }
    std::vector<std::int64_t> told = std::vector<std::int64_t>(width);
  } listener;
  const std::size_t size = problem.p.size();
  std::vector<T> m(size), v(size), p2 = problem.p, m2(size), v2(size),
                                   gradient = draws<T>(5, problem.layout.size, 1e-2);
  std::vector<const T*> row(width);
  std::vector<T> scale(width, T(1));
  const FlushDenormals flush;
  std::int64_t quiet = 0;
  for (std::int64_t t = 1; t <= 1500; ++t) {
    const bool awake = t <= 10 || t == 700 || t > 1490;
    for (std::int64_t k = 0; k < width; ++k) {
      row[static_cast<std::size_t>(k)] =
          awake || k == 0 ? gradient.data() + problem.layout.w2.offset + k * width : nullptr;
    }
    const std::vector<T> whole = expanded(problem.layout, {row.data(), scale.data()}, gradient);
    const std::int64_t before = listener.told[3];
    pass.step({problem.p.data(), gradient.data(), m.data(), v.data()}, t, {row.data(), scale.data()}, &listener);
    plain.step({p2.data(), whole.data(), m2.data(), v2.data()}, t);
    CHECK(awake ? listener.told[3] == before + 1 : true);
    quiet += listener.told[3] == before;
    if (!awake && listener.told[3] == before) continue;
    for (std::int64_t j = 0; j < width; ++j) {
      const auto at = static_cast<std::size_t>(problem.layout.w2.offset + 3 * width + j);
      CHECK(std::abs(problem.p[at] - p2[at]) <= agreement);
      CHECK(std::abs(v[at] - v2[at]) <= agreement * v2[at]);
    }
  }
  CHECK(quiet > 400);
  CHECK_EQ(listener.told[0], 1500);
}

// What a step that skips work leaves out of the certificates: NaN is never certified.
void test_not_a_number(Isa isa) {
  ThreadPool pool(1);
  Certificates<float> certificates(16, isa, pool, 8);
  std::vector<float> w2(256, -0.5f), b2(16, -1.0f), w3(16, 1.0f), h1(8 * 16, 0.25f);
  const float nan = std::nanf("");
  w2[5 * 16 + 3] = nan;
  b2[6] = nan;
  w3[7] = INFINITY;
  std::vector<UnitClass> units(16, UnitClass::dead);
  for (int i = 0; i < 2; ++i) {
    certificates.certify({w2.data(), b2.data(), w3.data()}, h1.data(), 8, units.data());
    for (std::size_t k = 0; k < 16; ++k) CHECK((units[k] == UnitClass::dead) == (k < 5 || k > 7));
    std::fill(units.begin(), units.end(), UnitClass::dead);
  }
  h1[77] = nan;
  certificates.certify({w2.data(), b2.data(), w3.data()}, h1.data(), 8, units.data());
  CHECK_EQ(std::count(units.begin(), units.end(), UnitClass::mixed), 16);
}

}  // namespace

int main() {
  const char* library = std::getenv("PYNEEDLE_TEST_BLAS");
  if (library == nullptr) {
    std::cerr << "PYNEEDLE_TEST_BLAS must name the OpenBLAS library\n";
    return 1;
  }
  blas::load(library);
  const Penalty penalties[] = {{PenaltyKind::l1, 1e-8}, {PenaltyKind::l2, 1e-7}, {PenaltyKind::path_norm, 1e-5}};
  for (const Isa isa : supported_levels()) {
    const bool small_alone = kSanitized && isa != active_level();
    test_training(isa, 4, 400, {PenaltyKind::none, 0.0}, 1e-9);
    if (!small_alone) test_training(isa, 8, 60, {PenaltyKind::none, 0.0}, 1e-9);
    for (const Penalty& penalty : penalties) {
      test_training(isa, 4, 120, penalty, 1e-12);
      if (!small_alone) test_training(isa, 8, 60, penalty, 1e-12);
    }
    test_waking_by_bias(isa);
    test_waking_by_row(isa);
    test_waking_by_layer1(isa);
    test_other_parameters(isa);
    test_rest<double>(isa, 1e-12);
    test_rest<float>(isa, 2e-4);
    test_not_a_number(isa);
  }
  if (kSanitized) return pn::test::report();
  test_training(active_level(), 20, 25, {PenaltyKind::none, 0.0}, 1e-9);
  for (const Penalty& penalty : penalties) test_training(active_level(), 20, 20, penalty, 1e-12);
  test_training(active_level(), 40, 12, {PenaltyKind::none, 0.0}, 1e-9);
  return pn::test::report();
}
