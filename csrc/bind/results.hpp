// What a finished run hands to Python, whatever device it ran on.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "bind/training.hpp"

namespace pn::bind {

// Arrays of the job's dtype, made without the GIL.
using Values = std::variant<std::vector<float>, std::vector<double>>;

// What a run leaves, without Python objects, so that it can be made without the GIL.
struct Outcome {
  TrainingRecord record;
  Values best, last, m, v;  // the moments where the job asks for its state
  std::string kernel, isa;
};

// The dict that _native.pyi calls Result.
py::dict to_dict(const Job& job, const Outcome& outcome);

}  // namespace pn::bind
