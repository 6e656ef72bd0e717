// Piecewise-linear kernels; see piecewise_linear.hpp.
#pragma once

#include "cpu/levels/piecewise_gradient.inl"
#include "cpu/levels/piecewise_pieces.inl"
#include "cpu/levels/piecewise_points.inl"

namespace pn::cpu {
namespace {

template <class T>
constexpr PiecewiseLinearFunctions<T> piecewise_linear_functions() {
  return {build_pieces<T>, fill_cells<T>, find_points<T>, sum_rows,          add_values,
          add_moments,     mark_points,   fold_moments,   block_gradient<T>, GradientOfBlock<T>::kRows};
}

}  // namespace
}  // namespace pn::cpu
