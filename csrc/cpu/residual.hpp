// The loss, and its end of a backward pass, shared by the kernels.
#pragma once

#include "cpu/kernel.hpp"

namespace pn::cpu {

// output: (count,) undivided, becomes the residual r_b = 2 (f_b - y_b) / (batch inputs), the loss's derivative by the
// undivided output. Returns sum_b (f_b - y_b)^2. rows may be a part of the batch.
template <class T, class Real>
double residual_in_place(const Rows<T>& rows, std::int64_t batch, Real* output) {
  // Divided, not multiplied by an inverse, whose rounding would be the same in every row and not average out.
  const Real inputs = static_cast<Real>(rows.inputs);
  const double factor = 2.0 / (static_cast<double>(batch) * static_cast<double>(rows.inputs));
  double sum = 0.0;
  for (std::int64_t b = 0; b < rows.count; ++b) {
    const Real error = output[b] / inputs - static_cast<Real>(rows.y[rows.row(b)]);
    sum += static_cast<double>(error) * static_cast<double>(error);
    output[b] = static_cast<Real>(factor) * error;
  }
  return sum;
}

// sum_b (f_b - y_b)^2 of predictions f: (count,).
template <class T>
double squared_errors(const Rows<T>& rows, const T* prediction) {
  double sum = 0.0;
  for (std::int64_t b = 0; b < rows.count; ++b) {
    const double error = static_cast<double>(prediction[b]) - static_cast<double>(rows.y[rows.row(b)]);
    sum += error * error;
  }
  return sum;
}

}  // namespace pn::cpu
