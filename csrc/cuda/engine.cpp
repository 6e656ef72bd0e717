#include "cuda/engine.hpp"

#include <algorithm>
#include <stdexcept>

#include "cuda/dense_ensemble.hpp"

namespace pn::cuda {

std::vector<std::string> kernels_of(const NetworkShape& shape) {
  if (is_dense(shape)) return dense_kernels(shape);
  return {};
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
  choose_kernel(settings.shape, settings.kernel);
  return make_dense_ensemble<T>(settings, members);
}

RunBytes run_bytes(const EnsembleSettings& settings, std::int64_t item_bytes) {
  choose_kernel(settings.shape, settings.kernel);
  return dense_run_bytes(settings, item_bytes);
}

template std::unique_ptr<DeviceEnsemble<float>> make_ensemble(const EnsembleSettings&,
                                                              const std::vector<MemberSettings<float>>&);
template std::unique_ptr<DeviceEnsemble<double>> make_ensemble(const EnsembleSettings&,
                                                               const std::vector<MemberSettings<double>>&);

}  // namespace pn::cuda
