// Dense kernels that pass data between threads, by teams of real threads, all teams of a launch at once: with
// ThreadSanitizer a search for races within and between thread blocks; the numbers are those of one thread.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "cuda/dense/adam_pass.hpp"
#include "thread_team.hpp"
#include "vectors.hpp"

namespace {

using namespace pn;
using namespace pn::cuda;
using pn::test::draws;
using pn::test::launch_threads;
using pn::test::ThreadTeam;

// Not a divisor of the columns of a block: else each thread would go on with what it wrote itself.
constexpr int kTeam = 3 * pn::test::kWarp;

// Runs the launches of csrc/cuda/dense by threads.
class ThreadLauncher {
 public:
  explicit ThreadLauncher(bool threads) : threads_(threads) {}

  template <class Kernel>
  void launch(const Kernel& kernel) {
    const auto blocks = static_cast<int>(kernel.blocks());
    if (threads_) {
      launch_threads(blocks, kTeam, [&](const ThreadTeam& team, int block) { kernel(team, block); });
    } else {
      for (int block = 0; block < blocks; ++block) kernel(HostTeam(), block);
    }
  }

 private:
  bool threads_;
};

// Parameters and moments after some steps under the path norm, and its vectors.
std::vector<double> path_norm_steps(const NetworkShape& shape, bool threads) {
  const pn::ParameterLayout layout = pn::parameter_layout(shape);
  std::vector<double> p = draws<double>(1, layout.size, 1.0), m(p.size()), v(p.size());
  const std::vector<double> gradient = draws<double>(2, layout.size, 1e-3);
  const UnitShape units = UnitShape::of(shape);
  Carver measure;
  PathMemory::of(units, measure);
  std::vector<double> storage(static_cast<std::size_t>(measure.bytes() / 8), std::nan(""));
  Carver carver(storage.data());
  const PathMemory memory = PathMemory::of(units, carver);
  const auto offsets = tensor_offsets(layout);
  const AdamArrays<double> arrays{tensors_at(p.data(), offsets), tensors_at(m.data(), offsets),
                                  tensors_at(v.data(), offsets)};
  const auto tensors = tensors_at(gradient.data(), offsets);
  HiddenGradient<double> hidden;
  hidden.whole = tensors.w2;
  hidden.width = shape.width;
  ThreadLauncher launcher(threads);
  const AdamPass<double, ThreadLauncher> pass(shape, {pn::PenaltyKind::path_norm, 1e-3}, memory);
  pass.prepare(launcher, as_const(arrays.p));
  for (std::int64_t t = 1; t <= 2; ++t) {
    pass.step(launcher, arrays, tensors, hidden, {pn::adam_step<double>({}, t), nullptr, nullptr});
  }
  for (const std::vector<double>* more : {&m, &v}) p.insert(p.end(), more->begin(), more->end());
  for (const double* vector : {memory.vectors.c, memory.vectors.e, memory.vectors.q}) {
    p.insert(p.end(), vector, vector + units.units());
  }
  return p;
}

void check_path_norm_steps() {
  for (const NetworkShape& shape :
       {NetworkShape{3, 3, 70, false, 2, pn::Activation::relu}, NetworkShape{2, 2, 260, false, 2, pn::Activation::relu},
        NetworkShape{4, 2, 9, false, 1, pn::Activation::tanh}}) {
    const std::vector<double> alone = path_norm_steps(shape, false), together = path_norm_steps(shape, true);
    double most = 0.0;
    for (std::size_t i = 0; i < alone.size(); ++i) {
      const double difference = std::abs(together[i] - alone[i]) / (1e-3 + std::abs(alone[i]));
      most = std::isnan(difference) ? 1e300 : std::max(most, difference);
    }
    CHECK(most <= 1e-9);
    CHECK(path_norm_steps(shape, true) == together);
  }
}

// Parameters and moments where rows of W2 come to rest, are woken, and settle.
std::vector<double> resting_steps(bool threads) {
  const NetworkShape shape{3, 3, 21, false, 2, pn::Activation::relu};
  const pn::ParameterLayout layout = pn::parameter_layout(shape);
  std::vector<double> p = draws<double>(1, layout.size, 1.0), m(p.size()), v(p.size());
  const std::vector<double> gradient = draws<double>(2, layout.size, 1e-3);
  const auto offsets = tensor_offsets(layout);
  const AdamArrays<double> arrays{tensors_at(p.data(), offsets), tensors_at(m.data(), offsets),
                                  tensors_at(v.data(), offsets)};
  const std::vector<double> w3 = draws<double>(3, 21, 1.0), on = draws<double>(4, 21, 1.0);
  std::vector<std::int32_t> slot(21), rest(21);
  const std::int32_t may = 1;
  constexpr std::int64_t kSteps = 6;
  std::vector<AdamStep<double>> table;
  for (std::int64_t t = 1; t <= kSteps; ++t) table.push_back(pn::adam_step<double>({}, t));
  Cursor cursor;
  ThreadLauncher launcher(threads);
  const AdamPass<double, ThreadLauncher> pass(shape, {}, {}, {rest.data(), &may, 0.9, 0.999});
  for (std::int64_t s = 0; s < kSteps; ++s) {
    // Without moments a dead row rests at once.
    for (std::size_t k = 0; k < 21; ++k) slot[k] = k % 3 == 0 || (k % 3 == 1 && s == 3) ? kOn : kDead;
    const HiddenGradient<double> hidden{nullptr, slot.data(), w3.data(), on.data(), nullptr, shape.width};
    pass.step(launcher, arrays, tensors_at(gradient.data(), offsets), hidden, {{}, table.data(), &cursor});
    launcher.launch(AdvanceCursor{&cursor, 1});
    for (std::size_t k = 0; k < 21; ++k) CHECK_EQ(rest[k] != 0, k % 3 == 2 || (k % 3 == 1 && s < 3));
  }
  pass.settle(launcher, arrays, &cursor);
  for (const std::vector<double>* more : {&m, &v}) p.insert(p.end(), more->begin(), more->end());
  return p;
}

}  // namespace

int main() {
  check_path_norm_steps();
  CHECK(resting_steps(true) == resting_steps(false));
  return pn::test::report();
}
