// Whole short trainings of dense networks with the GPU's kernels, run on the host, against the reference's, and the
// optimiser and penalties for every network.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/penalty_gradient.hpp"
#include "core/random.hpp"
#include "cuda/dense/dense_run.hpp"
#include "host_launcher.hpp"
#include "reference/reference.hpp"
#include "vectors.hpp"

namespace {

using namespace pn;
using namespace pn::cuda;
using pn::test::draws;
using pn::test::HostLauncher;
using pn::test::widened;

constexpr PenaltyKind kKinds[] = {PenaltyKind::none, PenaltyKind::l1, PenaltyKind::l2, PenaltyKind::path_norm};

double largest_difference(const auto& got, const std::vector<double>& want) {
  double most = 0.0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - want[i]);
    most = std::isnan(difference) ? 1e300 : std::max(most, difference);
  }
  return most;
}

// Arrays as the device would hold them, cut from one piece of memory.
struct Memory {
  template <class Cut>
  auto cut(Cut take) {
    Carver measure;
    take(measure);
    storage.assign(static_cast<std::size_t>(measure.bytes() / 8), 0x7ff8dead7ff8deadull);  // NaN
    Carver carver(storage.data());
    return take(carver);
  }
  std::vector<std::uint64_t> storage;
};

template <class T>
struct Training {
  Training(const NetworkShape& s, std::int64_t train_rows, std::int64_t validation_rows)
      : shape(s), train_x(draws<T>(1, train_rows * s.inputs, 1.0)),
        validation_x(draws<T>(2, validation_rows * s.inputs, 1.0)),
        initial(draws<T>(3, parameter_layout(s).size, 0.4)) {
    train_y = targets(train_x);
    validation_y = targets(validation_x);
  }
  std::vector<T> targets(const std::vector<T>& x) const {
    std::vector<T> y(x.size() / static_cast<std::size_t>(shape.inputs));
    for (std::size_t i = 0; i < x.size(); ++i) {
      y[i / static_cast<std::size_t>(shape.inputs)] += x[i] * x[i] / static_cast<T>(shape.inputs);
    }
    return y;
  }

  NetworkShape shape;
  std::vector<T> train_x, train_y, validation_x, validation_y, initial;
};

struct Trained {
  std::vector<EpochResult> epochs;
  std::vector<double> p, m, v;
};

template <class T>
Trained train_by_launches(const Training<T>& t, const AdamSettings& adam, const Penalty& penalty, bool active,
                          std::int64_t batch, int epochs) {
  const auto rows = static_cast<std::int64_t>(t.train_y.size());
  const DenseRunShape shape{t.shape, penalty.kind, active,
                            batch,   rows,         static_cast<std::int64_t>(t.validation_y.size())};
  Memory storage;
  const auto memory = storage.cut([&](Carver& carver) { return DenseRunMemory<T>::of(shape, carver); });
  HostLauncher launcher;
  DenseRun<T, HostLauncher> run(shape, adam, penalty,
                                {t.train_x.data(), t.train_y.data(), t.validation_x.data(), t.validation_y.data()},
                                memory, launcher);
  const std::size_t size = t.initial.size();
  std::copy(t.initial.begin(), t.initial.end(), memory.p);
  std::fill_n(memory.m, size, T(0));
  std::fill_n(memory.v, size, T(0));
  Trained trained;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    run.draw_order(5, static_cast<std::uint32_t>(epoch), true);
    for (std::int64_t s = 0; s < shape.steps(); ++s) {
      memory.scalars[s] = adam_step<T>(adam, epoch * shape.steps() + s + 1);
    }
    *memory.may_rest = idle_rows_may_rest(adam, epoch * shape.steps() + 1) ? 1 : 0;
    run.begin_epoch();
    const EpochGraphs graphs = EpochGraphs::of(rows, batch, 3);
    for (std::int64_t l = 0; l < graphs.launches; ++l) run.steps(graphs.steps, 0);
    run.steps(graphs.last_steps, graphs.last_rows);
    run.evaluate();
    trained.epochs.push_back(*memory.result);
  }
  trained.p.assign(memory.p, memory.p + size);
  trained.m.assign(memory.m, memory.m + size);
  trained.v.assign(memory.v, memory.v + size);
  return trained;
}

template <class T>
void test_training(const NetworkShape& shape, const AdamSettings& adam, const Penalty& penalty, bool active,
                   double tolerance) {
  const Training<T> t(shape, 90, 300);
  constexpr int kEpochs = 3;
  constexpr std::int64_t kBatch = 20;  // the last batch of an epoch has 10 rows
  const Trained got = train_by_launches(t, adam, penalty, active, kBatch, kEpochs);
  pn::reference::ReferenceEngine engine(
      shape, adam, penalty, {widened(t.train_x), widened(t.train_y), widened(t.validation_x), widened(t.validation_y)},
      widened(t.initial));
  Shuffler shuffler(90);
  std::vector<std::uint32_t> order(90);
  std::int64_t step = 0;
  const std::string name = std::string(pn::name(penalty.kind)) + (active ? " active" : " direct");
  const auto expect = [&](double difference, double size, const std::string& what) {
    if (difference <= tolerance * size) return;
    test::fail(__FILE__, __LINE__, name + ": " + what + " is off by " + std::to_string(difference));
  };
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    shuffler.draw(5, static_cast<std::uint32_t>(epoch), order.data());
    engine.begin_epoch(order.data());
    for (std::int64_t first = 0; first < 90; first += kBatch) {
      engine.step(first, std::min<std::int64_t>(kBatch, 90 - first), ++step);
    }
    const Evaluation want = engine.evaluate(Split::validation, [] { return false; });
    const EpochResult& result = got.epochs[static_cast<std::size_t>(epoch)];
    expect(std::abs(result.train_sum - engine.epoch_loss()), engine.epoch_loss(), "training loss");
    expect(std::abs(result.validation_mse - want.mse), want.mse, "validation loss");
    for (std::size_t layer = 0; layer < static_cast<std::size_t>(shape.hidden_layers); ++layer) {
      CHECK_EQ(result.units[layer].dead, want.units[layer].dead);
      CHECK_EQ(result.units[layer].on, want.units[layer].on);
      CHECK_EQ(result.units[layer].mixed, want.units[layer].mixed);
    }
  }
  expect(largest_difference(got.p, engine.parameters()), 1.0, "a parameter");
  expect(largest_difference(got.m, engine.first_moments()), 1.0, "a first moment");
  expect(largest_difference(got.v, engine.second_moments()), 1.0, "a second moment");
}

// The CPU trainer's order, whatever was drawn before: a resumed run goes on with the order of its epoch.
void test_orders() {
  constexpr std::uint64_t kSeed = 123456789012345ull;
  for (const std::int64_t rows : {1, 3, 4, 31, 511, 513, 4097}) {
    Memory storage;
    const auto memory = storage.cut([&](Carver& carver) { return OrderMemory::of(rows, carver); });
    Shuffler shuffler(rows);
    std::vector<std::uint32_t> expected(static_cast<std::size_t>(rows));
    const std::vector<std::uint32_t> in_order = [&] {
      std::vector<std::uint32_t> list;
      for (std::int64_t i = 0; i < rows; ++i) list.push_back(static_cast<std::uint32_t>(i));
      return list;
    }();
    for (const bool backward : {false, true}) {
      HostLauncher launcher(backward);
      for (const std::uint32_t epoch : {7u, 0u, 1u}) {
        shuffler.draw(kSeed, epoch, expected.data());
        launcher.launch(DrawOrder{kSeed, epoch, true, rows, memory});
        CHECK(std::equal(expected.begin(), expected.end(), memory.order));
      }
      launcher.launch(DrawOrder{kSeed, 2, false, rows, memory});
      CHECK(std::equal(in_order.begin(), in_order.end(), memory.order));
    }
  }
}

// Every row once; no graph of more than `most` whole batches, and no more graphs than that takes.
void test_graphs() {
  for (const std::int64_t rows : {1, 7, 8, 9, 63, 64, 65, 640, 64000}) {
    for (const std::int64_t batch : {1, 2, 7, 64, 800}) {
      if (batch > rows) continue;
      for (const std::int64_t most : {1, 3, 16, 64}) {
        const EpochGraphs g = EpochGraphs::of(rows, batch, most);
        CHECK_EQ((g.launches * g.steps + g.last_steps) * batch + g.last_rows, rows);
        CHECK(g.launches >= 0 && g.last_rows >= 0 && g.last_rows < batch);
        CHECK(g.steps <= most && g.last_steps <= g.steps && g.last_steps >= 1);
        CHECK_EQ(g.launches + 1, (rows / batch + most - 1) / most);
      }
    }
  }
  const EpochGraphs paper = EpochGraphs::of(64000, 800, 16);
  CHECK_EQ(paper.launches, 4);
  CHECK_EQ(paper.steps, 16);
  CHECK_EQ(paper.last_steps, 16);
}

void test_trainings() {
  AdamSettings decaying;
  decaying.decay = 0.03;
  decaying.weight_decay = 0.01;
  decaying.epsilon_placement = EpsilonPlacement::corrected;
  for (const PenaltyKind kind : kKinds) {
    const Penalty penalty{kind, kind == PenaltyKind::none ? 0.0 : 1e-3};
    const NetworkShape relu{3, 3, 30, false, 2, Activation::relu};
    test_training<double>(relu, {}, penalty, false, 1e-9);
    test_training<float>(relu, {}, penalty, false, 2e-3);
    test_training<float>(relu, {}, penalty, true, 2e-3);
    test_training<float>(relu, decaying, penalty, true, 2e-3);
    for (const Activation activation : {Activation::relu, Activation::tanh, Activation::sigmoid}) {
      test_training<double>({3, 3, 17, false, 1, activation}, {}, penalty, false, 1e-9);
      test_training<double>({2, 2, 17, false, 2, activation}, decaying, penalty, false, 1e-9);
    }
  }
}

// The optimiser for every network, from a gradient that is given, over several steps.
void test_adam(const NetworkShape& shape, const Penalty& penalty) {
  const ParameterLayout layout = parameter_layout(shape);
  const std::size_t size = static_cast<std::size_t>(layout.size);
  std::vector<double> p = draws<double>(1, layout.size, 1.0), m(size), v(size);
  std::vector<double> want_p = p, want_m(size), want_v(size);
  const AdamSettings settings;
  Memory storage;
  const PathMemory memory = storage.cut([&](Carver& carver) {
    return penalty.kind == PenaltyKind::path_norm ? PathMemory::of(UnitShape::of(shape), carver) : PathMemory{};
  });
  HostLauncher launcher(true);
  const AdamPass<double, HostLauncher> pass(shape, penalty, memory);
  const AdamArrays<double> arrays{tensors_at(p.data(), tensor_offsets(layout)),
                                  tensors_at(m.data(), tensor_offsets(layout)),
                                  tensors_at(v.data(), tensor_offsets(layout))};
  pass.prepare(launcher, as_const(arrays.p));
  for (std::int64_t t = 1; t <= 4; ++t) {
    const std::vector<double> gradient = draws<double>(static_cast<std::uint64_t>(t) + 50, layout.size, 1e-3);
    std::vector<double> whole = gradient;
    add_penalty_gradient(shape, penalty, want_p.data(), whole.data());
    pn::reference::adam(shape, settings, t, whole.data(), want_p.data(), want_m.data(), want_v.data());
    const Tensors<const double> tensors = tensors_at(gradient.data(), tensor_offsets(layout));
    HiddenGradient<double> hidden;
    hidden.whole = tensors.w2;
    hidden.width = shape.width;
    pass.step(launcher, arrays, tensors, hidden, {adam_step<double>(settings, t), nullptr, nullptr});
  }
  CHECK(largest_difference(p, want_p) < 1e-9);
  CHECK(largest_difference(m, want_m) < 1e-9);
  CHECK(largest_difference(v, want_v) < 1e-9);
}

// c, e and q of widths that end within and at the ends of tiles, and of both kinds of tiles; run backwards, bit by bit
// the same.
void test_path_vectors() {
  const std::int64_t large = PathTiles::kLarge + 1;
  for (const std::int64_t width : std::vector<std::int64_t>{1, 8, 31, 32, 33, 255, 257, 545, large}) {
    const std::int64_t groups = width == 33 ? 3 : 1;
    const NetworkShape shape{groups * 37, 37, width, false, 2, Activation::relu};
    const ParameterLayout layout = parameter_layout(shape);
    const std::vector<float> flat = draws<float>(1, layout.size, 1.0);
    const Tensors<const float> p = tensors_at(flat.data(), tensor_offsets(layout));
    const std::size_t units = static_cast<std::size_t>(groups * width);
    std::vector<double> c(units), e(units), q(units);
    for (std::int64_t k = 0; k < groups * width; ++k) {
      for (std::int64_t i = 0; i < 37; ++i) c[static_cast<std::size_t>(k)] += std::abs(double{p.w1[k * 37 + i]});
    }
    for (std::int64_t k = 0; k < groups * width; ++k) {
      for (std::int64_t j = 0; j < width; ++j) {
        const double size = std::abs(double{p.w2[k * width + j]});
        const std::size_t in = static_cast<std::size_t>(k / width * width + j);
        e[in] += std::abs(double{p.w3[k]}) * size;
        q[static_cast<std::size_t>(k)] += size * c[in];
      }
    }
    std::vector<double> bits[2];
    for (const bool backward : {false, true}) {
      Memory storage;
      const PathMemory memory =
          storage.cut([&](Carver& carver) { return PathMemory::of(UnitShape::of(shape), carver); });
      HostLauncher launcher(backward);
      AdamPass<float, HostLauncher>(shape, {PenaltyKind::path_norm, 1e-3}, memory).prepare(launcher, p);
      const auto check = [&](const double* got, const std::vector<double>& want) {
        const double largest = *std::max_element(want.begin(), want.end());
        CHECK(largest_difference(got, want) <= 1e-13 * largest);
        bits[backward].insert(bits[backward].end(), got, got + units);
      };
      check(memory.vectors.c, c);
      check(memory.vectors.e, e);
      check(memory.vectors.q, q);
    }
    // Where a thread's terms are taken backwards, their sum is another; e's are taken by rows.
    CHECK(std::equal(bits[0].begin(), bits[0].begin() + static_cast<std::ptrdiff_t>(2 * units), bits[1].begin()));
  }
}

// Steps of Adam along which the units of layer 2 change classes, with rows of W2 that may rest or without.
struct Stepped {
  std::vector<float> p, m, v;
  std::vector<std::int32_t> rest;  // before the last epoch's end
};

Stepped step_with_classes(bool may_rest, std::int64_t epochs, std::int64_t steps) {
  const NetworkShape shape{3, 3, 21, false, 2, Activation::relu};  // 3 blocks of rows, the last one short
  const ParameterLayout layout = parameter_layout(shape);
  const std::size_t width = 21, size = static_cast<std::size_t>(layout.size);
  Stepped r{draws<float>(1, layout.size, 0.5), std::vector<float>(size), std::vector<float>(size),
            std::vector<std::int32_t>(width)};
  const AdamArrays<float> arrays{tensors_at(r.p.data(), tensor_offsets(layout)),
                                 tensors_at(r.m.data(), tensor_offsets(layout)),
                                 tensors_at(r.v.data(), tensor_offsets(layout))};
  const AdamSettings settings;
  std::vector<AdamStep<float>> table(static_cast<std::size_t>(steps));
  Cursor cursor;
  std::int32_t may = 0;
  std::vector<std::int32_t> rest(width);
  RestingRows resting;
  if (may_rest) resting = {rest.data(), &may, settings.beta1, settings.beta2};
  HostLauncher launcher(true);
  const AdamPass<float, HostLauncher> pass(shape, {}, {}, resting);
  std::vector<std::int32_t> slot(width);
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    cursor = {};
    may = idle_rows_may_rest(settings, epoch * steps + 1) ? 1 : 0;
    for (std::int64_t s = 0; s < steps; ++s) {
      table[static_cast<std::size_t>(s)] = adam_step<float>(settings, epoch * steps + s + 1);
    }
    for (std::int64_t s = 0; s < steps; ++s) {
      const std::int64_t t = epoch * steps + s;
      const auto seed = static_cast<std::uint64_t>(t);
      const std::vector<float> gradient = draws<float>(seed + 100, layout.size, 1e-3), w3 = draws<float>(7, 21, 1.0),
                               on = draws<float>(seed + 5000, 21, 1e-3), panel = draws<float>(seed, 21 * 21, 1e-3);
      for (std::size_t k = 0; k < width; ++k) {
        const bool woken = t == 700 || t == 701;
        const bool dead = k % 4 == 3 || (k % 4 == 1 && t >= 20) || (k % 4 == 2 && t >= 20 && !woken);
        slot[k] = dead ? kDead : k % 4 == 2 ? kOn : static_cast<std::int32_t>(k);
      }
      const HiddenGradient<float> hidden{nullptr, slot.data(), w3.data(), on.data(), panel.data(), shape.width};
      pass.step(launcher, arrays, tensors_at(gradient.data(), tensor_offsets(layout)), hidden,
                {{}, table.data(), &cursor});
      launcher.launch(AdvanceCursor{&cursor, 1});
    }
    r.rest = rest;
    pass.settle(launcher, arrays, &cursor);
    CHECK(std::all_of(rest.begin(), rest.end(), [](std::int32_t since) { return since == 0; }));
  }
  return r;
}

// Resting changes nothing but the rounding of moments: not a bit of parameters that were not woken.
void test_resting_rows() {
  for (const std::int64_t steps : {10, 90, 900}) {
    const Stepped plain = step_with_classes(false, 900 / steps, steps),
                  rested = step_with_classes(true, 900 / steps, steps);
    // Rows may not rest in an epoch that begins with the first step. Others all do but those that stay mixed; those
    // that are woken, in the middle of an epoch or at its beginning, do so again.
    for (std::size_t k = 0; k < 21; ++k) CHECK_EQ(rested.rest[k] != 0, steps != 900 && k % 4 != 0);
    const std::size_t w2 = static_cast<std::size_t>(parameter_layout({3, 3, 21, false, 2, Activation::relu}).w2.offset);
    for (std::size_t i = 0; i < plain.p.size(); ++i) {
      const bool woken = i >= w2 && i < w2 + 21 * 21 && (i - w2) / 21 % 4 == 2;
      if (!woken) CHECK_EQ(rested.p[i], plain.p[i]);
      CHECK(std::abs(rested.p[i] - plain.p[i]) <= 1e-5f);
      CHECK(std::abs(rested.m[i] - plain.m[i]) <= 1e-5f * std::abs(plain.m[i]) + 1e-30f);
      CHECK(std::abs(rested.v[i] - plain.v[i]) <= 1e-4f * plain.v[i] + 1e-30f);
    }
  }
}

// Value and gradient of a penalty, and the path norm.
void test_penalty(const NetworkShape& shape, const Penalty& penalty) {
  const ParameterLayout layout = parameter_layout(shape);
  const std::vector<double> p = draws<double>(1, layout.size, 1.0);
  std::vector<double> gradient = draws<double>(2, layout.size, 1.0), want = gradient;
  add_penalty_gradient(shape, penalty, p.data(), want.data());
  Memory storage;
  const PenaltyMemory memory =
      storage.cut([&](Carver& carver) { return PenaltyMemory::of<double>(shape, penalty.kind, carver); });
  HostLauncher launcher;
  double value = 1.5;
  add_penalty(launcher, shape, penalty, memory, tensors_at(p.data(), tensor_offsets(layout)),
              tensors_at(gradient.data(), tensor_offsets(layout)), &value);
  const double expected = 1.5 + penalty_value(shape, penalty, p.data());
  CHECK(std::abs(value - expected) <= 1e-12 * expected);
  CHECK(largest_difference(gradient, want) < 1e-10);
}

void test_every_network() {
  for (const std::int64_t width : {1, 3, 7, 8, 9, 16, 50}) {
    for (const int layers : {1, 2}) {
      const NetworkShape shapes[] = {{4, 4, width, false, layers, Activation::relu},
                                     {4, 1, width, false, layers, Activation::relu},
                                     {4, 2, width, false, layers, Activation::relu},
                                     {4, 1, width, true, layers, Activation::relu},
                                     {4, 2, width, true, layers, Activation::tanh}};
      for (const NetworkShape& shape : shapes) {
        for (const PenaltyKind kind : kKinds) {
          const Penalty penalty{kind, kind == PenaltyKind::none ? 0.0 : 0.3};
          test_adam(shape, penalty);
          test_penalty(shape, penalty);
        }
      }
    }
  }
}

}  // namespace

int main() {
  test_every_network();
  test_path_vectors();
  test_resting_rows();
  test_orders();
  test_graphs();
  test_trainings();
  return test::report();
}
