// Which kernels a network has on the CPU, and the one that "auto" stands for.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/isa.hpp"
#include "cpu/kernel.hpp"
#include "cpu/thread_pool.hpp"

namespace pn::cpu {

// Best first: "auto" is the first.
std::vector<std::string> kernels_of(const NetworkShape& shape);

// Whether kernels of this shape need the BLAS.
bool needs_blas(const NetworkShape& shape);

// The name of the kernel that `kernel`, a name or "auto", stands for. Throws std::invalid_argument where the network
// has none of that name, std::runtime_error where it needs a BLAS that is not loaded.
std::string kernel_for(std::string_view kernel, const NetworkShape& shape);

// Memory that a kernel takes beside the parameters and their gradient, from above, in bytes; `kernel` is a name or
// "auto", item the bytes of a number. The largest part of it, no estimate of the whole.
double kernel_bytes(std::string_view kernel, const NetworkShape& shape, double item, std::int64_t batch, int threads);

// Throws as kernel_for does. batch: the most rows of one gradient.
template <class T>
std::unique_ptr<Kernel<T>> make_kernel(std::string_view kernel, const NetworkShape& shape, Isa isa, ThreadPool& pool,
                                       std::int64_t batch);

}  // namespace pn::cpu
