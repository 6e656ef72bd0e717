// Piecewise-linear kernels; see piecewise_linear.hpp.
#pragma once

#include "cpu/levels/piecewise_gather.inl"
#include "cpu/levels/piecewise_gradient.inl"
#include "cpu/levels/piecewise_pieces.inl"
#include "cpu/levels/piecewise_points.inl"

namespace pn::cpu {
namespace {

template <class T>
constexpr PiecewiseLinearFunctions<T> piecewise_linear_functions() {
  return {fetch_rows<T>, turn_rows<T>,   build_pieces<T>, fill_cells<T>, find_points<T>,    add_values<T>,
          join_outputs,  add_moments<T>, mark_points,     fold_moments,  block_gradient<T>, GradientOfBlock<T>::kRows};
}

}  // namespace
}  // namespace pn::cpu
