#include "core/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "core/run_recorder.hpp"

namespace pn {

const char* name(Status status) {
  switch (status) {
    case Status::completed: return "completed";
    case Status::diverged: return "diverged";
    case Status::interrupted: return "interrupted";
  }
  return "unknown";
}

namespace {

class Loop {
 public:
  Loop(Engine& engine, const TrainingPlan& plan, Monitor& monitor)
      : engine_(engine), plan_(plan), monitor_(monitor), recorder_(plan, monitor),
        shuffler_(plan.shuffle ? plan.rows : 0), order_(static_cast<std::size_t>(plan.rows)) {
    std::iota(order_.begin(), order_.end(), 0u);
  }

  TrainingRecord run() {
    if (plan_.start.epochs == 0) engine_.keep_best();
    while (!recorder_.over() && train_epoch()) {
      const double train_sum = engine_.epoch_loss();
      const Evaluation validation =
          engine_.evaluate(Split::validation, [this] { return monitor_.stop.load(std::memory_order_relaxed); });
      if (recorder_.stopped()) break;
      if (recorder_.close_epoch(train_sum, validation)) engine_.keep_best();
    }
    return recorder_.take();
  }

 private:
  bool train_epoch() {
    if (plan_.shuffle) shuffler_.draw(plan_.seed, static_cast<std::uint32_t>(recorder_.epoch()), order_.data());
    engine_.begin_epoch(order_.data());
    std::int64_t t = recorder_.steps();
    for (std::int64_t first = 0; first < plan_.rows; first += plan_.batch_size) {
      if (recorder_.stopped()) return false;
      engine_.step(first, std::min(plan_.batch_size, plan_.rows - first), ++t);
      monitor_.steps.store(t, std::memory_order_relaxed);
    }
    return true;
  }

  Engine& engine_;
  const TrainingPlan& plan_;
  Monitor& monitor_;
  RunRecorder recorder_;
  Shuffler shuffler_;
  std::vector<std::uint32_t> order_;
};

}  // namespace

TrainingRecord train(Engine& engine, const TrainingPlan& plan, Monitor& monitor) {
  const auto start = std::chrono::steady_clock::now();
  TrainingRecord record = Loop(engine, plan, monitor).run();
  record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return record;
}

}  // namespace pn
