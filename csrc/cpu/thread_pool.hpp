// Threads of one training run. Tasks are numbered and their partition never depends on the number of threads, so
// results are bitwise the same for any number of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <type_traits>
#include <vector>

namespace pn::cpu {

class ThreadPool {
 public:
  // The caller counts as one. The others are started when there are tasks for them: a small network's call starts none.
  explicit ThreadPool(int threads) : threads_(threads > 1 ? threads : 1) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls task(i, thread) for every i in [0, count); thread < threads() names scratch memory. Returns when all are
  // done. Not reentrant; the task must not throw.
  template <class Task>
  void run(std::int64_t count, Task&& task) {
    if (threads_ == 1 || count <= 1) {
      for (std::int64_t i = 0; i < count; ++i) task(i, 0);
      return;
    }
    using Plain = std::remove_reference_t<Task>;
    run_erased(count, const_cast<void*>(static_cast<const void*>(&task)),
               [](void* t, std::int64_t i, int thread) { (*static_cast<Plain*>(t))(i, thread); });
  }

 private:
  using Invoke = void (*)(void*, std::int64_t, int);
  void run_erased(std::int64_t count, void* task, Invoke invoke);
  void start(std::int64_t most);
  void run_some(std::int64_t first, std::int64_t count);
  void work(int thread);
  bool take_task(int thread);

  int threads_;
  std::vector<std::thread> workers_;  // at most threads_ - 1
  // Of the tasks on offer. They change only while no task is on offer or under way.
  void* task_ = nullptr;
  Invoke invoke_ = nullptr;
  std::int64_t first_ = 0;
  // Count of the tasks on offer (high half) and how many have been taken (low half), so that a worker that wakes late
  // takes a task of whatever is on offer then, or none, and nobody waits for it.
  alignas(64) std::atomic<std::uint64_t> offer_{0};
  alignas(64) std::atomic<std::uint32_t> finished_{0};
  alignas(64) std::atomic<std::uint32_t> calls_{0};  // a new value means new tasks, or the end
  std::atomic<bool> ending_{false};
};

// Sets flush-to-zero and denormals-are-zero for this thread and restores the caller's mode: moments of dead units decay
// into denormals, which cost a hundredfold.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  std::uint64_t saved_;
};

}  // namespace pn::cpu
