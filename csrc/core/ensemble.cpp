#include "core/ensemble.hpp"

#include <algorithm>
#include <chrono>
#include <deque>

#include "core/run_recorder.hpp"

namespace pn {
namespace {

class EnsembleLoop {
 public:
  EnsembleLoop(EnsembleEngine& engine, const std::vector<TrainingPlan>& plans, std::vector<Monitor>& monitors)
      : engine_(engine), monitors_(monitors), start_(std::chrono::steady_clock::now()) {
    for (std::size_t m = 0; m < plans.size(); ++m) {
      recorders_.emplace_back(plans[m], monitors[m]);
      if (plans[m].start.epochs == 0) improved_.push_back(static_cast<std::int64_t>(m));
    }
    if (!improved_.empty()) engine_.keep_best(improved_);
  }

  std::vector<TrainingRecord> run() {
    while (list_members()) {
      engine_.run_epoch(epochs_, results_, [this] { return all_stopped(); });
      close_epoch();
    }
    std::vector<TrainingRecord> records;
    for (RunRecorder& recorder : recorders_) records.push_back(recorder.take());
    return records;
  }

 private:
  RunRecorder& recorder(const MemberEpoch& e) { return recorders_[static_cast<std::size_t>(e.member)]; }

  // Who takes part in the next epoch; false: nobody.
  bool list_members() {
    epochs_.clear();
    for (std::size_t m = 0; m < recorders_.size(); ++m) {
      RunRecorder& r = recorders_[m];
      if (r.over() || r.stopped()) continue;
      epochs_.push_back({static_cast<std::int64_t>(m), static_cast<std::uint32_t>(r.epoch()), r.steps()});
    }
    results_.assign(epochs_.size(), {});
    return !epochs_.empty();
  }

  bool all_stopped() const {
    return std::all_of(epochs_.begin(), epochs_.end(), [this](const MemberEpoch& e) {
      return monitors_[static_cast<std::size_t>(e.member)].stop.load(std::memory_order_relaxed);
    });
  }

  void close_epoch() {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    improved_.clear();
    for (std::size_t i = 0; i < epochs_.size(); ++i) {
      RunRecorder& r = recorder(epochs_[i]);
      r.set_seconds(seconds);
      if (r.stopped()) continue;
      if (r.close_epoch(results_[i].train_sum, results_[i].validation)) improved_.push_back(epochs_[i].member);
      if (r.over()) monitors_[static_cast<std::size_t>(epochs_[i].member)].finished = true;
    }
    if (!improved_.empty()) engine_.keep_best(improved_);
  }

  EnsembleEngine& engine_;
  std::vector<Monitor>& monitors_;
  std::chrono::steady_clock::time_point start_;
  std::deque<RunRecorder> recorders_;
  std::vector<MemberEpoch> epochs_;
  std::vector<MemberResult> results_;
  std::vector<std::int64_t> improved_;
};

}  // namespace

std::vector<TrainingRecord> train_ensemble(EnsembleEngine& engine, const std::vector<TrainingPlan>& plans,
                                           std::vector<Monitor>& monitors) {
  return EnsembleLoop(engine, plans, monitors).run();
}

}  // namespace pn
