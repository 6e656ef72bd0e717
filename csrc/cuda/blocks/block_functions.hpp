// Single evaluations of networks of blocks (LN, LCN) on arrays of the device that is current, launched on the caller's
// stream, without copies. Free of CUDA's own headers.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/network.hpp"
#include "cuda/tensors.hpp"

namespace pn::cuda {

// Rows on the device, and how they are evaluated.
template <class T>
struct BlockCall {
  NetworkShape shape;
  std::string_view kernel;  // one of block_kernels
  Tensors<const T> p;
  const T* x;  // x: (rows, inputs)
  const T* y;  // y: (rows,); null for predictions
  std::int64_t rows;
  char* memory;  // block_call_bytes, aligned to 256 bytes; free when the stream has passed the call
  void* stream;  // cudaStream_t
};

// Working memory of a call, whose `memory` is not read.
template <class T>
std::int64_t block_call_bytes(const BlockCall<T>& call);

// prediction: (rows,)
template <class T>
void block_forward(const BlockCall<T>& call, T* prediction);

// gradient is overwritten; *loss, on the device, += the mean squared error.
template <class T>
void block_gradient(const BlockCall<T>& call, const Tensors<T>& gradient, double* loss);

}  // namespace pn::cuda
