// What a kernel is written with, for files that are CUDA's own language.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

// A thread block runs on one thread of the process, so that what belongs to that thread is the block's. (A static
// variable would do, since one block runs at a time; but not for what is declared extern.)
#define __shared__ thread_local
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace emulator {

void sync_block();
bool sync_block_or(bool mine);
bool is_shared(const void* data);
// The bits that the warp's thread of that lane passes to this exchange; every thread of the warp takes part.
std::uint64_t exchange(std::uint64_t mine, int lane);

template <class T>
T from_lane(T value, int lane) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = exchange(bits, lane);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline int own_lane() { return static_cast<int>(threadIdx.x % 32); }

}  // namespace emulator

inline void __syncthreads() { ::emulator::sync_block(); }
inline int __syncthreads_or(int mine) { return ::emulator::sync_block_or(mine != 0) ? 1 : 0; }
inline bool __isShared(const void* data) { return ::emulator::is_shared(data); }
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return ::emulator::from_lane(value, ::emulator::own_lane() ^ mask);
}
template <class T>
T __shfl_up_sync(unsigned, T value, unsigned delta) {
  const int lane = ::emulator::own_lane(), from = lane - static_cast<int>(delta);
  return ::emulator::from_lane(value, from < 0 ? lane : from);
}
template <class T>
T atomicAdd(T* to, T value) {
  const T former = *to;
  *to += value;
  return former;
}
template <class T>
T atomicExch(T* to, T value) {
  const T former = *to;
  *to = value;
  return former;
}
template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
void cudaGraphSetConditional(cudaGraphConditionalHandle handle, unsigned value);
