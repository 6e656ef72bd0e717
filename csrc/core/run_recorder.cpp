#include "core/run_recorder.hpp"

#include <algorithm>
#include <cmath>

namespace pn {

RunRecorder::RunRecorder(const TrainingPlan& plan, Monitor& monitor) : plan_(plan), monitor_(monitor) {
  const auto epochs = static_cast<std::size_t>(std::min<std::int64_t>(plan.epochs - plan.start.epochs, 1 << 20));
  record_.history.train_loss.reserve(epochs);
  record_.history.validation_loss.reserve(epochs);
  record_.history.units.reserve(epochs);
  record_.standing = plan.start;
  monitor_.steps = plan.start.steps;
  monitor_.epochs = plan.start.epochs;
  monitor_.best_validation_loss = plan.start.best_validation_loss;
}

bool RunRecorder::stopped() {
  if (!monitor_.stop.load(std::memory_order_relaxed)) return false;
  record_.status = Status::interrupted;
  return true;
}

bool RunRecorder::close_epoch(double train_sum, const Evaluation& validation) {
  const double train_loss = train_sum / static_cast<double>(batches());
  record_.history.train_loss.push_back(train_loss);
  record_.history.validation_loss.push_back(validation.mse);
  record_.history.units.push_back(validation.units);
  Standing& standing = record_.standing;
  const bool best = validation.mse < standing.best_validation_loss;
  if (best) {
    standing.best_epoch = standing.epochs;
    standing.best_validation_loss = validation.mse;
  }
  ++standing.epochs;
  standing.steps += batches();
  monitor_.best_validation_loss = standing.best_validation_loss;
  monitor_.train_loss = train_loss;
  monitor_.validation_loss = validation.mse;
  monitor_.steps = standing.steps;
  monitor_.epochs = standing.epochs;
  if (!std::isfinite(train_loss) || !std::isfinite(validation.mse)) record_.status = Status::diverged;
  return best;
}

}  // namespace pn
