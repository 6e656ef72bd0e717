// Kernel for blocks with one input and ReLU (LN, LCN), by way of their piecewise-linear functions (kernels.md, section
// 2).
#pragma once

#include <memory>

#include "cpu/isa.hpp"
#include "cpu/kernel.hpp"
#include "cpu/thread_pool.hpp"

namespace pn::cpu {

constexpr std::int64_t kMostPiecewiseWidth = 2048;  // the largest table has width^2 breakpoints

// Whether the network has this kernel.
bool piecewise_linear_applies(const NetworkShape& shape);

// Memory of a kernel, in bytes, where every table is as large as it can be; item: bytes of a number.
double piecewise_linear_bytes(const NetworkShape& shape, double item, std::int64_t batch, int threads);

// batch: the most rows of one gradient. The pool outlives the kernel.
template <class T>
std::unique_ptr<Kernel<T>> make_piecewise_linear_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool,
                                                        std::int64_t batch);

}  // namespace pn::cpu
