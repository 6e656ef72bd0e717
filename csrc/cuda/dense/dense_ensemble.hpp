// Dense networks of equal shape, trained side by side on a GPU, each on a stream of its own and not by batched
// products: for a batch of members cuBLASLt may choose another algorithm than for one, and a run in an ensemble would
// no longer be bitwise the run that it is alone. Free of CUDA's own headers.
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

// settings.kernel: one of dense_kernels.
template <class T>
std::unique_ptr<DeviceEnsemble<T>> make_dense_ensemble(const EnsembleSettings& settings,
                                                       const std::vector<MemberSettings<T>>& members);

// settings.kernel: one of dense_kernels.
RunBytes dense_run_bytes(const EnsembleSettings& settings, std::int64_t item_bytes);

}  // namespace pn::cuda
