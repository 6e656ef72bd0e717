// For weight-shared networks (LN): one table, in which the points of all inputs are looked up.
#pragma once

#include <memory>

#include "cpu/isa.hpp"
#include "cpu/kernel.hpp"
#include "cpu/thread_pool.hpp"

namespace pn::cpu {

// batch: the most rows of one gradient. The pool outlives the kernel.
template <class T>
std::unique_ptr<Kernel<T>> make_piecewise_shared_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool,
                                                        std::int64_t batch);

}  // namespace pn::cpu
