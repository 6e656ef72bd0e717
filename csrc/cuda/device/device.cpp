#include "cuda/device/device.hpp"

#include <atomic>
#include <stdexcept>

#include "cuda/device/runtime.hpp"

namespace pn::cuda {
namespace {

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

DeviceInfo describe(int index) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "reading a device's properties");
  const DeviceGuard guard(index);
  std::size_t free_bytes = 0, total_bytes = 0;
  check(cudaMemGetInfo(&free_bytes, &total_bytes), "reading a device's free memory");
  return {index,
          properties.name,
          properties.major,
          properties.minor,
          static_cast<std::int64_t>(total_bytes),
          static_cast<std::int64_t>(free_bytes)};
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
    return "no GPU: the NVIDIA driver reports no device";
  }
  if (status != cudaSuccess) return std::string("no usable GPU: ") + cudaGetErrorString(status);
  return "";
}

std::vector<DeviceInfo> devices() {
  if (const std::string missing = unavailable(); !missing.empty()) throw std::runtime_error(missing);
  int count = 0;
  check(cudaGetDeviceCount(&count), "counting devices");
  std::vector<DeviceInfo> list;
  for (int index = 0; index < count; ++index) list.push_back(describe(index));
  return list;
}

DeviceInfo device(int index) {
  if (const std::string missing = unavailable(); !missing.empty()) throw std::runtime_error(missing);
  int count = 0;
  check(cudaGetDeviceCount(&count), "counting devices");
  if (index < 0 || index >= count) {
    throw std::invalid_argument("device must be between 0 and " + std::to_string(count - 1) + ", got " +
                                std::to_string(index));
  }
  const DeviceInfo info = describe(index);
  if (info.major < 8) {
    throw std::runtime_error("device " + std::to_string(index) + " (" + info.name + ") has compute capability " +
                             std::to_string(info.major) + "." + std::to_string(info.minor) + ", 8.0 is needed");
  }
  return info;
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
