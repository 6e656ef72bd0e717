#include "cpu/evaluation.hpp"

#include <algorithm>

#include "cpu/buffer.hpp"
#include "cpu/kernel_choice.hpp"
#include "cpu/residual.hpp"
#include "cpu/tiling.hpp"

namespace pn::cpu {
namespace {

constexpr std::int64_t kDenseRows = 4096;  // the pass that joins gradients is nothing beside the products of so many

}  // namespace

template <class T>
std::vector<double> mean_squared_errors(Kernel<T>& kernel, const T* parameters, const std::vector<Rows<T>>& sets) {
  std::int64_t most = 0;
  for (const Rows<T>& rows : sets) most = std::max(most, rows.count);
  Buffer<T> prediction(most);
  std::vector<double> errors;
  for (const Rows<T>& rows : sets) {
    kernel.forward(parameters, rows, prediction.data(), nullptr);
    errors.push_back(squared_errors(rows, prediction.data()) / static_cast<double>(rows.count));
  }
  return errors;
}

std::int64_t gradient_batch(const NetworkShape& shape, std::int64_t rows) {
  return needs_blas(shape) ? std::min(rows, kDenseRows) : rows;
}

template <class T>
double loss_and_gradient(Kernel<T>& kernel, const T* parameters, const Rows<T>& rows, std::int64_t batch,
                         std::int64_t size, T* gradient) {
  const Tiling parts = Tiling::of(rows.count, batch);
  if (parts.parts == 1) return kernel.loss_and_gradient(parameters, rows, gradient);
  Buffer<T> more(size);
  std::fill_n(gradient, size, T(0));
  double loss = 0.0;
  for (std::int64_t part = 0; part < parts.parts; ++part) {
    const Rows<T> some = rows.slice(parts.first(part), parts.count(part));
    const double share = static_cast<double>(some.count) / static_cast<double>(rows.count);
    loss += share * kernel.loss_and_gradient(parameters, some, more.data());
    for (std::int64_t i = 0; i < size; ++i) gradient[i] += static_cast<T>(share) * more[i];
  }
  return loss;
}

template std::vector<double> mean_squared_errors(Kernel<float>&, const float*, const std::vector<Rows<float>>&);
template std::vector<double> mean_squared_errors(Kernel<double>&, const double*, const std::vector<Rows<double>>&);
template double loss_and_gradient(Kernel<float>&, const float*, const Rows<float>&, std::int64_t, std::int64_t, float*);
template double loss_and_gradient(Kernel<double>&, const double*, const Rows<double>&, std::int64_t, std::int64_t,
                                  double*);

}  // namespace pn::cpu
