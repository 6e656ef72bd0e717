#include "cpu/kernel_choice.hpp"

#include <algorithm>
#include <stdexcept>

#include "cpu/active_kernel.hpp"
#include "cpu/blas.hpp"
#include "cpu/block_kernel.hpp"
#include "cpu/dense_kernel.hpp"
#include "cpu/piecewise_linear_kernel.hpp"

namespace pn::cpu {

bool needs_blas(const NetworkShape& shape) { return shape.blocks() == 1 && shape.block_in > 1; }

std::vector<std::string> kernels_of(const NetworkShape& shape) {
  if (piecewise_linear_applies(shape)) return {"piecewise_linear", "direct"};
  if (has_active_kernel(shape)) return {"active", "direct"};
  return {"direct"};
}

std::string kernel_for(std::string_view kernel, const NetworkShape& shape) {
  const std::vector<std::string> available = kernels_of(shape);
  std::string wanted(kernel == "auto" ? std::string_view(available.front()) : kernel);
  if (std::find(available.begin(), available.end(), wanted) == available.end()) {
    std::string list = "'auto', 'reference'";
    for (const std::string& k : available) list += ", '" + k + "'";
    throw std::invalid_argument("kernel must be one of " + list + " for this network, got '" + wanted + "'");
  }
  if (needs_blas(shape) && !blas::loaded()) {
    throw std::runtime_error("a dense network needs OpenBLAS, which is not loaded");
  }
  return wanted;
}

double kernel_bytes(std::string_view kernel, const NetworkShape& shape, double item, std::int64_t batch, int threads) {
  if (kernel == "reference") return 0.0;
  const bool best = kernel != "direct";
  if (best && piecewise_linear_applies(shape)) return piecewise_linear_bytes(shape, item, batch, threads);
  if (!needs_blas(shape)) return shape.shared ? 8.0 * item * static_cast<double>(parameter_layout(shape).size) : 0.0;
  const double width = static_cast<double>(shape.width), activations = static_cast<double>(batch) * width;
  const double inputs = item * static_cast<double>(batch * shape.inputs);
  if (!best || !has_active_kernel(shape)) return inputs + 3.0 * item * activations;
  // Copies of three quarters of the rows of W2; rows and activations in 8 bits; masks.
  return inputs + (4.0 * item + 2.0) * activations + (0.75 * item + 1.0) * width * width;
}

template <class T>
std::unique_ptr<Kernel<T>> make_kernel(std::string_view kernel, const NetworkShape& shape, Isa isa, ThreadPool& pool,
                                       std::int64_t batch) {
  const std::string wanted = kernel_for(kernel, shape);
  if (wanted == "piecewise_linear") return make_piecewise_linear_kernel<T>(shape, isa, pool, batch);
  if (!needs_blas(shape)) return make_block_kernel<T>(shape, isa, pool);
  if (wanted == "active") return make_active_kernel<T>(shape, isa, pool, batch);
  return make_dense_kernel<T>(shape, isa, pool, batch);
}

template std::unique_ptr<Kernel<float>> make_kernel(std::string_view, const NetworkShape&, Isa, ThreadPool&,
                                                    std::int64_t);
template std::unique_ptr<Kernel<double>> make_kernel(std::string_view, const NetworkShape&, Isa, ThreadPool&,
                                                     std::int64_t);

}  // namespace pn::cpu
