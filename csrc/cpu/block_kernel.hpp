// Direct kernel of weight-shared and block-diagonal networks (kernels.md, section 1): every activation, every block
// shape.
#pragma once

#include <memory>

#include "cpu/isa.hpp"
#include "cpu/kernel.hpp"
#include "cpu/thread_pool.hpp"

namespace pn::cpu {

// The pool outlives the kernel.
template <class T>
std::unique_ptr<Kernel<T>> make_block_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool);

}  // namespace pn::cpu
