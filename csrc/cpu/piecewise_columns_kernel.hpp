// For block-diagonal networks (LCN): a table per input.
#pragma once

#include <memory>

#include "cpu/isa.hpp"
#include "cpu/kernel.hpp"
#include "cpu/thread_pool.hpp"

namespace pn::cpu {

// batch: the most rows of one gradient. The pool outlives the kernel.
template <class T>
std::unique_ptr<Kernel<T>> make_piecewise_columns_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool,
                                                         std::int64_t batch);

}  // namespace pn::cpu
