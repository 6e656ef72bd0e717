// The launches of the phases of a step, for LCN and the direct kernels; as in local_launch.cuh, a file a precision.
#pragma once

#include "cuda/blocks/allow_fast.cuh"
#include "cuda/blocks/block_launch.hpp"

namespace pn::cuda {

constexpr int kPhaseThreads = 256;

template <class T>
__global__ void __launch_bounds__(kPhaseThreads) phase_kernel(const StepView<T> view, const PhaseCall call) {
  extern __shared__ __align__(16) char fast[];
  __shared__ double scratch[DeviceTeam::kScratch];
  const auto y = static_cast<std::int32_t>(blockIdx.y);
  if (y >= *view.turn_count) return;
  run_phase(DeviceTeam(scratch), view, {static_cast<std::int32_t>(blockIdx.x), y, fast}, call);
}

template <class T>
__global__ void single_member_kernel(const SingleMember<T> value, SingleMember<T>* target) {
  *target = value;
}

template <class T>
void launch_single_member(const SingleMember<T>& value, SingleMember<T>* target, cudaStream_t stream) {
  single_member_kernel<T><<<1, 1, 0, stream>>>(value, target);
  check(cudaGetLastError(), "preparing an evaluation");
}

template <class T>
void prepare_calls() {
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, &phase_kernel<T>), "loading the kernels");
  allow_fast(&phase_kernel<T>);
}

template <class T>
void launch_calls(const StepView<T>& view, const std::vector<PhaseCall>& calls, std::int64_t members,
                  cudaStream_t stream) {
  for (const PhaseCall& call : calls) {
    const dim3 grid(static_cast<unsigned>(call.teams), static_cast<unsigned>(members));
    const auto fast = static_cast<std::size_t>(call.fast ? view.fast_bytes : 0);
    phase_kernel<T><<<grid, kPhaseThreads, fast, stream>>>(view, call);
    check(cudaGetLastError(), "launching a phase of a step");
  }
}

#define PN_INSTANTIATE_PHASES(T)                                                              \
  template void prepare_calls<T>();                                                           \
  template void launch_single_member(const SingleMember<T>&, SingleMember<T>*, cudaStream_t); \
  template void launch_calls(const StepView<T>&, const std::vector<PhaseCall>&, std::int64_t, cudaStream_t)

}  // namespace pn::cuda
