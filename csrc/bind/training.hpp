// Training runs from Python: what a run is, and how the CPU trains one or many.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bind/arrays.hpp"
#include "core/adam.hpp"
#include "core/network.hpp"
#include "core/penalty.hpp"
#include "core/trainer.hpp"

namespace pn::bind {

// Where a run goes on: what train left in "state", with the parameters then as the job's initial ones.
struct Resumption {
  py::array m, v, best;  // each (parameter_count,)
  Standing standing;
};

// One run; holds its arrays, so that the data live as long as it trains. The constructor checks everything.
class Job {
 public:
  Job(const NetworkShape& shape, py::array initial, py::array train_x, py::array train_y, py::array validation_x,
      py::array validation_y, std::int64_t epochs, std::int64_t batch_size, const AdamSettings& adam,
      const Penalty& penalty, std::uint64_t seed, const std::string& kernel, bool shuffle,
      std::optional<Resumption> resume, bool keep_state);

  NetworkShape shape;
  Dtype dtype;
  py::array initial, train_x, train_y, validation_x, validation_y;
  TrainingPlan plan;
  AdamSettings adam;
  Penalty penalty;
  std::string kernel;
  std::optional<Resumption> resume;
  bool keep_state;
};

// One job gets all the threads; of several, each gets one, `threads` of them at a time. See _native.pyi.
py::list train_jobs(const std::vector<const Job*>& jobs, int threads, const py::object& report, double interval);

}  // namespace pn::bind
