// What networks and Adam compute on arrays that are on a device already: launched on the caller's stream, without
// copies. Free of CUDA's own headers. Arguments have been checked, but for the kernel's name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "core/adam.hpp"
#include "core/network.hpp"
#include "core/penalty.hpp"
#include "cuda/tensors.hpp"

namespace pn::cuda {

struct Call {
  int device;
  void* stream;  // cudaStream_t
  std::string kernel = "auto";
  bool tf32 = false;
};

// x: (rows, inputs), prediction: (rows,). Returns the kernel that ran, or will.
template <class T>
std::string forward(const NetworkShape& shape, const Tensors<const T>& p, const T* x, std::int64_t rows, T* prediction,
                    const Call& call);

// Mean squared error plus the penalty, and the kernel that ran; waits for the device. gradient is overwritten.
template <class T>
std::pair<double, std::string> loss_and_gradient(const NetworkShape& shape, const Tensors<const T>& p, const T* x,
                                                 const T* y, std::int64_t rows, const Penalty& penalty,
                                                 const Tensors<T>& gradient, const Call& call);

// Waits for the device.
template <class T>
double path_norm(const NetworkShape& shape, const Tensors<const T>& p, const Call& call);

template <class T>
struct AdamCall {
  Tensors<T> p, m, v;
  Tensors<const T> gradient;
  AdamSettings settings;
  Penalty penalty;
  std::int64_t t;
};

template <class T>
void adam_step(const NetworkShape& shape, const AdamCall<T>& step, const Call& call);

// On one array of `count` weights, the w1 of the step's tensors; the penalty is not a path norm.
template <class T>
void adam_step(std::int64_t count, const AdamCall<T>& step, const Call& call);

}  // namespace pn::cuda
