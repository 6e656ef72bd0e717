#include "cuda/engine.hpp"

#include <algorithm>
#include <stdexcept>

#include "cuda/blocks/block_ensemble.hpp"
#include "cuda/dense/dense_ensemble.hpp"

namespace pn::cuda {

std::vector<std::string> kernels_of(const NetworkShape& shape) {
  return is_dense(shape) ? dense_kernels(shape) : block_kernels(shape);
}

std::string choose_kernel(const NetworkShape& shape, std::string_view kernel) {
  const std::vector<std::string> available = kernels_of(shape);
  if (available.empty()) throw std::invalid_argument("the GPU has no kernel for this network; use device='cpu'");
  if (kernel == "auto") return available.front();
  if (std::find(available.begin(), available.end(), kernel) != available.end()) return std::string(kernel);
  std::string list = "'auto'";
  for (const std::string& k : available) list += ", '" + k + "'";
  throw std::invalid_argument("kernel must be one of " + list + " for this network on the GPU, got '" +
                              std::string(kernel) + "'");
}

template <class T>
std::unique_ptr<DeviceEnsemble<T>> make_ensemble(const EnsembleSettings& settings,
                                                 const std::vector<MemberSettings<T>>& members) {
  EnsembleSettings chosen = settings;
  chosen.kernel = choose_kernel(settings.shape, settings.kernel);
  if (is_dense(settings.shape)) return make_dense_ensemble<T>(chosen, members);
  return make_block_ensemble<T>(chosen, members);
}

RunBytes run_bytes(const EnsembleSettings& settings, std::int64_t item_bytes) {
  EnsembleSettings chosen = settings;
  chosen.kernel = choose_kernel(settings.shape, settings.kernel);
  if (is_dense(settings.shape)) return dense_run_bytes(chosen, item_bytes);
  return item_bytes == 4 ? block_run_bytes<float>(chosen) : block_run_bytes<double>(chosen);
}

template std::unique_ptr<DeviceEnsemble<float>> make_ensemble(const EnsembleSettings&,
                                                              const std::vector<MemberSettings<float>>&);
template std::unique_ptr<DeviceEnsemble<double>> make_ensemble(const EnsembleSettings&,
                                                               const std::vector<MemberSettings<double>>&);

}  // namespace pn::cuda
