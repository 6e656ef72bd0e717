// Shared memory for kernels, beyond what a launch may ask for by itself.
#pragma once

#include "cuda/blocks/block_launch.hpp"

namespace pn::cuda {

// Lets launches ask for as much shared memory as there is: the limit belongs to the kernel, not to a launch, and other
// ensembles, of other sizes, may launch it at the same time.
template <class Kernel>
void allow_fast(Kernel* kernel) {
  const auto bytes = static_cast<int>(fast_bytes_here());
  check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "asking for shared memory");
}

}  // namespace pn::cuda
