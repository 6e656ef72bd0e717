// What to say where there is no device that can be used. Free of CUDA's own headers.
#pragma once

#include <string>
#include <vector>

#include "cuda/device/device.hpp"

namespace pn::cuda {

// visible: the value of CUDA_VISIBLE_DEVICES, null where it is not set.
inline std::string no_device(const char* visible) {
  const std::string report = "no GPU: ";
  if (visible == nullptr) return report + "the NVIDIA driver reports no device";
  if (*visible == '\0') return report + "CUDA_VISIBLE_DEVICES is set and empty, which hides every device";
  return report + "the NVIDIA driver reports no device, with CUDA_VISIBLE_DEVICES='" + visible + "'";
}

// "" where a device is capable; else why none is. devices: at least one.
inline std::string none_capable(const std::vector<DeviceInfo>& devices) {
  constexpr int kLeastMajor = 8;  // the oldest that the kernels are built for
  std::string report;
  for (const DeviceInfo& d : devices) {
    if (d.major >= kLeastMajor) return "";
    report += (report.empty() ? "no usable GPU: device " : "; device ") + std::to_string(d.index) + " (" + d.name +
              ") has compute capability " + std::to_string(d.major) + "." + std::to_string(d.minor) + ", " +
              std::to_string(kLeastMajor) + ".0 is needed";
  }
  return report;
}

}  // namespace pn::cuda
