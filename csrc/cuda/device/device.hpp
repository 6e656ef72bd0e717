// The CUDA devices of this machine, and what is missing where there is none. Free of CUDA's own headers.
#pragma once

#include <cstdint>
#include <string>

namespace pn::cuda {

struct DeviceInfo {
  int index;
  std::string name;
  int major, minor;  // compute capability
  std::int64_t total_bytes, free_bytes;
};

// "" where a device can be used; else what is missing, as a phrase: "no NVIDIA driver: ...".
std::string unavailable();

// Throws std::runtime_error where there is none that can be used.
int device_count();

// Makes a context on this device, and on no other: hundreds of megabytes of its memory. Throws std::invalid_argument
// where there is no device of this number, std::runtime_error where it can't be used.
DeviceInfo device(int index);

// Throws as device does, but asks the driver only once: for calls that are to take microseconds.
void require_device(int index);

// Of the CUDA runtime that this library has in it: "13.0".
std::string runtime_version();

// Returns when the work that is queued on a stream (its address; 0: the default one) is done.
void synchronize(int device, std::uintptr_t stream);

// "sm_90"
std::string architecture(const DeviceInfo& device);

}  // namespace pn::cuda
