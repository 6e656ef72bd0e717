#include "cpu/piecewise_linear_kernel.hpp"

#include "cpu/piecewise_columns_kernel.hpp"
#include "cpu/piecewise_shared_kernel.hpp"
#include "cpu/piecewise_storage.hpp"

namespace pn::cpu {
namespace {

// Of what grows with the breakpoints: pieces, crossings, slots of both places of a breakpoint, moments and counts.
constexpr double kBreakpointBytes = sizeof(double) + sizeof(std::int32_t) + sizeof(OnRange) + sizeof(ZeroCrossing) +
                                    sizeof(std::int32_t) +
                                    2 * (6 * sizeof(double) + sizeof(std::uint8_t) + sizeof(std::int32_t));

}  // namespace

bool piecewise_linear_applies(const NetworkShape& shape) {
  return shape.block_in == 1 && shape.activation == Activation::relu && shape.width <= kMostPiecewiseWidth;
}

double piecewise_linear_bytes(const NetworkShape& shape, double item, std::int64_t batch, int threads) {
  const double most = kBreakpointBytes * static_cast<double>(most_breakpoints(shape));
  const double usual = kBreakpointBytes * static_cast<double>(usual_breakpoints(shape));
  const double cells = 33.0 * static_cast<double>(kMostCells);
  const double transposed = shape.hidden_layers == 2 ? item * static_cast<double>(shape.width * shape.width) : 0.0;
  const double rows = static_cast<double>(batch), groups = static_cast<double>(shape.groups());
  if (shape.shared) return most + transposed + threads * (usual + cells);
  return most + transposed + threads * (usual + cells + transposed + 4.0 * rows) +
         groups * (usual + rows * (item + sizeof(std::uint32_t))) + 8.0 * sizeof(double) * rows;
}

template <class T>
std::unique_ptr<Kernel<T>> make_piecewise_linear_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool,
                                                        std::int64_t batch) {
  return shape.shared ? make_piecewise_shared_kernel<T>(shape, isa, pool, batch)
                      : make_piecewise_columns_kernel<T>(shape, isa, pool, batch);
}

template std::unique_ptr<Kernel<float>> make_piecewise_linear_kernel(const NetworkShape&, Isa, ThreadPool&,
                                                                     std::int64_t);
template std::unique_ptr<Kernel<double>> make_piecewise_linear_kernel(const NetworkShape&, Isa, ThreadPool&,
                                                                      std::int64_t);

}  // namespace pn::cpu
