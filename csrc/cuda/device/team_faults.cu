#include "cuda/device/team_faults.hpp"

#include "cuda/device/runtime.hpp"
#include "cuda/device/team_check.hpp"

namespace pn::cuda {
namespace {

// faults: (kTeamMethods,). memory: null where it is to be shared memory.
__global__ void __launch_bounds__(1024) team_kernel(TeamCheckMemory* memory, std::int32_t* faults) {
  __shared__ double scratch[DeviceTeam::kScratch];
  __shared__ __align__(16) char shared[sizeof(TeamCheckMemory)];
  const DeviceTeam team(scratch);
  TeamCheckMemory& own = memory == nullptr ? *reinterpret_cast<TeamCheckMemory*>(shared) : memory[blockIdx.x];
  TeamCheck<DeviceTeam>(team, own).run();
  if (threadIdx.x < kTeamMethods) atomicAdd(&faults[threadIdx.x], own.faults[threadIdx.x]);
}

}  // namespace

std::vector<std::string> team_faults(int device) {
  const DeviceGuard guard(device);
  int multiprocessors = 0;
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "counting multiprocessors");
  const int blocks = 2 * multiprocessors;  // so that they share them
  const Stream stream;
  const DeviceBuffer<TeamCheckMemory> memory(blocks);
  const DeviceBuffer<std::int32_t> faults(kTeamMethods);
  std::vector<std::string> found;
  for (const int threads : {32, 128, 256, 512, 1024}) {
    for (const bool global : {false, true}) {
      faults.zero(stream.get());
      launch_kernel("checking thread blocks", stream.get(), {static_cast<unsigned>(blocks), threads}, team_kernel,
                    global ? memory.data() : nullptr, faults.data());
      std::int32_t counts[kTeamMethods];
      faults.download(counts, 0, kTeamMethods, stream.get());
      stream.wait();
      for (int method = 0; method < kTeamMethods; ++method) {
        if (counts[method] == 0) continue;
        found.push_back(std::string(kTeamMethodNames[method]) + ", " + std::to_string(threads) + " threads, " +
                        (global ? "global memory" : "shared memory"));
      }
    }
  }
  return found;
}

}  // namespace pn::cuda
