#include "cuda/device/stream_memory.hpp"

#include <map>
#include <mutex>
#include <string>

#include "cuda/device/runtime.hpp"

namespace pn::cuda {
namespace {

// A pool gives back to the device what exceeds this when the device is waited for.
constexpr std::uint64_t kKeptBytes = std::uint64_t{256} << 20;

// A pool of our own, because settings of the device's default one are the caller's.
cudaMemPool_t pool_of_current_device() {
  int device = 0;
  check(cudaGetDevice(&device), "asking for the current device");
  static std::mutex mutex;
  static auto& pools = *new std::map<int, cudaMemPool_t>;  // never destroyed: the driver may be gone by then
  const std::lock_guard lock(mutex);
  cudaMemPool_t& pool = pools[device];
  if (pool != nullptr) return pool;
  cudaMemPoolProps properties = {};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  cudaMemPool_t made = nullptr;
  check(cudaMemPoolCreate(&made, &properties), "making a memory pool");
  std::uint64_t kept = kKeptBytes;
  check(cudaMemPoolSetAttribute(made, cudaMemPoolAttrReleaseThreshold, &kept), "making a memory pool");
  return pool = made;
}

}  // namespace

StreamMemory::StreamMemory(std::int64_t bytes, cudaStream_t stream) : stream_(stream) {
  if (bytes == 0) return;
  const cudaError_t status =
      cudaMallocFromPoolAsync(&data_, static_cast<std::size_t>(bytes), pool_of_current_device(), stream);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw OutOfDeviceMemory("the device has too little memory: " + std::to_string(bytes) + " bytes more are needed");
  }
  check(status, "taking device memory");
}

StreamMemory::~StreamMemory() {
  if (data_ != nullptr) cudaFreeAsync(data_, stream_);
}

}  // namespace pn::cuda
