// Ensembles of networks of blocks (LN, LCN) on a device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cuda/engine.hpp"

namespace pn::cuda {

std::vector<std::string> block_kernels(const NetworkShape& shape);

// Throws std::invalid_argument where a size is beyond what the kernels count with.
void require_block_sizes(const NetworkShape& shape, std::int64_t batch_size);

// settings.kernel is one of block_kernels.
template <class T>
std::unique_ptr<DeviceEnsemble<T>> make_block_ensemble(const EnsembleSettings& settings,
                                                       const std::vector<MemberSettings<T>>& members);

// Device memory of a run, on any device: as if none of the working memory were shared memory.
template <class T>
RunBytes block_run_bytes(const EnsembleSettings& settings);

}  // namespace pn::cuda
