// Errors and gradients of given parameters on any number of rows, outside training.
#pragma once

#include <cstdint>
#include <vector>

#include "core/network.hpp"
#include "cpu/kernel.hpp"

namespace pn::cpu {

// Of each set of rows.
template <class T>
std::vector<double> mean_squared_errors(Kernel<T>& kernel, const T* parameters, const std::vector<Rows<T>>& sets);

// How many of so many rows the kernel of a gradient should have room for: all, or, in a dense network, whose kernels
// keep the activations of their rows, a part.
std::int64_t gradient_batch(const NetworkShape& shape, std::int64_t rows);

// Mean over the rows of (f - y)^2; gradient: (size,) is overwritten. `batch`, which the kernel has room for, may be
// less than the rows: the parts' gradients are then joined in their order.
template <class T>
double loss_and_gradient(Kernel<T>& kernel, const T* parameters, const Rows<T>& rows, std::int64_t batch,
                         std::int64_t size, T* gradient);

}  // namespace pn::cpu
