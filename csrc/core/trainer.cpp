#include "core/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

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
      : engine_(engine), plan_(plan), monitor_(monitor), shuffler_(plan.shuffle ? plan.rows : 0),
        order_(static_cast<std::size_t>(plan.rows)) {
    std::iota(order_.begin(), order_.end(), 0u);
    const auto epochs = static_cast<std::size_t>(std::min<std::int64_t>(plan.epochs - plan.start.epochs, 1 << 20));
    record_.history.train_loss.reserve(epochs);
    record_.history.validation_loss.reserve(epochs);
    record_.history.units.reserve(epochs);
    record_.standing = plan.start;
    t_ = plan.start.steps;
    monitor_.steps = t_;
    monitor_.epochs = plan.start.epochs;
    monitor_.best_validation_loss = plan.start.best_validation_loss;
  }

  TrainingRecord run() {
    if (plan_.start.epochs == 0) engine_.keep_best();
    for (std::int64_t epoch = plan_.start.epochs; epoch < plan_.epochs; ++epoch) {
      if (!train_epoch(epoch) || !close_epoch(epoch)) break;
    }
    return std::move(record_);
  }

 private:
  bool stopped() {
    if (!monitor_.stop.load(std::memory_order_relaxed)) return false;
    record_.status = Status::interrupted;
    return true;
  }

  bool train_epoch(std::int64_t epoch) {
    if (plan_.shuffle) shuffler_.draw(plan_.seed, static_cast<std::uint32_t>(epoch), order_.data());
    engine_.begin_epoch(order_.data());
    for (std::int64_t first = 0; first < plan_.rows; first += plan_.batch_size) {
      if (stopped()) return false;
      engine_.step(first, std::min(plan_.batch_size, plan_.rows - first), ++t_);
      monitor_.steps.store(t_, std::memory_order_relaxed);
    }
    return true;
  }

  bool close_epoch(std::int64_t epoch) {
    const std::int64_t batches = (plan_.rows + plan_.batch_size - 1) / plan_.batch_size;
    const double train_loss = engine_.epoch_loss() / static_cast<double>(batches);
    const Evaluation validation =
        engine_.evaluate(Split::validation, [this] { return monitor_.stop.load(std::memory_order_relaxed); });
    if (stopped()) return false;
    record_.history.train_loss.push_back(train_loss);
    record_.history.validation_loss.push_back(validation.mse);
    record_.history.units.push_back(validation.units);
    Standing& standing = record_.standing;
    standing.epochs = epoch + 1;
    standing.steps = t_;
    if (validation.mse < standing.best_validation_loss) {
      engine_.keep_best();
      standing.best_epoch = epoch;
      standing.best_validation_loss = validation.mse;
    }
    monitor_.best_validation_loss = standing.best_validation_loss;
    monitor_.train_loss = train_loss;
    monitor_.validation_loss = validation.mse;
    monitor_.epochs = epoch + 1;
    if (std::isfinite(train_loss) && std::isfinite(validation.mse)) return true;
    record_.status = Status::diverged;
    return false;
  }

  Engine& engine_;
  const TrainingPlan& plan_;
  Monitor& monitor_;
  Shuffler shuffler_;
  std::vector<std::uint32_t> order_;
  TrainingRecord record_;
  std::int64_t t_ = 0;
};

}  // namespace

TrainingRecord train(Engine& engine, const TrainingPlan& plan, Monitor& monitor) {
  const auto start = std::chrono::steady_clock::now();
  TrainingRecord record = Loop(engine, plan, monitor).run();
  record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return record;
}

}  // namespace pn
