// A grid's thread blocks, one after another; a block's threads as fibers, each going on until it waits at a barrier.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "device_builtins.h"
#include "emulator.hpp"
#include "fiber.hpp"

// The shared memory that a launch asks for: by this name the kernels of csrc/cuda declare it.
namespace pn::cuda {
constexpr std::size_t kGuardBytes = 4096;
alignas(1024) thread_local char fast[emulator::kFastBytes + kGuardBytes];
}  // namespace pn::cuda

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulator {
namespace {

using pn::cuda::fast, pn::cuda::kGuardBytes;

constexpr unsigned char kUninitialised = 0xff, kGuard = 0xa5;

bool wants_backward() {
  const char* order = std::getenv("EMULATOR_ORDER");
  if (order == nullptr || std::string_view(order) == "forward") return false;
  if (std::string_view(order) == "backward") return true;
  die(std::string("EMULATOR_ORDER must be forward or backward, got ") + order);
}

// Where threads wait for one another. All of them must come for the same reason.
enum class Reason { sync, any, exchange };
struct Barrier {
  int arrived = 0;
  unsigned round = 0;
  Reason reason = Reason::sync;
  bool any = false, result = false;  // or of what this round's and the last round's threads brought

  void open() {
    arrived = 0;
    ++round;
    result = std::exchange(any, false);
  }
};

struct Warp {
  Barrier barrier;
  std::uint64_t passed[2][kWarp];  // of this exchange and the last one, which some may not have read yet
};

struct Thread {
  Fiber fiber;
  bool live = false;
  const Barrier* waits_at = nullptr;
  unsigned round = 0;      // in which it came there
  unsigned exchanges = 0;  // that it has taken part in

  bool waits() const { return waits_at != nullptr && waits_at->round == round; }
};

// The threads of a block, whose fibers serve one block after another. The runtime's lock lets one block run at a time.
class Threads {
 public:
  Threads() {
    for (int t = 0; t < kMostThreads; ++t) threads_[t].fiber.prepare(&Threads::begin, t);
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  void run(int count, bool backward, const std::function<void()>& body) {
    body_ = &body;
    backward_ = backward;
    count_ = live_ = count;
    block_ = {};
    for (Warp& warp : warps_) warp.barrier = {};
    for (int t = 0; t < count; ++t) {
      threads_[t].live = true;
      threads_[t].exchanges = 0;
    }
    while (live_ > 0) {
      if (!pass()) die("threads of a block wait for others that never come: a barrier or an exchange in a branch");
    }
  }

  void sync(Reason reason) { meet(block_, live_, reason); }
  bool any(bool mine) {
    block_.any = block_.any || mine;
    meet(block_, live_, Reason::any);
    return block_.result;
  }

  std::uint64_t exchange(std::uint64_t mine, int lane) {
    Warp& warp = warps_[current_ / kWarp];
    std::uint64_t* const passed = warp.passed[threads_[current_].exchanges++ % 2];
    passed[current_ % kWarp] = mine;
    meet(warp.barrier, kWarp, Reason::exchange);
    return passed[lane];
  }

 private:
  // Lets every thread that can go on do so once. False: there was none.
  bool pass() {
    bool moved = false;
    for (int i = 0; i < count_; ++i) {
      const int t = backward_ ? count_ - 1 - i : i;
      if (!threads_[t].live || threads_[t].waits()) continue;
      resume(t);
      moved = true;
    }
    return moved;
  }

  void meet(Barrier& barrier, int members, Reason reason) {
    if (barrier.arrived == 0) barrier.reason = reason;
    if (barrier.reason != reason) die("threads of a block wait for one another at different barriers");
    if (++barrier.arrived == members) {
      barrier.open();
      return;
    }
    Thread& thread = threads_[current_];
    thread.waits_at = &barrier;
    thread.round = barrier.round;
    pause();
    thread.waits_at = nullptr;
  }

  void resume(int t) {
    current_ = t;
    threadIdx.x = static_cast<unsigned>(t);
    Fiber::change(scheduler_, threads_[t].fiber);
  }
  void pause() { Fiber::change(threads_[current_].fiber, scheduler_); }

  void live() {
    for (;;) {
      (*body_)();
      threads_[current_].live = false;
      if (--live_ > 0 && block_.arrived == live_) block_.open();  // who has ended is not waited for
      pause();
    }
  }
  static void begin();

  Fiber scheduler_;
  Thread threads_[kMostThreads];
  Warp warps_[kMostThreads / kWarp];
  Barrier block_;
  const std::function<void()>* body_ = nullptr;
  int count_ = 0, live_ = 0, current_ = 0;
  bool backward_ = false;
};

Threads* threads = nullptr;  // made by the first launch

void Threads::begin() { threads->live(); }

void run_block(const uint3& index, int count, bool backward, std::size_t fast_bytes,
               const std::function<void()>& thread) {
  std::memset(fast, kUninitialised, fast_bytes);
  std::memset(fast + fast_bytes, kGuard, kGuardBytes);
  blockIdx = index;
  threads->run(count, backward, thread);
  const char* const guard = fast + fast_bytes;
  if (std::any_of(guard, guard + kGuardBytes, [](char c) { return static_cast<unsigned char>(c) != kGuard; })) {
    die("a thread block wrote behind the shared memory that its launch asked for");
  }
}

}  // namespace

void sync_block() { threads->sync(Reason::sync); }
bool sync_block_or(bool mine) { return threads->any(mine); }
bool is_shared(const void* data) {
  const char* const address = static_cast<const char*>(data);
  return address >= fast && address < fast + kFastBytes;
}
std::uint64_t exchange(std::uint64_t mine, int lane) { return threads->exchange(mine, lane); }

void run_grid(const dim3& grid, const dim3& block, std::size_t fast_bytes, const std::function<void()>& thread) {
  if (threads == nullptr) threads = new Threads;
  blockDim = block;
  gridDim = grid;
  const bool backward = wants_backward();
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::uint64_t b = backward ? blocks - 1 - i : i;
    const uint3 index{static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                      static_cast<unsigned>(b / grid.x / grid.y)};
    run_block(index, static_cast<int>(block.x), backward, fast_bytes, thread);
  }
}

}  // namespace emulator
