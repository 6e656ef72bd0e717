#include "cuda/device/runtime.hpp"

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

Event::Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event"); }

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

namespace {

// What a stream has captured.
struct Capture {
  cudaGraph_t graph = nullptr;
  const cudaGraphNode_t* last = nullptr;  // nodes that the next one comes after
  const cudaGraphEdgeData* edges = nullptr;
  std::size_t count = 0;
};

Capture capture_of(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  Capture c;
#if CUDART_VERSION >= 13000
  check(cudaStreamGetCaptureInfo(stream, &status, nullptr, &c.graph, &c.last, &c.edges, &c.count), "reading a capture");
#else
  check(cudaStreamGetCaptureInfo_v3(stream, &status, nullptr, &c.graph, &c.last, &c.edges, &c.count),
        "reading a capture");
#endif
  if (status != cudaStreamCaptureStatusActive) throw std::runtime_error("the stream's capture was broken off");
  return c;
}

}  // namespace

cudaGraph_t graph_of_capture(cudaStream_t capturing) { return capture_of(capturing).graph; }

void add_conditional_node(cudaStream_t capturing, cudaGraphNodeParams& parameters) {
  const Capture c = capture_of(capturing);
  cudaGraphNode_t node = nullptr;
#if CUDART_VERSION >= 13000
  check(cudaGraphAddNode(&node, c.graph, c.last, c.edges, c.count, &parameters), "adding a conditional node");
  check(cudaStreamUpdateCaptureDependencies(capturing, &node, nullptr, 1, cudaStreamSetCaptureDependencies),
        "adding a conditional node");
#else
  check(cudaGraphAddNode_v2(&node, c.graph, c.last, c.edges, c.count, &parameters), "adding a conditional node");
  check(cudaStreamUpdateCaptureDependencies_v2(capturing, &node, nullptr, 1, cudaStreamSetCaptureDependencies),
        "adding a conditional node");
#endif
}

Graph::~Graph() { destroy(); }

void Graph::destroy() {
  if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
  if (graph_ != nullptr) cudaGraphDestroy(graph_);
  executable_ = nullptr;
  graph_ = nullptr;
}

void Graph::abandon(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream, &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void Graph::finish(cudaStream_t stream) {
  destroy();
  check(cudaStreamEndCapture(stream, &graph_), "ending a capture");
  check(cudaGraphInstantiate(&executable_, graph_, 0), "making a graph");
}

}  // namespace pn::cuda
