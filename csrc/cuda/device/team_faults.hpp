// Whether a device's thread blocks work together as all kernels take for granted. Free of CUDA's own headers.
#pragma once

#include <string>
#include <vector>

namespace pn::cuda {

// Runs TeamCheck with each number of threads that kernels have; what failed, as phrases: "total, 256 threads, global
// memory". Throws std::runtime_error where the device can't run it.
std::vector<std::string> team_faults(int device);

}  // namespace pn::cuda
