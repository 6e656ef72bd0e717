#include "cpu/thread_pool.hpp"

#include <algorithm>
#include <system_error>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pn::cpu {
namespace {

constexpr int kSpins = 1000;  // some 20 us: longer than the gap between two phases of a step, shorter than a time slice
constexpr std::int64_t kMostTasks = std::int64_t{1} << 31;  // of one offer

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::~ThreadPool() {
  ending_.store(true, std::memory_order_relaxed);
  calls_.fetch_add(1, std::memory_order_release);
  calls_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(std::int64_t count, void* task, Invoke invoke) {
  start(std::min<std::int64_t>(threads_, count) - 1);
  task_ = task;
  invoke_ = invoke;
  for (std::int64_t first = 0; first < count; first += kMostTasks) run_some(first, std::min(kMostTasks, count - first));
}

// Where the system gives no more threads, those that there are do all the tasks.
void ThreadPool::start(std::int64_t most) {
  try {
    while (static_cast<std::int64_t>(workers_.size()) < most) {
      const int thread = static_cast<int>(workers_.size()) + 1;
      workers_.emplace_back([this, thread] { work(thread); });
    }
  } catch (const std::system_error&) {
    threads_ = static_cast<int>(workers_.size()) + 1;
  }
}

void ThreadPool::run_some(std::int64_t first, std::int64_t count) {
  first_ = first;
  finished_.store(0, std::memory_order_relaxed);
  offer_.store(static_cast<std::uint64_t>(count) << 32, std::memory_order_release);
  calls_.fetch_add(1, std::memory_order_release);
  calls_.notify_all();
  while (take_task(0)) {
  }
  const auto all = static_cast<std::uint32_t>(count);
  for (int i = 0; i < kSpins && finished_.load(std::memory_order_acquire) != all; ++i) relax();
  for (std::uint32_t seen = finished_.load(std::memory_order_acquire); seen != all;
       seen = finished_.load(std::memory_order_acquire)) {
    finished_.wait(seen, std::memory_order_acquire);
  }
}

bool ThreadPool::take_task(int thread) {
  const auto left = [](std::uint64_t offer) { return static_cast<std::uint32_t>(offer) < (offer >> 32); };
  if (!left(offer_.load(std::memory_order_relaxed))) return false;
  const std::uint64_t offer = offer_.fetch_add(1, std::memory_order_acquire);
  if (!left(offer)) return false;
  invoke_(task_, first_ + static_cast<std::uint32_t>(offer), thread);
  const auto all = static_cast<std::uint32_t>(offer >> 32);
  if (finished_.fetch_add(1, std::memory_order_acq_rel) + 1 == all && thread != 0) finished_.notify_one();
  return true;
}

void ThreadPool::work(int thread) {
  const FlushDenormals flush;
  for (std::uint32_t seen = 0;;) {
    for (int i = 0; i < kSpins && calls_.load(std::memory_order_acquire) == seen; ++i) relax();
    calls_.wait(seen, std::memory_order_acquire);
    seen = calls_.load(std::memory_order_acquire);
    if (ending_.load(std::memory_order_relaxed)) return;
    while (take_task(thread)) {
    }
  }
}

#if defined(__x86_64__)
FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) {
  constexpr unsigned flush_to_zero = 0x8000, denormals_are_zero = 0x0040;
  _mm_setcsr(static_cast<unsigned>(saved_) | flush_to_zero | denormals_are_zero);
}
FlushDenormals::~FlushDenormals() { _mm_setcsr(static_cast<unsigned>(saved_)); }
#elif defined(__aarch64__)
FlushDenormals::FlushDenormals() {
  constexpr std::uint64_t flush_to_zero = std::uint64_t{1} << 24;
  asm volatile("mrs %0, fpcr" : "=r"(saved_));
  asm volatile("msr fpcr, %0" ::"r"(saved_ | flush_to_zero));
}
FlushDenormals::~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }
#else
FlushDenormals::FlushDenormals() : saved_(0) {}
FlushDenormals::~FlushDenormals() {}
#endif

}  // namespace pn::cpu
