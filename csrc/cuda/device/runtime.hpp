// The CUDA runtime with errors as exceptions, and owners of what it hands out: device memory, pinned memory, streams,
// events, graphs.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace pn::cuda {

// Throws where status is an error: std::bad_alloc's kin for memory, else std::runtime_error, saying what was being
// done.
void check(cudaError_t status, const char* doing);

class OutOfDeviceMemory : public std::bad_alloc {
 public:
  explicit OutOfDeviceMemory(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// Makes a device the current one, and the former one again at the end.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int former_ = 0;
};

void* allocate_device(std::size_t bytes);
void* allocate_pinned(std::size_t bytes);

// Memory of the device that is current when it is taken. Not initialised.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::int64_t size)
      : data_(size > 0 ? static_cast<T*>(allocate_device(static_cast<std::size_t>(size) * sizeof(T))) : nullptr),
        size_(size) {}
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  std::int64_t bytes() const { return size_ * static_cast<std::int64_t>(sizeof(T)); }

  // host: (count,) elements from first on.
  void upload(const T* host, std::int64_t first, std::int64_t count, cudaStream_t stream) const {
    check(cudaMemcpyAsync(data_ + first, host, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyHostToDevice,
                          stream),
          "copying to the device");
  }
  void download(T* host, std::int64_t first, std::int64_t count, cudaStream_t stream) const {
    check(cudaMemcpyAsync(host, data_ + first, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyDeviceToHost,
                          stream),
          "copying from the device");
  }
  void zero(cudaStream_t stream) const {
    if (size_ > 0) check(cudaMemsetAsync(data_, 0, static_cast<std::size_t>(bytes()), stream), "clearing memory");
  }

 private:
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

// Page-locked memory of the host, so that copies are asynchronous.
template <class T>
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(std::int64_t size)
      : data_(size > 0 ? static_cast<T*>(allocate_pinned(static_cast<std::size_t>(size) * sizeof(T))) : nullptr),
        size_(size) {}
  ~PinnedBuffer() { cudaFreeHost(data_); }
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

// A stream of its own, which does not wait for the default stream.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }
  void wait() const { check(cudaStreamSynchronize(stream_), "waiting for the device"); }

 private:
  cudaStream_t stream_ = nullptr;
};

// A moment of a stream that the host can wait for.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cudaStream_t stream) const { check(cudaEventRecord(event_, stream), "recording an event"); }
  void wait() const { check(cudaEventSynchronize(event_), "waiting for the device"); }

 private:
  cudaEvent_t event_ = nullptr;
};

// Lets the host launch a few laps of an epoch ahead of the device and no more: a request to stop is soon obeyed, and
// the device always has a lap to go on with.
class Laps {
 public:
  // Before the launches of lap 0, 1, ... of an epoch, which began with nothing under way.
  void begin(std::int64_t lap, cudaStream_t stream) const {
    const Event& begun = begun_[lap % 2];
    if (lap > 1) begun.wait();  // the lap before the last one has begun
    begun.record(stream);
  }

 private:
  Event begun_[2];
};

// Blocks of a launch, threads of each, and shared memory of each beside what the kernel declares.
struct LaunchExtent {
  dim3 blocks;
  int threads;
  std::int64_t fast_bytes = 0;
};

// doing: as check has it.
template <class... Parameters, class... Arguments>
void launch_kernel(const char* doing, cudaStream_t stream, const LaunchExtent& extent, void (*kernel)(Parameters...),
                   const Arguments&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = extent.blocks;
  config.blockDim = dim3(static_cast<unsigned>(extent.threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(extent.fast_bytes);
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), doing);
}

// Puts a conditional node after all that the stream has captured, and before what it captures next. parameters: gets
// the node's body graphs.
void add_conditional_node(cudaStream_t capturing, cudaGraphNodeParams& parameters);
// The graph that the stream is captured into.
cudaGraph_t graph_of_capture(cudaStream_t capturing);

// A captured sequence of launches.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Captures what record() launches on the stream.
  template <class Record>
  void capture(cudaStream_t stream, Record record) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning a capture");
    try {
      record();
    } catch (...) {
      abandon(stream);
      throw;
    }
    finish(stream);
  }
  void launch(cudaStream_t stream) const { check(cudaGraphLaunch(executable_, stream), "launching a graph"); }
  bool ready() const { return executable_ != nullptr; }

 private:
  static void abandon(cudaStream_t stream);
  void finish(cudaStream_t stream);
  void destroy();
  cudaGraph_t graph_ = nullptr;  // kept: its conditional nodes' handles and bodies belong to it
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace pn::cuda
