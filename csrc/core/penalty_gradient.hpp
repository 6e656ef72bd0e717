// Values and gradients of the penalties as functions of their own; the optimiser fuses them into its pass instead.
#pragma once

#include "core/network.hpp"
#include "core/penalty.hpp"

namespace pn {

// What multiplies the sum over the paths of all sets of weights: 1/inputs, and for a weight-shared network
// blocks/inputs, so that it has the path norm of the dense network that embeds it.
double path_norm_factor(const NetworkShape& shape);

// Equation 22 of the paper with its factor 1/d: the sum over all paths of the product of absolute weights, times the
// factor.
template <class T>
double path_norm(const NetworkShape& shape, const T* parameters);

// strength times the penalty's value.
template <class T>
double penalty_value(const NetworkShape& shape, const Penalty& penalty, const T* parameters);

// gradient: (layout.size,) += the penalty's gradient.
template <class T>
void add_penalty_gradient(const NetworkShape& shape, const Penalty& penalty, const T* parameters, T* gradient);

}  // namespace pn
