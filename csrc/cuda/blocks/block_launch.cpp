#include "cuda/blocks/block_launch.hpp"

namespace pn::cuda {

std::int64_t fast_bytes_here() {
  int device = 0, most = 0;
  check(cudaGetDevice(&device), "asking for the current device");
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "asking for shared memory");
  constexpr std::int64_t kOfTeams = kTeamScratch * sizeof(double);
  return (most - kOfTeams) / 16 * 16;
}

}  // namespace pn::cuda
