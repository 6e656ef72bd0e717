// What is kept of a run from epoch to epoch, whatever trains it, alone or beside others: history, standing, the
// verdict, and what its monitor shows.
#pragma once

#include <utility>

#include "core/trainer.hpp"

namespace pn {

class RunRecorder {
 public:
  // plan and monitor belong to the caller and outlive the recorder.
  RunRecorder(const TrainingPlan& plan, Monitor& monitor);

  // The epoch that comes next; its first step is number steps() + 1.
  std::int64_t epoch() const { return record_.standing.epochs; }
  std::int64_t steps() const { return record_.standing.steps; }
  std::int64_t batches() const { return (plan_.rows + plan_.batch_size - 1) / plan_.batch_size; }  // of an epoch
  // All epochs are done, or the run has diverged or been interrupted.
  bool over() const { return record_.status != Status::completed || epoch() >= plan_.epochs; }

  // Whether the monitor asks for a stop; the run is interrupted then.
  bool stopped();

  // After an epoch. train_sum: of the batches' losses. True: the best validation loss so far, whose parameters are to
  // be kept.
  bool close_epoch(double train_sum, const Evaluation& validation);

  void set_seconds(double seconds) { record_.seconds = seconds; }
  TrainingRecord take() { return std::move(record_); }

 private:
  const TrainingPlan& plan_;
  Monitor& monitor_;
  TrainingRecord record_;
};

}  // namespace pn
