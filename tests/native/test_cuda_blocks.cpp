// The GPU's kernels for LN and LCN, run on the host in plain loops, against the reference: gradients of random networks
// and every special case of kernels.md, section 2; orders of rows; whole epochs.
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/penalty_gradient.hpp"
#include "core/random.hpp"
#include "cuda/blocks/local_epoch.hpp"
#include "cuda/blocks/step_schedule.hpp"
#include "cuda/device/shuffle.hpp"
#include "piecewise_cases.hpp"
#include "reference/reference.hpp"

namespace {

using pn::NetworkShape;
using pn::cuda::HostTeam;
using namespace pn::test;

// Memory of an arena, of which `fast` bytes count as shared memory.
class Memory {
 public:
  template <class Take>
  auto take(std::int64_t fast, Take take) {
    pn::cuda::Arena measure(nullptr, fast, nullptr);
    take(measure);
    fast_.resize(static_cast<std::size_t>(measure.fast_used()) + 16);
    slow_.resize(static_cast<std::size_t>(measure.slow_used()) + 16);
    pn::cuda::Arena arena(aligned(fast_), fast, aligned(slow_));
    return take(arena);
  }

 private:
  static char* aligned(std::vector<char>& bytes) {
    void* at = bytes.data();
    std::size_t space = bytes.size();
    return static_cast<char*>(std::align(16, 1, at, space));
  }
  std::vector<char> fast_, slow_;
};

template <class T>
pn::piecewise::Range range_of(const std::vector<T>& x, std::int64_t first, std::int64_t step) {
  double low = 1e300, high = -1e300;
  for (std::int64_t i = first; i < static_cast<std::int64_t>(x.size()); i += step) {
    const auto v = static_cast<double>(x[static_cast<std::size_t>(i)]);
    if (!std::isfinite(v)) continue;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  return pn::piecewise::range_around(low, high);
}

template <class T>
Answer<T> run_local(const HostTeam& team, const Case& c) {
  const std::vector<T> p = cast<T>(c.p), x = cast<T>(c.x), y = cast<T>(c.y);
  Answer<T> a{0.0, std::vector<T>(p.size(), T(7)), {}, {}};
  const pn::cuda::BlockShape shape = pn::cuda::block_shape(c.shape);
  const auto inputs = static_cast<std::int32_t>(c.shape.inputs);
  const pn::piecewise::Range range = range_of(x, 0, 1);
  Memory memory;
  const auto w =
      memory.take(100000, [&](pn::cuda::Arena& arena) { return pn::cuda::take_pieces(arena, arena, shape); });
  std::vector<double> residual(y.size());
  const pn::cuda::DeviceRows<T> rows{x.data(), y.data(), &range, c.rows()};
  const auto tensors = pn::cuda::as_const(pn::cuda::packed_tensors(const_cast<T*>(p.data()), shape));
  const pn::cuda::RowSlice<T> batch{rows, nullptr, 0, static_cast<std::int32_t>(c.rows()), inputs};
  a.loss = pn::cuda::local_gradient(team, shape, tensors, w, batch, residual.data(),
                                    pn::cuda::packed_tensors(a.gradient.data(), shape));
  pn::UnitCounts units[pn::kMaxHiddenLayers];
  const double squares = pn::cuda::local_validation(team, shape, tensors, w, rows, inputs, units);
  a.units = {units[0], units[1]};
  if (std::isfinite(a.loss)) {
    check_below(std::abs(squares / static_cast<double>(c.rows()) - a.loss), 1e-12 * a.loss, c.what + ", validation");
  }
  return a;
}

// Of the reference, on the values that T holds.
template <class T>
Answer<double> truth_with_units(const Case& c) {
  Answer<double> a = truth<T>(c);
  const std::vector<double> x = widened(cast<T>(c.x)), y = widened(cast<T>(c.y));
  pn::reference::ReferenceEngine engine(c.shape, {}, {}, {x, y, x, y}, widened(cast<T>(c.p)));
  a.units = engine.evaluate(pn::Split::validation, [] { return false; }).units;
  return a;
}

template <class T>
void check_local(const Case& c, bool exact) {
  if (!c.shape.shared) return;
  const std::string what = c.what + ", width " + std::to_string(c.shape.width) + ", inputs " +
                           std::to_string(c.shape.inputs) + ", layers " + std::to_string(c.shape.hidden_layers) + ", " +
                           std::to_string(8 * sizeof(T)) + " bits";
  const Answer<double> expected = exact ? truth_with_units<T>(c) : truth<T>(c);
  const Answer<T> got = run_local<T>(HostTeam(1), c);
  check_below(std::abs(got.loss - expected.loss) / std::max(expected.loss, 1e-30), kTolerance<T>, what + ", loss");
  check_below(gradient_error(c.shape, got.gradient, expected.gradient), kTolerance<T>, what + ", gradient");
  const Answer<T> backward = run_local<T>(HostTeam(5, true), c);
  // Sums over rows and units are rounded in another order; moments are not.
  check_below(gradient_error(c.shape, backward.gradient, widened(got.gradient)), kTolerance<T>, what + ", backward");
  if (!exact) return;
  for (std::size_t layer = 0; layer < static_cast<std::size_t>(c.shape.hidden_layers); ++layer) {
    CHECK_EQ(got.units[layer].dead, expected.units[layer].dead);
    CHECK_EQ(got.units[layer].on, expected.units[layer].on);
    CHECK_EQ(got.units[layer].mixed, expected.units[layer].mixed);
  }
}

void check_both(const Case& c) {
  check_local<float>(c, false);
  check_local<double>(c, false);
}

// Where all arithmetic is exact, units' counts are, too.
void check_exact(const Case& c) {
  check_local<float>(c, true);
  check_local<double>(c, true);
}

void orders_are_the_shufflers() {
  for (const std::int64_t rows : {1, 2, 3, 5, 31, 64, 1000, 4097}) {
    pn::Shuffler shuffler(rows);
    const auto n = static_cast<std::size_t>(rows);
    std::vector<std::uint32_t> expected(n), got(n);
    for (const int threads : {1, 3, 32, 256}) {
      for (const std::uint32_t epoch : {0u, 7u}) {
        shuffler.draw(123456789012345ull, epoch, expected.data());
        const auto count = static_cast<std::size_t>(pn::cuda::Stretches::of(rows, threads).items());
        std::vector<std::uint64_t> items(count), scratch(count);
        std::vector<std::uint32_t> counts(static_cast<std::size_t>(pn::cuda::kDigits * threads));
        pn::cuda::draw_order(HostTeam(threads, epoch == 7), 123456789012345ull, epoch, rows, items.data(),
                             scratch.data(), counts.data(), got.data());
        CHECK(got == expected);
      }
    }
  }
}

void steps_are_split_evenly() {
  for (std::int64_t steps = 1; steps <= 1000; ++steps) {
    for (const std::int64_t most : {1, 3, 64}) {
      const auto split = pn::cuda::StepSplit::of(steps, most);
      CHECK(split.steps >= 1 && split.steps <= most);
      CHECK((split.launches - 1) * most < steps);                    // fewer launches would not do
      CHECK(split.launches * split.steps >= steps);                  // all steps are taken
      CHECK(split.launches * split.steps - steps < split.launches);  // with few beyond the end
    }
  }
  const auto paper = pn::cuda::StepSplit::of(80, 64);
  CHECK_EQ(paper.launches, 2);
  CHECK_EQ(paper.steps, 40);
}

struct Settings {
  NetworkShape shape;
  std::int64_t rows, validation_rows, batch_size;
  pn::AdamSettings adam;
  pn::Penalty penalty;
  bool shuffle = true;
};

// Data of the square target; everything of a run that the reference and the kernels share, with the values of T.
template <class T>
struct Problem {
  explicit Problem(const Settings& settings) : s(settings) {
    Draws draws(11);
    Case train = random_case(s.shape, s.rows, draws, 0.1),
         validation = random_case(s.shape, s.validation_rows, draws, 0.1);
    initial = cast<T>(train.p);
    for (Case* c : {&train, &validation}) {
      for (std::int64_t b = 0; b < c->rows(); ++b) {
        double sum = 0.0;
        for (std::int64_t i = 0; i < s.shape.inputs; ++i) {
          sum += std::pow(c->x[static_cast<std::size_t>(b * s.shape.inputs + i)], 2);
        }
        c->y[static_cast<std::size_t>(b)] = sum / static_cast<double>(s.shape.inputs);
      }
    }
    train_x = cast<T>(train.x);
    train_y = cast<T>(train.y);
    validation_x = cast<T>(validation.x);
    validation_y = cast<T>(validation.y);
  }

  Settings s;
  std::vector<T> initial, train_x, train_y, validation_x, validation_y;
};

// A run as the reference does it.
template <class T>
struct ReferenceRun {
  explicit ReferenceRun(const Problem<T>& p)
      : engine(p.s.shape, p.s.adam, p.s.penalty,
               {widened(p.train_x), widened(p.train_y), widened(p.validation_x), widened(p.validation_y)},
               widened(p.initial)) {}
  pn::reference::ReferenceEngine engine;
  pn::Monitor monitor;
};

constexpr std::uint64_t kSeed = 5;
constexpr std::int64_t kEpochs = 4;

pn::TrainingPlan plan_of(const Settings& s) { return {s.rows, s.batch_size, kEpochs, kSeed, s.shuffle, {}}; }

// One member on a HostTeam, as the engine on the device has it.
template <class T>
class HostRun {
 public:
  explicit HostRun(const Problem<T>& problem)
      : s_(problem.s), p_(problem.initial), best_(p_), m_(p_.size()), v_(p_.size()),
        order_(static_cast<std::size_t>(s_.rows)) {
    const std::int64_t groups = s_.shape.groups(), step = s_.shape.shared ? 1 : s_.shape.inputs;
    for (std::int64_t g = 0; g < groups; ++g) {
      train_ranges_.push_back(range_of(problem.train_x, g, step));
      validation_ranges_.push_back(range_of(problem.validation_x, g, step));
    }
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<std::uint32_t>(i);
    member_ = {
        p_.data(),
        best_.data(),
        m_.data(),
        v_.data(),
        {problem.train_x.data(), problem.train_y.data(), train_ranges_.data(), s_.rows},
        {problem.validation_x.data(), problem.validation_y.data(), validation_ranges_.data(), s_.validation_rows},
        s_.adam,
        pn::cuda::penalty_strengths<T>(s_.penalty, pn::path_norm_factor(s_.shape)),
        kSeed,
        s_.shuffle ? 1 : 0,
        order_.data()};
  }

  const pn::cuda::Member<T>& member() const { return member_; }
  const std::vector<T>& parameters() const { return p_; }
  const std::vector<T>& second_moments() const { return v_; }
  void shuffle(std::uint32_t epoch) { pn::Shuffler(s_.rows).draw(kSeed, epoch, order_.data()); }

 private:
  Settings s_;
  std::vector<T> p_, best_, m_, v_;
  std::vector<std::uint32_t> order_;
  std::vector<pn::piecewise::Range> train_ranges_, validation_ranges_;
  pn::cuda::Member<T> member_;
};

void check_close(double actual, double expected, double tolerance, const std::string& what) {
  check_below(std::abs(actual - expected) / std::abs(expected), tolerance, what);
}

template <class T>
constexpr double kRunTolerance = sizeof(T) == 4 ? 2e-3 : 1e-8;  // of many steps, each of which rounds

template <class T, class Epoch>
void check_training(const Settings& s, const std::string& what, Epoch epoch) {
  const Problem<T> problem(s);
  ReferenceRun<T> reference(problem);
  const pn::TrainingRecord expected = pn::train(reference.engine, plan_of(s), reference.monitor);
  HostRun<T> run(problem);
  std::int64_t steps = 0;
  for (std::uint32_t e = 0; e < kEpochs; ++e) {
    if (s.shuffle) run.shuffle(e);
    pn::cuda::EpochReport report{};
    epoch(run, pn::cuda::Turn{0, e, steps}, report);
    const std::int64_t batches = (s.rows + s.batch_size - 1) / s.batch_size;
    steps += batches;
    check_close(report.train_sum / static_cast<double>(batches), expected.history.train_loss[e], kRunTolerance<T>,
                what + ", training loss");
    check_close(report.validation_sum / static_cast<double>(s.validation_rows), expected.history.validation_loss[e],
                kRunTolerance<T>, what + ", validation loss");
    for (std::int32_t l = 0; sizeof(T) == 8 && l < s.shape.hidden_layers; ++l) {
      const pn::UnitCounts& units = expected.history.units[e][static_cast<std::size_t>(l)];
      CHECK_EQ(report.units[l].dead, units.dead);
      CHECK_EQ(report.units[l].on, units.on);
      CHECK_EQ(report.units[l].mixed, units.mixed);
    }
  }
  const std::vector<double>& p = reference.engine.parameters();
  check_below(difference(run.parameters().data(), p.data(), static_cast<std::int64_t>(p.size()), 1e-3),
              10 * kRunTolerance<T>, what + ", parameters");
}

std::vector<Settings> training_cases(bool shared) {
  std::vector<Settings> list;
  pn::AdamSettings decayed;
  decayed.decay = 0.03;
  decayed.weight_decay = 1e-2;
  decayed.epsilon_placement = pn::EpsilonPlacement::corrected;
  for (const std::int32_t layers : {1, 2}) {
    list.push_back({network(4, 17, shared, layers), 90, 31, 20, {}, {}});
    list.push_back({network(1, 8, shared, layers), 33, 5, 33, decayed, {}, false});
    for (const pn::PenaltyKind kind : {pn::PenaltyKind::l1, pn::PenaltyKind::l2, pn::PenaltyKind::path_norm}) {
      list.push_back({network(3, 9, shared, layers), 50, 20, 16, decayed, {kind, 1e-3}});
    }
  }
  return list;
}

std::string describe(const Settings& s) {
  return std::string(s.shape.shared ? "LN" : "LCN") + ", width " + std::to_string(s.shape.width) + ", " +
         std::to_string(s.shape.hidden_layers) + " layers, penalty " + std::string(pn::name(s.penalty.kind));
}

template <class T>
void local_epochs() {
  for (const Settings& s : training_cases(true)) {
    for (const bool in_pieces : {false, true}) {
      check_training<T>(
          s, describe(s), [&](HostRun<T>& run, const pn::cuda::Turn& turn, pn::cuda::EpochReport& report) {
            const pn::cuda::BlockShape shape = pn::cuda::block_shape(s.shape);
            const HostTeam team(4, in_pieces);
            Memory memory;
            const auto w = memory.take(
                200000, [&](pn::cuda::Arena& arena) { return pn::cuda::take_local<T>(arena, shape, s.batch_size); });
            const std::int64_t steps = (s.rows + s.batch_size - 1) / s.batch_size, half = in_pieces ? steps / 2 : 0;
            const auto inputs = static_cast<std::int32_t>(s.shape.inputs);
            if (half > 0) {
              pn::cuda::local_epoch(team, shape, inputs, run.member(), turn, {s.batch_size, 0, half, false}, w, report);
            }
            pn::cuda::local_epoch(team, shape, inputs, run.member(), turn, {s.batch_size, half, steps, true}, w,
                                  report);
          });
    }
  }
}

// All teams of each call in turn, as the launches on the device do.
template <class T>
void run_calls(const HostTeam& team, const pn::cuda::StepView<T>& v, const std::vector<pn::cuda::PhaseCall>& calls) {
  std::vector<double> fast(static_cast<std::size_t>(v.fast_bytes / 8 + 2));
  for (const pn::cuda::PhaseCall& call : calls) {
    for (std::int32_t x = call.teams - 1; x >= 0; --x) {
      std::fill(fast.begin(), fast.end(), std::nan(""));  // nothing in there outlives a launch
      pn::cuda::run_phase(team, v, {x, 0, reinterpret_cast<char*>(fast.data())}, call);
    }
  }
}

// Epochs in phases; the steps in launches of three at most, of which the last may go beyond the epoch's end.
template <class T>
void phased_epochs(const Settings& s, bool piecewise, std::int64_t fast_bytes) {
  const std::string what = describe(s) + (piecewise ? ", phases" : ", direct phases");
  const HostTeam team(4, fast_bytes == 0);
  check_training<T>(s, what, [&](HostRun<T>& run, const pn::cuda::Turn& turn, pn::cuda::EpochReport& report) {
    auto v = pn::cuda::step_view<T>(s.shape, piecewise, s.batch_size, s.rows, s.validation_rows, fast_bytes);
    std::vector<double> memory(static_cast<std::size_t>(v.member_bytes / 8 + 1), std::nan(""));
    const std::int32_t one = 1;
    std::int64_t clock = 0;
    v.members = &run.member();
    v.turns = &turn;
    v.turn_count = &one;
    v.reports = &report;
    v.clock = &clock;
    v.memory = reinterpret_cast<char*>(memory.data());
    run_calls(team, v, {pn::cuda::begin_call()});
    const auto split = pn::cuda::StepSplit::of(v.steps, 3);
    for (std::int64_t i = 0; i < split.launches; ++i) run_calls(team, v, pn::cuda::step_calls(v, split.steps));
    CHECK(clock >= v.steps);
    run_calls(team, v, pn::cuda::validation_calls(v, s.validation_rows));
  });
}

// Single evaluations in phases: predictions in several pieces, loss and gradient.
template <class T>
void check_evaluation(const Case& c, bool piecewise) {
  const std::vector<T> x = cast<T>(c.x), y = cast<T>(c.y);
  std::vector<T> p = cast<T>(c.p);
  std::vector<pn::piecewise::Range> ranges;
  for (std::int64_t g = 0; g < c.shape.groups(); ++g) {
    ranges.push_back(range_of(x, g, c.shape.shared ? 1 : c.shape.inputs));
  }
  Answer<T> a{0.0, std::vector<T>(p.size(), T(7)), std::vector<T>(y.size(), T(7)), {}};
  pn::cuda::Member<T> member{};
  member.parameters = p.data();
  member.train = member.validation = {x.data(), y.data(), ranges.data(), c.rows()};
  const pn::cuda::Turn turn{};
  const std::int32_t one = 1;
  pn::cuda::EpochReport report{};
  std::int64_t clock = 0;
  for (const bool predict : {true, false}) {
    const std::int64_t batch = predict ? (c.rows() + 2) / 3 : c.rows();
    auto v = pn::cuda::step_view<T>(c.shape, piecewise, batch, c.rows(), predict ? batch : c.rows(), 60000);
    std::vector<double> memory(static_cast<std::size_t>(v.member_bytes / 8 + 1), std::nan(""));
    v.members = &member;
    v.turns = &turn;
    v.turn_count = &one;
    v.reports = &report;
    v.clock = &clock;
    v.memory = reinterpret_cast<char*>(memory.data());
    v.result = {a.f.data(), pn::cuda::tensors_at(a.gradient.data(), v.offsets), &a.loss};
    run_calls(HostTeam(3), v, predict ? pn::cuda::forward_calls(v, c.rows()) : pn::cuda::gradient_calls(v));
  }
  const Answer<double> expected = truth<T>(c);
  const std::string what = c.what + (piecewise ? ", columns, width " : ", direct, width ") +
                           std::to_string(c.shape.width) + ", inputs " + std::to_string(c.shape.inputs) + ", layers " +
                           std::to_string(c.shape.hidden_layers);
  const double tolerance = piecewise ? kTolerance<T> : 10 * kTolerance<T>;
  check_below(std::abs(a.loss - expected.loss) / std::max(expected.loss, 1e-30), tolerance, what + ", loss");
  check_below(gradient_error(c.shape, a.gradient, expected.gradient), tolerance, what + ", gradient");
  check_below(difference(a.f.data(), expected.f.data(), c.rows(), 1e-6), tolerance, what + ", forward");
}

void check_columns(const Case& c) {
  if (c.shape.shared) return;
  check_evaluation<float>(c, true);
  check_evaluation<double>(c, true);
}

// Blocks of several inputs, all activations, awkward sizes.
void direct_evaluations() {
  Draws draws(21);
  for (const pn::Activation a : {pn::Activation::relu, pn::Activation::tanh, pn::Activation::sigmoid}) {
    for (const std::int64_t width : {1, 3, 8, 17, 33}) {
      for (const std::int64_t block_in : {1, 3}) {
        for (const bool shared : {true, false}) {
          for (const std::int32_t layers : {1, 2}) {
            const NetworkShape shape{2 * block_in, block_in, width, shared, layers, a};
            const Case c = random_case(shape, draws.integer(1, 120), draws, 0.3);
            check_evaluation<float>(c, false);
            check_evaluation<double>(c, false);
          }
        }
      }
    }
  }
}

template <class T>
void all_phased_epochs() {
  for (const Settings& s : training_cases(false)) {
    phased_epochs<T>(s, true, 100000);
    phased_epochs<T>(s, true, 0);
  }
  for (const bool shared : {true, false}) {
    for (const Settings& s : training_cases(shared)) phased_epochs<T>(s, false, 20000);
    for (const pn::Activation a : {pn::Activation::tanh, pn::Activation::sigmoid}) {
      for (const std::int32_t layers : {1, 2}) {
        phased_epochs<T>({{6, 2, 7, shared, layers, a}, 300, 1500, 130, {}, {pn::PenaltyKind::path_norm, 1e-4}}, false,
                         0);
      }
    }
  }
  phased_epochs<T>({network(3, 9, false), 600, 1500, 290, {}, {}}, true, 100000);
}

}  // namespace

int main() {
  orders_are_the_shufflers();
  steps_are_split_evenly();
  for (const auto& check : {check_both, check_columns}) {
    for_random(check);
    for_many_breakpoints(check);
    for_special(check);
  }
  Draws draws(2);
  for_dyadic(draws, check_exact);
  for_dyadic(draws, check_columns);
  direct_evaluations();
  local_epochs<float>();
  local_epochs<double>();
  all_phased_epochs<float>();
  all_phased_epochs<double>();
  return pn::test::report();
}
