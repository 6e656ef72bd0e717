// Launches of the block kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/blocks/local_epoch.hpp"
#include "cuda/blocks/step_schedule.hpp"
#include "cuda/device/runtime.hpp"

namespace pn::cuda {

// Of a block on the current device, beside what the kernels have anyway: what an Arena may take as fast.
std::int64_t fast_bytes_here();

// One epoch, or some steps of it, of the members whose turn it is: a thread block each.
template <class T>
struct LocalLaunch {
  BlockShape shape;
  std::int32_t inputs;
  const Member<T>* members;
  const Turn* turns;
  EpochReport* reports;
  char* memory;  // (members, slow_bytes)
  std::int64_t slow_bytes, fast_bytes;
  EpochSteps steps;
};
template <class T>
void launch_local_epoch(const LocalLaunch<T>& launch, std::int64_t turns, cudaStream_t stream);

// Predictions, or mean squared error (added to *loss) and gradient, of one weight-shared network, by a thread block or
// several.
template <class T>
struct LocalCall {
  BlockShape shape;
  Tensors<const T> p;
  RowSlice<T> rows;
  bool predicts;
  T* prediction;  // (rows,), or the others
  Tensors<T> gradient;
  double* loss;
  char* memory;  // (blocks, slow_bytes)
  std::int64_t slow_bytes, fast_bytes;
};
template <class T>
void launch_local_call(const LocalCall<T>& call, std::int32_t blocks, cudaStream_t stream);

// In device memory: the one member of an evaluation's view.
template <class T>
struct SingleMember {
  Member<T> member;
  Turn turn;
  std::int32_t turn_count;
  std::int64_t clock;
  EpochReport report;
};
template <class T>
void launch_single_member(const SingleMember<T>& value, SingleMember<T>* target, cudaStream_t stream);

// Fills fast_bytes and slow_bytes. available: as fast_bytes_here.
template <class T>
void measure(LocalLaunch<T>& launch, std::int64_t available);
template <class T>
void measure(LocalCall<T>& call, std::int64_t available);

// Before the first launch_calls on a device; not while a stream is captured, since it may load the kernels.
template <class T>
void prepare_calls();

// The calls in order, for `members` at most; those beyond *view.turn_count do nothing.
template <class T>
void launch_calls(const StepView<T>& view, const std::vector<PhaseCall>& calls, std::int64_t members,
                  cudaStream_t stream);

}  // namespace pn::cuda
