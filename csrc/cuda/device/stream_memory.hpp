// Device memory for the length of one call: taken and given back in the stream's order.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pn::cuda {

class StreamMemory {
 public:
  // Of the current device; aligned to 256 bytes.
  StreamMemory(std::int64_t bytes, cudaStream_t stream);
  ~StreamMemory();
  StreamMemory(const StreamMemory&) = delete;
  StreamMemory& operator=(const StreamMemory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  cudaStream_t stream_;
};

}  // namespace pn::cuda
