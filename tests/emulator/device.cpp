// The one device that there is, errors, and the rules of a launch.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "emulator.hpp"

namespace emulator {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

struct Kernel {
  bool loaded = false;
  std::size_t fast_bytes = kPlainFastBytes;  // that a launch may ask for
};
std::map<const void*, Kernel>& kernels() {
  static auto& all = *new std::map<const void*, Kernel>;
  return all;
}

bool grid_is_possible(const dim3& grid) {
  const bool empty = grid.x == 0 || grid.y == 0 || grid.z == 0;
  return !empty && grid.x <= 0x7fffffff && grid.y <= 65535 && grid.z <= 65535;
}
bool block_is_possible(const dim3& block) {
  return block.x > 0 && block.y == 1 && block.z == 1 && block.x <= kMostThreads;
}

}  // namespace

std::recursive_mutex& lock() {
  static auto& mutex = *new std::recursive_mutex;
  return mutex;
}

cudaError_t fail(cudaError_t error) { return last_error = error; }

void die(const std::string& what) {
  std::fprintf(stderr, "the emulated GPU: %s\n", what.c_str());
  std::abort();
}

cudaError_t load(const void* kernel, cudaFuncAttributes* attributes) {
  const std::lock_guard guard(lock());
  kernels()[kernel].loaded = true;
  *attributes = {kMostThreads};
  return cudaSuccess;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread) {
  const std::lock_guard guard(lock());
  const dim3 grid = config.gridDim, block = config.blockDim;
  const std::size_t fast_bytes = config.dynamicSmemBytes;
  Kernel& known = kernels()[kernel];
  if (!grid_is_possible(grid) || !block_is_possible(block)) return fail(cudaErrorInvalidConfiguration);
  if (fast_bytes > known.fast_bytes) return fail(cudaErrorInvalidValue);
  if (captures(config.stream)) {
    if (!known.loaded) die("a kernel was captured that had not been loaded before");
  } else if (thread_captures()) {
    die("a kernel was launched beside a capture");
  }
  known.loaded = true;
  enqueue(config.stream, [=, thread = std::move(thread)] { run_grid(grid, block, fast_bytes, thread); });
  return cudaSuccess;
}

}  // namespace emulator

using namespace emulator;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorNotSupported: return "operation not supported";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice); }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return fail(cudaErrorInvalidDevice);
  *properties = {"emulated GPU", 9, 0};
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return fail(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = 1; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(kFastBytes); return cudaSuccess;
  }
  return fail(cudaErrorNotSupported);
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const std::lock_guard guard(lock());
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return fail(cudaErrorNotSupported);
  if (value < 0 || static_cast<std::size_t>(value) > kFastBytes) return fail(cudaErrorInvalidValue);
  kernels()[kernel].fast_bytes = static_cast<std::size_t>(value);
  return cudaSuccess;
}
