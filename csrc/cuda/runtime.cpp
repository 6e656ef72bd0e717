#include "cuda/runtime.hpp"

namespace pn::cuda {

void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error of one call must not be reported again by the next one
  const std::string message = std::string("CUDA error while ") + doing + ": " + cudaGetErrorString(status);
  if (status == cudaErrorMemoryAllocation) throw OutOfDeviceMemory(message);
  throw std::runtime_error(message);
}

DeviceGuard::DeviceGuard(int device) {
  check(cudaGetDevice(&former_), "asking for the current device");
  check(cudaSetDevice(device), "choosing the device");
}

DeviceGuard::~DeviceGuard() { cudaSetDevice(former_); }

void* allocate_device(std::size_t bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t free_bytes = 0, total_bytes = 0;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    throw OutOfDeviceMemory("the device has too little memory: " + std::to_string(bytes) + " bytes more are needed, " +
                            std::to_string(free_bytes) + " of " + std::to_string(total_bytes) + " are free");
  }
  check(status, "taking device memory");
  return data;
}

void* allocate_pinned(std::size_t bytes) {
  void* data = nullptr;
  check(cudaMallocHost(&data, bytes), "taking page-locked memory");
  return data;
}

Stream::Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream"); }

Stream::~Stream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

Graph::~Graph() {
  if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
}

void Graph::abandon(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream, &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void Graph::finish(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream, &graph), "ending a capture");
  if (executable_ != nullptr) {
    cudaGraphExecDestroy(executable_);
    executable_ = nullptr;
  }
  const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "making a graph");
}

}  // namespace pn::cuda
