// Dense networks of equal shape, trained side by side on a GPU, each on a stream of its own. Free of CUDA's own
// headers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/engine.hpp"

namespace pn::cuda {

bool is_dense(const NetworkShape& shape);

// Best first.
std::vector<std::string> dense_kernels(const NetworkShape& shape);

// The kernel that the name, one of dense_kernels or "auto", stands for at this precision. Throws std::invalid_argument.
std::string choose_dense_kernel(const NetworkShape& shape, std::string_view kernel, std::int64_t item_bytes);

// settings.kernel: one of dense_kernels or "auto".
template <class T>
std::unique_ptr<DeviceEnsemble<T>> make_dense_ensemble(const EnsembleSettings& settings,
                                                       const std::vector<MemberSettings<T>>& members);

RunBytes dense_run_bytes(const EnsembleSettings& settings, std::int64_t item_bytes);

}  // namespace pn::cuda
