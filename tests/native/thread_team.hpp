// A team of real threads, which follows DeviceTeam step for step: threads of warps, barriers where __syncthreads
// stands, shuffles that order nothing but themselves. ThreadSanitizer sees the races that a thread block would have,
// and a barrier that not all threads reach hangs.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include "cuda/device/team.hpp"

namespace pn::test {

constexpr int kWarp = 4;

// What the lanes of a warp exchange. Relaxed, because a shuffle is no barrier for memory.
class Shuffle {
 public:
  // The value of each lane, for every lane.
  std::vector<double> exchange(int lane, double value) {
    values_[lane].store(value, std::memory_order_relaxed);
    meet();
    std::vector<double> all;
    for (const auto& v : values_) all.push_back(v.load(std::memory_order_relaxed));
    meet();
    return all;
  }

 private:
  void meet() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const std::int64_t round = arrived_.fetch_add(1, std::memory_order_relaxed) / kWarp;
    while (arrived_.load(std::memory_order_relaxed) < (round + 1) * kWarp) std::this_thread::yield();
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

  std::atomic<double> values_[kWarp] = {};
  std::atomic<std::int64_t> arrived_{0};
};

// Orders all that its threads did before it ahead of what they do after it.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void meet() {
    const int round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      round_.notify_all();
      return;
    }
    while (round_.load(std::memory_order_acquire) == round) round_.wait(round, std::memory_order_acquire);
  }

 private:
  int threads_;
  std::atomic<int> arrived_{0}, round_{0};
};

// What the threads of a block share.
struct BlockOfThreads {
  explicit BlockOfThreads(int threads) : barrier(threads), shuffle(static_cast<std::size_t>(threads / kWarp)) {}
  Barrier barrier;
  std::vector<Shuffle> shuffle;
  std::atomic<int> found{0};
  std::int64_t scratch[64] = {};
  double results[64] = {};
};

class ThreadTeam {
 public:
  ThreadTeam(BlockOfThreads& block, int thread, int size) : block_(block), thread_(thread), size_(size) {}

  int size() const { return size_; }
  void sync() const { block_.barrier.meet(); }

  template <class Index, class Body>
  void for_each(Index n, Body body) const {
    for (Index i = static_cast<Index>(thread_); i < n; i += static_cast<Index>(size_)) body(i);
  }
  template <class Body>
  void one(Body body) const {
    if (thread_ == 0) body();
  }

  double total(double mine) const {
    return joined(mine, [](double a, double b) { return a + b; });
  }
  double most(double mine) const {
    return joined(mine, [](double a, double b) { return cuda::larger(a, b); });
  }
  template <class Index, class Test>
  bool any(Index n, Test test) const {
    sync();
    bool found = false;
    for_each(n, [&](Index i) { found = test(i) || found; });
    if (found) block_.found.store(1, std::memory_order_relaxed);
    sync();
    const bool result = block_.found.load(std::memory_order_relaxed) != 0;
    sync();  // in the device's instruction
    one([&] { block_.found.store(0, std::memory_order_relaxed); });
    return result;
  }

  template <class Integer>
  Integer exclusive_scan(Integer* values, std::int32_t n) const {
    const std::int32_t chunk = (n + size_ - 1) / size_;
    const std::int32_t first = std::min(n, thread_ * chunk), end = std::min(n, first + chunk);
    sync();
    Integer mine = 0;
    for (std::int32_t i = first; i < end; ++i) mine += values[i];
    block_.scratch[thread_] = static_cast<std::int64_t>(mine);
    sync();
    Integer all = 0, next = 0;
    for (int t = 0; t < size_; ++t) {
      if (t < thread_) next += static_cast<Integer>(block_.scratch[t]);
      all += static_cast<Integer>(block_.scratch[t]);
    }
    for (std::int32_t i = first; i < end; ++i) {
      const Integer value = values[i];
      values[i] = next;
      next += value;
    }
    sync();
    return all;
  }

  template <class Index, class Term, class Done>
  void row_sums(Index rows, std::int32_t columns, Term term, Done done) const {
    int lanes = 1;
    while (lanes < columns && lanes < kWarp) lanes *= 2;
    const int column = thread_ % lanes;
    const Index groups = static_cast<Index>(size_ / lanes);
    Index row = static_cast<Index>(thread_ / lanes);
    for (Index passed = 0; passed < rows; passed += groups, row += groups) {
      cuda::Pair mine;
      if (row < rows) {
        for (std::int32_t c = column; c < columns; c += lanes) mine = mine + term(row, c);
      }
      const std::vector<double> first = shuffled(mine.first), second = shuffled(mine.second);
      cuda::Pair total;
      for (int l = thread_ % kWarp / lanes * lanes, i = 0; i < lanes; ++i, ++l) {
        total = total + cuda::Pair{first[static_cast<std::size_t>(l)], second[static_cast<std::size_t>(l)]};
      }
      if (row < rows && column == 0) done(row, total);
    }
  }

  template <class Integer>
  void add(Integer* to, std::type_identity_t<Integer> value) const {
    std::atomic_ref(*to).fetch_add(value, std::memory_order_relaxed);
  }
  void mark(std::int32_t* to) const {
    const std::atomic_ref target(*to);
    if (target.load(std::memory_order_relaxed) == 0) target.store(1, std::memory_order_relaxed);
  }

 private:
  std::vector<double> shuffled(double value) const {
    return block_.shuffle[static_cast<std::size_t>(thread_ / kWarp)].exchange(thread_ % kWarp, value);
  }
  template <class Join>
  double joined(double mine, Join join) const {
    sync();
    const std::vector<double> warp = shuffled(mine);
    double all = 0.0;
    for (const double value : warp) all = join(all, value);
    if (thread_ % kWarp == 0) block_.results[thread_ / kWarp] = all;
    sync();
    all = 0.0;
    for (int w = 0; w < size_ / kWarp; ++w) all = join(all, block_.results[w]);
    sync();
    return all;
  }

  BlockOfThreads& block_;
  int thread_, size_;
};

// body(team, block), by `blocks` teams of `threads` threads at once: a launch.
template <class Body>
void launch_threads(int blocks, int threads, Body body) {
  std::vector<std::unique_ptr<BlockOfThreads>> shared;
  std::vector<std::jthread> all;
  for (int b = 0; b < blocks; ++b) {
    shared.push_back(std::make_unique<BlockOfThreads>(threads));
    for (int t = 0; t < threads; ++t) {
      all.emplace_back(
          [&body, b, t, threads, block = shared.back().get()] { body(ThreadTeam(*block, t, threads), b); });
    }
  }
  for (std::jthread& thread : all) thread.join();
}

}  // namespace pn::test
