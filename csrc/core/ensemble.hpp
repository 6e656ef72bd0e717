// The training loop for several runs side by side on one device: networks, data and batches of equal shape, each run
// with its own parameters, data, optimiser, penalty, seed and number of epochs.
#pragma once

#include <vector>

#include "core/trainer.hpp"

namespace pn {

// The next epoch of one member.
struct MemberEpoch {
  std::int64_t member = 0;
  std::uint32_t epoch = 0;  // from 0; keys the shuffling
  std::int64_t steps = 0;   // taken before it
};

struct MemberResult {
  double train_sum = 0.0;  // over the epoch's batches of each batch's mean squared error, before its update
  Evaluation validation;   // after the epoch
};

// Parameters, optimiser states and data of the members on one device.
class EnsembleEngine {
 public:
  virtual ~EnsembleEngine() = default;
  // Trains these members, in ascending order, for one epoch (reshuffling, all batches) and evaluates them on their
  // validation rows. results: (epochs.size(),) is overwritten; of no use where `stop` was obeyed. Members that are not
  // listed are left as they are.
  virtual void run_epoch(const std::vector<MemberEpoch>& epochs, std::vector<MemberResult>& results,
                         const ShouldStop& stop) = 0;
  // Copies these members' parameters to their best ones.
  virtual void keep_best(const std::vector<std::int64_t>& members) = 0;
};

// Runs the plans, member for member. A member that diverges, ends or is stopped is left out from then on, and the
// others go on. A record's seconds count from the call to the end of that member's last epoch.
std::vector<TrainingRecord> train_ensemble(EnsembleEngine& engine, const std::vector<TrainingPlan>& plans,
                                           std::vector<Monitor>& monitors);

}  // namespace pn
