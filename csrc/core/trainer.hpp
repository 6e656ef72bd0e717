// The training loop, once for every backend: epochs, reshuffling, batches, validation, best parameters, history.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/adam.hpp"
#include "core/random.hpp"

namespace pn {

constexpr int kMaxHiddenLayers = 2;

// Units of one hidden layer by what they do on a set of rows. ReLU only; the units of other activations are all mixed.
struct UnitCounts {
  std::int64_t dead = 0;   // z <= 0 on every row
  std::int64_t on = 0;     // z > 0 on every row
  std::int64_t mixed = 0;  // the rest
};

struct Evaluation {
  double mse = 0.0;
  std::array<UnitCounts, kMaxHiddenLayers> units{};
};

enum class Split { train, validation };

// Asked between pieces of work of well under a second; true means: return at once.
using ShouldStop = std::function<bool()>;

// One run's network, parameters, optimiser state and data on one device. Work may be asynchronous: only the calls that
// return a number wait for it.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual void begin_epoch(const std::uint32_t* order) = 0;  // order: (training rows,); read until the next call
  // Forward, backward and Adam step t (from 1) on rows order[first .. first+count).
  virtual void step(std::int64_t first, std::int64_t count, std::int64_t t) = 0;
  // Sum over the epoch's batches of each batch's mean squared error, before its update.
  virtual double epoch_loss() = 0;
  virtual Evaluation evaluate(Split split, const ShouldStop& stop) = 0;
  virtual void keep_best() = 0;  // copies the parameters to the best ones
};

// Where a run stands between two epochs, besides the engine's arrays.
struct Standing {
  std::int64_t epochs = 0;       // finished
  std::int64_t steps = 0;        // taken
  std::int64_t best_epoch = -1;  // from 0; -1: no epoch gave a finite validation loss
  double best_validation_loss = std::numeric_limits<double>::infinity();
};

struct TrainingPlan {
  std::int64_t rows = 0;  // of the training split
  std::int64_t batch_size = 0;
  std::int64_t epochs = 0;  // in all, those before the start included
  std::uint64_t seed = 0;
  bool shuffle = true;
  Standing start;  // of a resumed run, which is bitwise the uninterrupted one: orders are keyed by the epoch
};

enum class Status { completed, diverged, interrupted };
const char* name(Status status);

struct History {
  std::vector<double> train_loss, validation_loss;
  std::vector<std::array<UnitCounts, kMaxHiddenLayers>> units;
};

struct TrainingRecord {
  Status status = Status::completed;
  Standing standing;  // at the end of the last finished epoch
  History history;    // of the epochs of this call
  double seconds = 0.0;
};

// What another thread may read while a run trains, and its request to stop.
struct Monitor {
  std::atomic<bool> stop{false};
  std::atomic<std::int64_t> steps{0};
  std::atomic<std::int64_t> epochs{0};
  std::atomic<double> train_loss{0.0}, validation_loss{0.0}, best_validation_loss{0.0};
  std::atomic<bool> finished{false};
};

// Runs the plan. A NaN or infinite loss ends it with Status::diverged, monitor.stop with Status::interrupted; either
// way the record holds the epochs that were finished and the engine the best parameters of these.
TrainingRecord train(Engine& engine, const TrainingPlan& plan, Monitor& monitor);

}  // namespace pn
