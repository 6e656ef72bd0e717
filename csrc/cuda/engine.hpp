// What the bindings ask of training on a device: an ensemble of runs of equal shape. Free of CUDA's own headers.
//
// make_ensemble picks the engine by the network's shape: blocks (LN, LCN) or dense (GN).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/adam.hpp"
#include "core/ensemble.hpp"
#include "core/network.hpp"
#include "core/penalty.hpp"

namespace pn::cuda {

// What all members share.
struct EnsembleSettings {
  NetworkShape shape;
  std::string kernel;  // "auto" or one of kernels_of
  std::int64_t batch_size, train_rows, validation_rows;
  bool tf32;
  int device;
};

// One run. Pointers to host memory, which is copied when the ensemble is made. Members with the same data pointers
// share one copy.
template <class T>
struct MemberSettings {
  AdamSettings adam;
  Penalty penalty;
  std::uint64_t seed;
  bool shuffle;
  const T* train_x;       // train_x: (train_rows, inputs)
  const T* train_y;       // train_y: (train_rows,) scaled target
  const T* validation_x;  // validation_x: (validation_rows, inputs)
  const T* validation_y;
  const T* initial;                    // (layout.size,)
  const T *m = nullptr, *v = nullptr;  // (layout.size,) of a resumed run, else null
  const T* best = nullptr;
};

enum class MemberArray { parameters, best, m, v };

template <class T>
class DeviceEnsemble : public EnsembleEngine {
 public:
  virtual std::string_view kernel_name() const = 0;
  // out: (layout.size,) on the host.
  virtual void copy_out(std::int64_t member, MemberArray array, T* out) = 0;
};

// Kernels that this network has on the GPU, best first: "auto" is the first.
std::vector<std::string> kernels_of(const NetworkShape& shape);

// The kernel that the name stands for. Throws std::invalid_argument where the network has none of that name on the GPU.
std::string choose_kernel(const NetworkShape& shape, std::string_view kernel);

// Throws std::invalid_argument for what is not supported on the GPU, OutOfDeviceMemory, std::runtime_error.
template <class T>
std::unique_ptr<DeviceEnsemble<T>> make_ensemble(const EnsembleSettings& settings,
                                                 const std::vector<MemberSettings<T>>& members);

// Device memory of a run: what each member needs, and the data, which members may share.
struct RunBytes {
  std::int64_t member, data;
};
RunBytes run_bytes(const EnsembleSettings& settings, std::int64_t item_bytes);

}  // namespace pn::cuda
