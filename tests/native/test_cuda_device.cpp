// What is said where there is no device that can be used.
#include <string>
#include <vector>

#include "check.hpp"
#include "cuda/device/missing.hpp"

namespace {

using pn::cuda::DeviceInfo;

void test_no_device() {
  CHECK_EQ(pn::cuda::no_device(nullptr), std::string("no GPU: the NVIDIA driver reports no device"));
  CHECK_EQ(pn::cuda::no_device(""),
           std::string("no GPU: CUDA_VISIBLE_DEVICES is set and empty, which hides every device"));
  CHECK_EQ(pn::cuda::no_device("-1"),
           std::string("no GPU: the NVIDIA driver reports no device, with CUDA_VISIBLE_DEVICES='-1'"));
}

void test_capability() {
  const DeviceInfo old{0, "Volta", 7, 0, 1, 1}, older{1, "Pascal", 6, 1, 1, 1}, ampere{1, "Ampere", 8, 0, 1, 1},
      later{0, "Later", 12, 0, 1, 1};
  for (const std::vector<DeviceInfo>& list : {std::vector{ampere}, std::vector{later}, std::vector{old, ampere}}) {
    CHECK_EQ(pn::cuda::none_capable(list), std::string());
  }
  CHECK_EQ(pn::cuda::none_capable({old}),
           std::string("no usable GPU: device 0 (Volta) has compute capability 7.0, 8.0 is needed"));
  CHECK_EQ(pn::cuda::none_capable({old, older}),
           std::string("no usable GPU: device 0 (Volta) has compute capability 7.0, 8.0 is needed; "
                       "device 1 (Pascal) has compute capability 6.1, 8.0 is needed"));
}

}  // namespace

int main() {
  test_no_device();
  test_capability();
  return pn::test::report();
}
