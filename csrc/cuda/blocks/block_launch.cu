#include "cuda/blocks/block_launch.hpp"

namespace pn::cuda {
namespace {

constexpr int kLocalThreads = 512, kPhaseThreads = 256;

template <class T>
__global__ void __launch_bounds__(kLocalThreads) local_kernel(const LocalLaunch<T> launch) {
  extern __shared__ __align__(16) char fast[];
  __shared__ double scratch[DeviceTeam::kScratch];
  const DeviceTeam team(scratch);
  const Turn turn = launch.turns[blockIdx.x];
  Arena arena(fast, launch.fast_bytes, launch.memory + turn.member * launch.slow_bytes);
  const LocalWorkspace<T> workspace = take_local<T>(arena, launch.shape, launch.steps.batch_size);
  local_epoch(team, launch.shape, launch.inputs, launch.members[turn.member], turn, launch.steps, workspace,
              launch.reports[blockIdx.x]);
}

template <class T>
__global__ void __launch_bounds__(kPhaseThreads) phase_kernel(const StepView<T> view, const PhaseCall call) {
  extern __shared__ __align__(16) char fast[];
  __shared__ double scratch[DeviceTeam::kScratch];
  const auto y = static_cast<std::int32_t>(blockIdx.y);
  if (y >= *view.turn_count) return;
  run_phase(DeviceTeam(scratch), view, {static_cast<std::int32_t>(blockIdx.x), y, fast}, call);
}

// What a thread block of a call uses.
template <class T>
struct CallWorkspace {
  PieceWorkspace pieces;
  double* residual;
};
template <class T>
PN_INLINE CallWorkspace<T> take_call(Arena& arena, const LocalCall<T>& call) {
  CallWorkspace<T> w;
  w.pieces = take_pieces(arena, arena, call.shape);
  w.residual = call.predicts ? nullptr : arena.take<double>(call.rows.count);
  return w;
}

template <class T>
__global__ void __launch_bounds__(kLocalThreads) local_call_kernel(const LocalCall<T> call) {
  extern __shared__ __align__(16) char fast[];
  __shared__ double scratch[DeviceTeam::kScratch];
  const DeviceTeam team(scratch);
  Arena arena(fast, call.fast_bytes, call.memory + blockIdx.x * call.slow_bytes);
  const CallWorkspace<T> w = take_call(arena, call);
  if (!call.predicts) {
    const double loss = local_gradient(team, call.shape, call.p, w.pieces, call.rows, w.residual, call.gradient);
    team.one([&] { *call.loss += loss; });
    return;
  }
  const RowSpan span =
      chunk_span(call.rows.count, static_cast<std::int32_t>(blockIdx.x), static_cast<std::int32_t>(gridDim.x));
  RowSlice<T> rows = call.rows;
  rows.first += span.first;
  rows.count = span.end - span.first;
  local_forward(team, call.shape, call.p, w.pieces, rows, call.prediction);
}

template <class T>
__global__ void single_member_kernel(const SingleMember<T> value, SingleMember<T>* target) {
  *target = value;
}

// Lets launches ask for as much shared memory as there is: the limit belongs to the kernel, not to a launch, and other
// ensembles, of other sizes, may launch it at the same time.
template <class Kernel>
void allow_fast(Kernel* kernel) {
  const auto bytes = static_cast<int>(fast_bytes_here());
  check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "asking for shared memory");
}

}  // namespace

std::int64_t fast_bytes_here() {
  int device = 0, most = 0;
  check(cudaGetDevice(&device), "asking for the current device");
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "asking for shared memory");
  constexpr std::int64_t kOfTeams = DeviceTeam::kScratch * sizeof(double);
  return (most - kOfTeams) / 16 * 16;
}

template <class T>
void measure(LocalLaunch<T>& launch, std::int64_t available) {
  Arena arena(nullptr, available, nullptr);
  take_local<T>(arena, launch.shape, launch.steps.batch_size);
  launch.fast_bytes = arena.fast_used();
  launch.slow_bytes = arena.slow_used();
}

template <class T>
void launch_local_epoch(const LocalLaunch<T>& launch, std::int64_t turns, cudaStream_t stream) {
  allow_fast(&local_kernel<T>);
  local_kernel<T>
      <<<static_cast<unsigned>(turns), kLocalThreads, static_cast<std::size_t>(launch.fast_bytes), stream>>>(launch);
  check(cudaGetLastError(), "launching an epoch");
}

template <class T>
void measure(LocalCall<T>& call, std::int64_t available) {
  Arena arena(nullptr, available, nullptr);
  take_call(arena, call);
  call.fast_bytes = arena.fast_used();
  call.slow_bytes = arena.slow_used();
}

template <class T>
void launch_local_call(const LocalCall<T>& call, std::int32_t blocks, cudaStream_t stream) {
  allow_fast(&local_call_kernel<T>);
  local_call_kernel<T>
      <<<static_cast<unsigned>(blocks), kLocalThreads, static_cast<std::size_t>(call.fast_bytes), stream>>>(call);
  check(cudaGetLastError(), "launching an evaluation");
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

#define PN_INSTANTIATE(T)                                                                     \
  template void measure(LocalLaunch<T>&, std::int64_t);                                       \
  template void measure(LocalCall<T>&, std::int64_t);                                         \
  template void launch_local_epoch(const LocalLaunch<T>&, std::int64_t, cudaStream_t);        \
  template void launch_local_call(const LocalCall<T>&, std::int32_t, cudaStream_t);           \
  template void prepare_calls<T>();                                                           \
  template void launch_single_member(const SingleMember<T>&, SingleMember<T>*, cudaStream_t); \
  template void launch_calls(const StepView<T>&, const std::vector<PhaseCall>&, std::int64_t, cudaStream_t)
PN_INSTANTIATE(float);
PN_INSTANTIATE(double);

}  // namespace pn::cuda
