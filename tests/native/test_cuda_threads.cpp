// The GPU's kernels for LN and LCN by teams of real threads, all teams of a launch at once: with ThreadSanitizer a
// search for races within and between thread blocks; the numbers are those of one thread.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/penalty_gradient.hpp"
#include "core/random.hpp"
#include "cuda/blocks/local_epoch.hpp"
#include "cuda/blocks/step_schedule.hpp"
#include "cuda/device/shuffle.hpp"
#include "piecewise_cases.hpp"
#include "thread_team.hpp"

namespace {

using pn::NetworkShape;
using pn::cuda::HostTeam;
using pn::cuda::PhaseCall;
using namespace pn::test;

constexpr int kThreads = 2 * kWarp, kMembers = 2;
constexpr std::uint32_t kEpochs = 2;
constexpr std::uint64_t kSeed = 3;

// Memory of the device and of thread blocks before it is written: nobody may rely on what is there.
std::vector<double> garbage(std::int64_t bytes) {
  return std::vector<double>(static_cast<std::size_t>(bytes / 8 + 2), std::nan(""));
}

struct Data {
  std::vector<double> x, y;
  std::vector<pn::piecewise::Range> ranges;

  pn::cuda::DeviceRows<double> rows() const {
    return {x.data(), y.data(), ranges.data(), static_cast<std::int64_t>(y.size())};
  }
};

struct Settings {
  NetworkShape shape;
  std::int64_t rows, validation_rows, batch_size;
  pn::Penalty penalty;
};

// Some members, as the engine on the device has them.
class Ensemble {
 public:
  explicit Ensemble(const Settings& settings) : s(settings) {
    Draws draws(7);
    train = data(s.rows, draws);
    validation = data(s.validation_rows, draws);
    const auto size = static_cast<std::size_t>(pn::parameter_layout(s.shape).size);
    for (std::size_t m = 0; m < kMembers; ++m) {
      p[m] = random_case(s.shape, 1, draws, 0.1).p;
      best[m] = p[m];
      first[m].assign(size, 0.0);
      second[m].assign(size, 0.0);
      order[m].resize(static_cast<std::size_t>(s.rows));
      members[m] = {p[m].data(),
                    best[m].data(),
                    first[m].data(),
                    second[m].data(),
                    train.rows(),
                    validation.rows(),
                    {},
                    pn::cuda::penalty_strengths<double>(s.penalty, pn::path_norm_factor(s.shape)),
                    kSeed + m,
                    1,
                    order[m].data()};
    }
  }

  // The second member comes first.
  void begin_epoch(std::uint32_t epoch) {
    const std::int64_t steps = epoch * ((s.rows + s.batch_size - 1) / s.batch_size);
    for (std::int32_t m = 0; m < kMembers; ++m) turns[m] = {kMembers - 1 - m, epoch, steps};
  }

  Settings s;
  Data train, validation;
  std::vector<double> p[kMembers], best[kMembers], first[kMembers], second[kMembers];
  std::vector<std::uint32_t> order[kMembers];
  pn::cuda::Member<double> members[kMembers];
  pn::cuda::Turn turns[kMembers];
  pn::cuda::EpochReport reports[kMembers] = {};

 private:
  Data data(std::int64_t rows, Draws& draws) const {
    const Case c = random_case(s.shape, rows, draws, 0.1);
    return {c.x, c.y,
            std::vector<pn::piecewise::Range>(static_cast<std::size_t>(s.shape.inputs),
                                              pn::piecewise::range_around(-1.0, 1.0))};
  }
};

// A launch of `blocks` teams by threads, or, for the numbers, by one thread.
template <class Body>
void launch(bool threads, int blocks, Body body) {
  if (threads) {
    launch_threads(blocks, kThreads, body);
  } else {
    for (int block = 0; block < blocks; ++block) body(HostTeam(), block);
  }
}

void draw_orders(bool threads, Ensemble& e) {
  const std::int64_t rows = e.s.rows;
  const std::int64_t count = std::max(pn::cuda::Stretches::of(rows, kThreads).items(), rows);
  std::vector<std::uint64_t> items(static_cast<std::size_t>(kMembers * 2 * count));
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(kMembers * pn::cuda::kDigits * kThreads));
  launch(threads, kMembers, [&](const auto& team, int block) {
    const pn::cuda::Turn& turn = e.turns[block];
    const pn::cuda::Member<double>& member = e.members[turn.member];
    std::uint64_t* const own = items.data() + turn.member * 2 * count;
    pn::cuda::draw_order(team, member.seed, turn.epoch, rows, own, own + count,
                         counts.data() + turn.member * pn::cuda::kDigits * kThreads, member.order);
  });
}

void local_epochs(bool threads, Ensemble& e, std::int64_t fast_bytes) {
  const pn::cuda::BlockShape shape = pn::cuda::block_shape(e.s.shape);
  const auto inputs = static_cast<std::int32_t>(e.s.shape.inputs);
  pn::cuda::Arena measure(nullptr, fast_bytes, nullptr);
  pn::cuda::take_local<double>(measure, shape, e.s.batch_size);
  const std::int64_t slow_bytes = measure.slow_used(), steps = (e.s.rows + e.s.batch_size - 1) / e.s.batch_size;
  std::vector<double> slow = garbage(kMembers * slow_bytes);
  for (std::uint32_t epoch = 0; epoch < kEpochs; ++epoch) {
    e.begin_epoch(epoch);
    draw_orders(threads, e);
    for (const std::int64_t first : {std::int64_t{0}, steps / 2}) {
      std::vector<std::vector<double>> fast(kMembers, garbage(measure.fast_used()));
      const pn::cuda::EpochSteps span{e.s.batch_size, first, first == 0 ? steps / 2 : steps, first > 0};
      launch(threads, kMembers, [&](const auto& team, int block) {
        const pn::cuda::Turn& turn = e.turns[block];
        pn::cuda::Arena arena(reinterpret_cast<char*>(fast[static_cast<std::size_t>(block)].data()),
                              measure.fast_used(), reinterpret_cast<char*>(slow.data()) + turn.member * slow_bytes);
        const auto w = pn::cuda::take_local<double>(arena, shape, e.s.batch_size);
        pn::cuda::local_epoch(team, shape, inputs, e.members[turn.member], turn, span, w, e.reports[block]);
      });
    }
  }
}

void run_calls(bool threads, const pn::cuda::StepView<double>& v, const std::vector<PhaseCall>& calls) {
  for (const PhaseCall& call : calls) {
    const int members = *v.turn_count, blocks = call.teams * members;
    std::vector<std::vector<double>> fast(static_cast<std::size_t>(blocks), garbage(v.fast_bytes));
    launch(threads, blocks, [&](const auto& team, int block) {
      char* const own = reinterpret_cast<char*>(fast[static_cast<std::size_t>(block)].data());
      pn::cuda::run_phase(team, v, {block / members, block % members, own}, call);
    });
  }
}

void phased_epochs(bool threads, Ensemble& e, bool piecewise, std::int64_t fast_bytes) {
  auto v = pn::cuda::step_view<double>(e.s.shape, piecewise, e.s.batch_size, e.s.rows, e.s.validation_rows, fast_bytes);
  std::vector<double> memory = garbage(kMembers * v.member_bytes);
  const std::int32_t count = kMembers;
  std::int64_t clock = 0;
  v.members = e.members;
  v.turns = e.turns;
  v.turn_count = &count;
  v.reports = e.reports;
  v.clock = &clock;
  v.memory = reinterpret_cast<char*>(memory.data());
  for (std::uint32_t epoch = 0; epoch < kEpochs; ++epoch) {
    e.begin_epoch(epoch);
    draw_orders(threads, e);
    clock = 0;
    run_calls(threads, v, {pn::cuda::begin_call()});
    while (clock < v.steps) run_calls(threads, v, pn::cuda::step_calls(v, 3));
    run_calls(threads, v, pn::cuda::validation_calls(v, e.s.validation_rows));
  }
}

// Loss, gradient and predictions; x, y and p of the first member.
struct Evaluated {
  double loss = 0.0;
  std::vector<double> gradient, f;
};

Evaluated evaluated_in_phases(bool threads, Ensemble& e, bool piecewise) {
  const std::int64_t rows = e.s.rows;
  Evaluated result{0.0, std::vector<double>(e.p[0].size()), std::vector<double>(e.train.y.size())};
  pn::cuda::Member<double> member = e.members[0];
  member.validation = member.train;
  member.order = nullptr;
  const pn::cuda::Turn turn{};
  const std::int32_t one = 1;
  std::int64_t clock = 0;
  for (const bool predict : {true, false}) {
    auto v = pn::cuda::step_view<double>(e.s.shape, piecewise, predict ? 9 : rows, rows, predict ? 9 : rows, 10000);
    std::vector<double> memory = garbage(v.member_bytes);
    v.members = &member;
    v.turns = &turn;
    v.turn_count = &one;
    v.reports = e.reports;
    v.clock = &clock;
    v.memory = reinterpret_cast<char*>(memory.data());
    v.result = {result.f.data(), pn::cuda::tensors_at(result.gradient.data(), v.offsets), &result.loss};
    run_calls(threads, v, predict ? pn::cuda::forward_calls(v, rows) : pn::cuda::gradient_calls(v));
  }
  return result;
}

Evaluated evaluated_locally(bool threads, Ensemble& e) {
  const pn::cuda::BlockShape shape = pn::cuda::block_shape(e.s.shape);
  const auto inputs = static_cast<std::int32_t>(e.s.shape.inputs), rows = static_cast<std::int32_t>(e.s.rows);
  const auto p = pn::cuda::as_const(pn::cuda::packed_tensors(e.p[0].data(), shape));
  Evaluated result{0.0, std::vector<double>(e.p[0].size()), std::vector<double>(e.train.y.size())};
  const auto take = [&](pn::cuda::Arena& arena) { return pn::cuda::take_pieces(arena, arena, shape); };
  pn::cuda::Arena measure(nullptr, 0, nullptr);
  take(measure);
  constexpr int kBlocks = 3;
  std::vector<double> memory = garbage(kBlocks * measure.slow_used()), residual = garbage(8 * rows);
  const pn::cuda::RowSlice<double> all{e.train.rows(), nullptr, 0, rows, inputs};
  launch(threads, kBlocks, [&](const auto& team, int block) {
    pn::cuda::Arena arena(nullptr, 0, reinterpret_cast<char*>(memory.data()) + block * measure.slow_used());
    const auto w = take(arena);
    const pn::cuda::RowSpan span = pn::cuda::chunk_span(rows, block, kBlocks);
    const pn::cuda::RowSlice<double> own{e.train.rows(), nullptr, span.first, span.end - span.first, inputs};
    pn::cuda::local_forward(team, shape, p, w, own, result.f.data());
  });
  launch(threads, 1, [&](const auto& team, int) {
    pn::cuda::Arena arena(nullptr, 0, reinterpret_cast<char*>(memory.data()));
    const double loss = pn::cuda::local_gradient(team, shape, p, take(arena), all, residual.data(),
                                                 pn::cuda::packed_tensors(result.gradient.data(), shape));
    team.one([&] { result.loss = loss; });
  });
  return result;
}

void check_close(const std::vector<double>& actual, const std::vector<double>& expected, const std::string& what) {
  check_below(difference(actual.data(), expected.data(), static_cast<std::int64_t>(actual.size()), 1e-3), 1e-9, what);
}

std::string describe(const Settings& s, bool piecewise) {
  return std::string(s.shape.shared ? "LN" : "LCN") + ", width " + std::to_string(s.shape.width) + ", " +
         std::to_string(s.shape.hidden_layers) + " layers, penalty " + std::string(pn::name(s.penalty.kind)) +
         (piecewise ? "" : ", direct");
}

// run(threads, ensemble) with threads and without.
template <class Run>
void check_runs(const Settings& s, const std::string& what, Run run) {
  Ensemble alone(s), together(s);
  run(false, alone);
  run(true, together);
  for (std::size_t m = 0; m < kMembers; ++m) {
    CHECK(together.order[m] == alone.order[m]);
    check_close(together.p[m], alone.p[m], what + ", parameters");
    check_close(together.second[m], alone.second[m], what + ", second moments");
    const pn::cuda::EpochReport &got = together.reports[m], &expected = alone.reports[m];
    check_below(std::abs(got.train_sum - expected.train_sum) / expected.train_sum, 1e-9, what + ", training loss");
    check_below(std::abs(got.validation_sum - expected.validation_sum) / expected.validation_sum, 1e-9,
                what + ", validation loss");
    for (std::int32_t l = 0; l < s.shape.hidden_layers; ++l) {
      CHECK_EQ(got.units[l].dead, expected.units[l].dead);
      CHECK_EQ(got.units[l].on, expected.units[l].on);
      CHECK_EQ(got.units[l].mixed, expected.units[l].mixed);
    }
  }
}

template <class Evaluate>
void check_evaluations(const Settings& s, const std::string& what, Evaluate evaluate) {
  Ensemble e(s);
  const Evaluated alone = evaluate(false, e), together = evaluate(true, e);
  check_close({together.loss}, {alone.loss}, what + ", loss");
  check_close(together.gradient, alone.gradient, what + ", gradient");
  check_close(together.f, alone.f, what + ", predictions");
}

}  // namespace

int main() {
  for (const bool shared : {true, false}) {
    for (const std::int32_t layers : {1, 2}) {
      for (const pn::PenaltyKind kind : {pn::PenaltyKind::none, pn::PenaltyKind::path_norm}) {
        // More events are possible than the small arrays have room for; the last batch is smaller.
        const Settings s{network(3, 15, shared, layers), 41, 23, 9, {kind, 1e-3}};
        const std::int64_t fast = kind == pn::PenaltyKind::none ? 100000 : 0;
        if (shared) check_runs(s, describe(s, true), [&](bool t, Ensemble& e) { local_epochs(t, e, fast); });
        if (!shared) check_runs(s, describe(s, true), [&](bool t, Ensemble& e) { phased_epochs(t, e, true, fast); });
        check_runs(s, describe(s, false), [&](bool t, Ensemble& e) { phased_epochs(t, e, false, fast); });
        if (kind != pn::PenaltyKind::none) continue;
        if (shared) check_evaluations(s, describe(s, true), evaluated_locally);
        for (const bool piecewise : {true, false}) {
          if (shared && piecewise) continue;
          check_evaluations(s, describe(s, piecewise),
                            [&](bool t, Ensemble& e) { return evaluated_in_phases(t, e, piecewise); });
        }
      }
    }
  }
  return pn::test::report();
}
