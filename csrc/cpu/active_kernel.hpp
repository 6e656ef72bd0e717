// Active-unit kernel of the dense network with two ReLU layers (kernels.md, section 3): exact, but only the work that
// changes something. A layer-2 unit is dead, on or mixed on a batch:
//   dead   contributes nothing, and its gradient is 0;
//   on     is linear: together they add s.h1 + const to the output and r_b s_j to dH1, dW2_k = w3_k u;
//   mixed  takes the products, over the rows of W2 of these units alone.
// with s = sum_on w3_k W2_k and u = sum_b r_b h1_b. Dead and on units that are certified are not even evaluated.
#pragma once

#include <memory>

#include "cpu/isa.hpp"
#include "cpu/kernel.hpp"
#include "cpu/thread_pool.hpp"

namespace pn::cpu {

// Whether the network is one that the kernel serves.
bool has_active_kernel(const NetworkShape& shape);

// batch: the most rows of one gradient. The pool outlives the kernel; BLAS must be loaded.
template <class T>
std::unique_ptr<Kernel<T>> make_active_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch);

}  // namespace pn::cpu
