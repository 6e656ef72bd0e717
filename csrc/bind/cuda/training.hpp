// Training on a GPU: jobs of equal shape, side by side.
#pragma once

#include <vector>

#include "bind/training.hpp"

namespace pn::bind {

// See _cuda.pyi.
py::list train_on_device(const std::vector<const Job*>& jobs, int device, bool tf32, const py::object& report,
                         double interval);

}  // namespace pn::bind
