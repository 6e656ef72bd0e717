#include "cpu/piecewise_linear_kernel.hpp"

#include "cpu/piecewise_columns_kernel.hpp"
#include "cpu/piecewise_shared_kernel.hpp"

namespace pn::cpu {
namespace {

constexpr std::int64_t kMostWidth = 2048;  // a thread's worst-case table has width^2 breakpoints

}  // namespace

bool piecewise_linear_applies(const NetworkShape& shape) {
  return shape.block_in == 1 && shape.activation == Activation::relu && shape.width <= kMostWidth;
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
