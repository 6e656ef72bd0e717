#include "cuda/device/device.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "cuda/device/missing.hpp"
#include "cuda/device/runtime.hpp"

namespace pn::cuda {
namespace {

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

// Without its memory, which can be asked for only where a context is made on the device.
DeviceInfo identify(int index) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "reading a device's properties");
  return {index, properties.name, properties.major, properties.minor, 0, 0};
}

DeviceInfo describe(int index) {
  DeviceInfo info = identify(index);
  const DeviceGuard guard(index);
  std::size_t free_bytes = 0, total_bytes = 0;
  check(cudaMemGetInfo(&free_bytes, &total_bytes), "reading a device's free memory");
  info.total_bytes = static_cast<std::int64_t>(total_bytes);
  info.free_bytes = static_cast<std::int64_t>(free_bytes);
  return info;
}

}  // namespace

std::string runtime_version() {
  int number = 0;
  check(cudaRuntimeGetVersion(&number), "reading the version of the CUDA runtime");
  return version(number);
}

std::string unavailable() {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return "no NVIDIA driver: libcuda.so.1 was not found or could not be loaded";
  }
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    return "the NVIDIA driver is too old: it offers CUDA " + version(driver) + ", CUDA " + runtime_version() +
           " is needed";
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
    return no_device(std::getenv("CUDA_VISIBLE_DEVICES"));
  }
  if (status != cudaSuccess) return std::string("no usable GPU: ") + cudaGetErrorString(status);
  std::vector<DeviceInfo> found;
  try {
    for (int index = 0; index < count; ++index) found.push_back(identify(index));
  } catch (const std::runtime_error& error) {
    return std::string("no usable GPU: ") + error.what();
  }
  return none_capable(found);
}

int device_count() {
  if (const std::string missing = unavailable(); !missing.empty()) throw std::runtime_error(missing);
  int count = 0;
  check(cudaGetDeviceCount(&count), "counting devices");
  return count;
}

DeviceInfo device(int index) {
  const int count = device_count();
  if (index < 0 || index >= count) {
    throw std::invalid_argument("device must be between 0 and " + std::to_string(count - 1) + ", got " +
                                std::to_string(index));
  }
  if (const std::string missing = none_capable({identify(index)}); !missing.empty()) throw std::runtime_error(missing);
  return describe(index);
}

void require_device(int index) {
  static std::atomic<std::uint64_t> known{0};  // a bit each of the first devices
  const std::uint64_t bit = index >= 0 && index < 64 ? std::uint64_t{1} << index : 0;
  if ((known.load(std::memory_order_relaxed) & bit) != 0) return;
  device(index);
  known.fetch_or(bit, std::memory_order_relaxed);
}

void synchronize(int device, std::uintptr_t stream) {
  const DeviceGuard guard(device);
  check(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(stream)), "waiting for a stream");
}

std::string architecture(const DeviceInfo& device) {
  return "sm_" + std::to_string(device.major) + std::to_string(device.minor);
}

}  // namespace pn::cuda
