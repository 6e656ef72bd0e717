// Direct kernel of the dense network: BLAS products over fixed tiles, with bias, activation, mask and loss fused around
// them.
#pragma once

#include <memory>

#include "cpu/isa.hpp"
#include "cpu/kernel.hpp"
#include "cpu/thread_pool.hpp"

namespace pn::cpu {

// batch: the most rows of one gradient. The pool outlives the kernel; BLAS must be loaded.
template <class T>
std::unique_ptr<Kernel<T>> make_dense_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch);

}  // namespace pn::cpu
