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
  launch_kernel("preparing an evaluation", stream, {1, 1}, single_member_kernel<T>, value, target);
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
    const std::int64_t fast_bytes = call.fast ? view.fast_bytes : 0;
    launch_kernel("launching a phase of a step", stream, {grid, kPhaseThreads, fast_bytes}, phase_kernel<T>, view,
                  call);
  }
}

#define PN_INSTANTIATE_PHASES(T)                                                              \
  template void prepare_calls<T>();                                                           \
  template void launch_single_member(const SingleMember<T>&, SingleMember<T>*, cudaStream_t); \
  template void launch_calls(const StepView<T>&, const std::vector<PhaseCall>&, std::int64_t, cudaStream_t)

}  // namespace pn::cuda
