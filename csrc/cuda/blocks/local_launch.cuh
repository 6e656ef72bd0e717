// The launches of LN's piecewise-linear kernel. For each precision a file of its own instantiates them: they are most
// of what a build takes.
#pragma once

#include "cuda/blocks/allow_fast.cuh"
#include "cuda/blocks/block_launch.hpp"

namespace pn::cuda {

constexpr int kLocalThreads = 512;

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
void measure(LocalLaunch<T>& launch, std::int64_t available) {
  Arena arena(nullptr, available, nullptr);
  take_local<T>(arena, launch.shape, launch.steps.batch_size);
  launch.fast_bytes = arena.fast_used();
  launch.slow_bytes = arena.slow_used();
}

template <class T>
void launch_local_epoch(const LocalLaunch<T>& launch, std::int64_t turns, cudaStream_t stream) {
  allow_fast(&local_kernel<T>);
  launch_kernel("launching an epoch", stream, {static_cast<unsigned>(turns), kLocalThreads, launch.fast_bytes},
                local_kernel<T>, launch);
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
  launch_kernel("launching an evaluation", stream, {static_cast<unsigned>(blocks), kLocalThreads, call.fast_bytes},
                local_call_kernel<T>, call);
}

#define PN_INSTANTIATE_LOCAL(T)                                                        \
  template void measure(LocalLaunch<T>&, std::int64_t);                                \
  template void measure(LocalCall<T>&, std::int64_t);                                  \
  template void launch_local_epoch(const LocalLaunch<T>&, std::int64_t, cudaStream_t); \
  template void launch_local_call(const LocalCall<T>&, std::int32_t, cudaStream_t)

}  // namespace pn::cuda
