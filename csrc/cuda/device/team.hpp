// Device code is written for a team of threads, in phases: what the bodies of one for_each write, others may read only
// after sync(). DeviceTeam is a thread block. HostTeam runs the same code in plain loops, so that tests on machines
// without a GPU run the very arithmetic of the kernels; it can run the bodies of a phase backwards, which shows where
// one of them depends on another.
//
// Sums are formed in an order that depends on the sizes alone, so that results are bitwise the same from run to run.
// Floating-point atomics are not used.
#pragma once

#include <cstdint>

#include "core/host_device.hpp"

#if defined(__CUDACC__)
#define PN_TEAM __device__
#else
#define PN_TEAM
#endif

namespace pn::cuda {

// The larger of two numbers >= 0, or what is not finite among them.
PN_INLINE double larger(double a, double b) {
  if (!(a - a == 0.0)) return a;
  return b > a || !(b - b == 0.0) ? b : a;
}

struct Pair {
  double first = 0.0, second = 0.0;
};
PN_INLINE Pair operator+(const Pair& a, const Pair& b) { return {a.first + b.first, a.second + b.second}; }

// Of a DeviceTeam's scratch memory: doubles.
constexpr int kTeamScratch = 64;

// The contract of a team, which HostTeam spells out. All threads call every method, with equal arguments.
#if !defined(__CUDACC__)

class HostTeam {
 public:
  explicit HostTeam(int size = 1, bool backward = false) : size_(size), backward_(backward) {}

  // Threads.
  int size() const { return size_; }
  // What was written before is seen by all afterwards.
  void sync() const {}

  // body(i) for i = 0 .. n-1, in any order.
  template <class Index, class Body>
  void for_each(Index n, Body body) const {
    for (Index i = 0; i < n; ++i) body(backward_ ? n - 1 - i : i);
  }
  // body() on one thread.
  template <class Body>
  void one(Body body) const {
    body();
  }

  // The following begin and end with a sync and give every thread the result.

  // Of what each thread has added up in the bodies it ran.
  double total(double mine) const { return mine; }
  // The largest of the threads' numbers, all >= 0; NaN or infinite where one of them is.
  double most(double mine) const { return mine; }
  template <class Index, class Test>
  bool any(Index n, Test test) const {
    bool found = false;
    for (Index i = 0; i < n; ++i) found = test(i) || found;
    return found;
  }
  // values: (n,) integers become the sums of what was before them; returns the sum of all.
  template <class Integer>
  Integer exclusive_scan(Integer* values, std::int32_t n) const {
    Integer total = 0;
    for (std::int32_t i = 0; i < n; ++i) {
      const Integer value = values[i];
      values[i] = total;
      total += value;
    }
    return total;
  }
  // done(row, sum over columns of term(row, column)) for each row, on one thread. Starts and ends without a sync; all
  // terms of a row are taken before its done.
  template <class Index, class Term, class Done>
  void row_sums(Index rows, std::int32_t columns, Term term, Done done) const {
    for_each(rows, [&](Index row) {
      Pair total;
      for (std::int32_t c = 0; c < columns; ++c) total = total + term(row, c);
      done(row, total);
    });
  }

  // Between bodies of one phase: integers in any order.
  void add(std::int64_t* to, std::int64_t value) const { *to += value; }
  void add(std::int32_t* to, std::int32_t value) const { *to += value; }
  // Sets *to to 1.
  void mark(std::int32_t* to) const { *to = 1; }

 private:
  int size_;
  bool backward_;
};

#else

// blockDim.x is a multiple of 32 and blockDim.y == blockDim.z == 1.
class DeviceTeam {
 public:
  static constexpr int kScratch = kTeamScratch;
  // scratch: (kScratch,) in shared memory.
  __device__ explicit DeviceTeam(double* scratch) : scratch_(scratch) {}

  __device__ int size() const { return static_cast<int>(blockDim.x); }
  __device__ void sync() const { __syncthreads(); }

  template <class Index, class Body>
  __device__ void for_each(Index n, Body body) const {
    for (Index i = static_cast<Index>(threadIdx.x); i < n; i += static_cast<Index>(blockDim.x)) body(i);
  }
  template <class Body>
  __device__ void one(Body body) const {
    if (threadIdx.x == 0) body();
  }

  __device__ double total(double mine) const {
    for (int step = 16; step > 0; step /= 2) mine += __shfl_xor_sync(kAll, mine, step);
    share(mine);
    double all = 0.0;
    for (int w = 0; w < warps(); ++w) all += scratch_[w];
    __syncthreads();
    return all;
  }
  __device__ double most(double mine) const {
    for (int step = 16; step > 0; step /= 2) mine = larger(mine, __shfl_xor_sync(kAll, mine, step));
    share(mine);
    double all = 0.0;
    for (int w = 0; w < warps(); ++w) all = larger(all, scratch_[w]);
    __syncthreads();
    return all;
  }
  template <class Index, class Test>
  __device__ bool any(Index n, Test test) const {
    __syncthreads();
    bool found = false;
    for_each(n, [&](Index i) { found = test(i) || found; });
    return __syncthreads_or(found ? 1 : 0) != 0;
  }

  template <class Integer>
  __device__ Integer exclusive_scan(Integer* values, std::int32_t n) const {
    const std::int32_t chunk = (n + size() - 1) / size();
    const std::int32_t first = min(n, static_cast<std::int32_t>(threadIdx.x) * chunk), end = min(n, first + chunk);
    __syncthreads();
    Integer mine = 0;
    for (std::int32_t i = first; i < end; ++i) mine += values[i];
    Integer before = mine;  // of this thread's warp, up to and with this thread
    for (int step = 1; step < 32; step *= 2) {
      const Integer other = __shfl_up_sync(kAll, before, static_cast<unsigned>(step));
      if (lane() >= step) before += other;
    }
    Integer* totals = reinterpret_cast<Integer*>(scratch_);
    if (lane() == 31) totals[warp()] = before;
    __syncthreads();
    Integer all = 0, next = before - mine;
    for (int w = 0; w < warps(); ++w) {
      if (w < warp()) next += totals[w];
      all += totals[w];
    }
    for (std::int32_t i = first; i < end; ++i) {
      const Integer value = values[i];
      values[i] = next;
      next += value;
    }
    __syncthreads();
    return all;
  }

  // A row is summed by as many neighbouring lanes of a warp as it has columns, at most 32.
  template <class Index, class Term, class Done>
  __device__ void row_sums(Index rows, std::int32_t columns, Term term, Done done) const {
    int lanes = 1;
    while (lanes < columns && lanes < 32) lanes *= 2;
    const int column = static_cast<int>(threadIdx.x) % lanes;
    const Index groups = static_cast<Index>(size() / lanes);
    Index row = static_cast<Index>(static_cast<int>(threadIdx.x) / lanes);
    for (Index passed = 0; passed < rows; passed += groups, row += groups) {
      Pair total;
      if (row < rows) {
        for (std::int32_t c = column; c < columns; c += lanes) total = total + term(row, c);
      }
      for (int step = lanes / 2; step > 0; step /= 2) {
        total = total + Pair{__shfl_xor_sync(kAll, total.first, step), __shfl_xor_sync(kAll, total.second, step)};
      }
      if (row < rows && column == 0) done(row, total);
    }
  }

  __device__ void add(std::int64_t* to, std::int64_t value) const {
    atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(value));
  }
  __device__ void add(std::int32_t* to, std::int32_t value) const { atomicAdd(to, value); }
  __device__ void mark(std::int32_t* to) const {
    // A look first spares most of the atomics on global memory; on shared memory they cost little, and tools that
    // search for races there would report the look.
    if (__isShared(to) || *static_cast<volatile std::int32_t*>(to) == 0) atomicExch(to, 1);
  }

 private:
  static constexpr unsigned kAll = 0xffffffffu;
  __device__ int lane() const { return static_cast<int>(threadIdx.x) % 32; }
  __device__ int warp() const { return static_cast<int>(threadIdx.x) / 32; }
  __device__ int warps() const { return static_cast<int>(blockDim.x) / 32; }
  // One number of each warp to all threads.
  __device__ void share(double value) const {
    __syncthreads();
    if (lane() == 0) scratch_[warp()] = value;
    __syncthreads();
  }

  double* scratch_;
};

#endif

}  // namespace pn::cuda
