// Every task runs once, on a thread that exists, whatever the number of threads; the denormal mode is restored.
#include "cpu/thread_pool.hpp"

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <limits>
#include <memory>
#include <vector>

#include "check.hpp"

namespace {

using pn::cpu::FlushDenormals;
using pn::cpu::ThreadPool;

void every_task_runs_once(int threads) {
  ThreadPool pool(threads);
  CHECK_EQ(pool.threads(), threads);
  constexpr std::int64_t most = 70;
  std::vector<std::atomic<int>> runs(most);
  for (int round = 0; round < 500; ++round) {
    const std::int64_t count = round % (most + 1);
    for (auto& r : runs) r.store(0, std::memory_order_relaxed);
    std::atomic<bool> in_range{true};
    pool.run(count, [&](std::int64_t task, int thread) {
      if (task < 0 || task >= count || thread < 0 || thread >= threads) {
        in_range = false;
      } else {
        runs[static_cast<std::size_t>(task)].fetch_add(1, std::memory_order_relaxed);
      }
    });
    CHECK(in_range.load());
    for (std::int64_t i = 0; i < most; ++i) CHECK_EQ(runs[static_cast<std::size_t>(i)].load(), i < count ? 1 : 0);
  }
}

// What tasks wrote without atomics is there when run() returns, and what the caller wrote before is there in the tasks;
// no two tasks hold one thread's scratch memory at the same time.
void run_orders_memory(int threads) {
  ThreadPool pool(threads);
  std::vector<std::int64_t> values(33), scratch(static_cast<std::size_t>(threads));
  std::int64_t base = 0;
  for (int round = 0; round < 500; ++round) {
    base = round;
    pool.run(33, [&](std::int64_t task, int thread) {
      std::int64_t& mine = scratch[static_cast<std::size_t>(thread)];
      mine = 0;
      for (std::int64_t i = 0; i <= task; ++i) mine += i;
      values[static_cast<std::size_t>(task)] = base + mine;
    });
    for (std::int64_t i = 0; i < 33; ++i) CHECK_EQ(values[static_cast<std::size_t>(i)], round + i * (i + 1) / 2);
  }
}

void pools_come_and_go() {
  for (int i = 0; i < 100; ++i) {
    ThreadPool idle(1 + i % 8);
    ThreadPool used(1 + i % 5);
    std::atomic<int> sum{0};
    used.run(5, [&sum](std::int64_t task, int) { sum += static_cast<int>(task); });
    CHECK_EQ(sum.load(), 10);
  }
}

std::ptrdiff_t threads_here() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

void threads_start_when_there_are_tasks_for_them() {
  const std::ptrdiff_t before = threads_here();
  ThreadPool pool(8);
  for (const std::int64_t count : {0, 1, 3, 2}) {
    pool.run(count, [](std::int64_t, int) {});
    CHECK_EQ(threads_here() - before, count < 2 ? 0 : 2);
  }
}

// No address space has room for such a stack.
void tasks_run_where_no_thread_can_be_started() {
  pthread_attr_t usual, huge;
  CHECK_EQ(pthread_getattr_default_np(&usual), 0);
  CHECK_EQ(pthread_attr_init(&huge), 0);
  CHECK_EQ(pthread_attr_setstacksize(&huge, std::size_t{1} << 47), 0);
  CHECK_EQ(pthread_setattr_default_np(&huge), 0);
  ThreadPool pool(4);
  int sum = 0;
  pool.run(5, [&sum](std::int64_t task, int) { sum += static_cast<int>(task); });
  CHECK_EQ(pthread_setattr_default_np(&usual), 0);
  CHECK_EQ(sum, 10);
  CHECK_EQ(pool.threads(), 1);
}

// volatile: the product is computed here and now, in the mode of this moment.
bool denormals_are_flushed() {
  volatile double small = std::numeric_limits<double>::min();
  volatile double half = small * 0.5;
  return half == 0.0;
}

void denormals_are_flushed_in_scope_alone() {
#if defined(__x86_64__) || defined(__aarch64__)
  CHECK(!denormals_are_flushed());
  {
    const FlushDenormals outer;
    CHECK(denormals_are_flushed());
    {
      const FlushDenormals inner;
      CHECK(denormals_are_flushed());
    }
    CHECK(denormals_are_flushed());  // restores the caller's mode, whatever it was
  }
  CHECK(!denormals_are_flushed());
#endif
}

// Workers flush; the caller's thread has its own mode, and keeps it.
void workers_flush_denormals() {
#if defined(__x86_64__) || defined(__aarch64__)
  ThreadPool pool(4);
  std::atomic<int> wrong{0};
  for (int round = 0; round < 50; ++round) {
    pool.run(64, [&wrong](std::int64_t, int thread) { wrong += denormals_are_flushed() != (thread != 0); });
  }
  CHECK_EQ(wrong.load(), 0);
  CHECK(!denormals_are_flushed());
#endif
}

}  // namespace

int main() {
  for (int threads = 1; threads <= 8; ++threads) {
    every_task_runs_once(threads);
    run_orders_memory(threads);
  }
  pools_come_and_go();
  threads_start_when_there_are_tasks_for_them();
  tasks_run_where_no_thread_can_be_started();
  denormals_are_flushed_in_scope_alone();
  workers_flush_denormals();
  return pn::test::report();
}
