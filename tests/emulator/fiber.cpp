#include "fiber.hpp"

#include <sys/mman.h>

#include <cstdint>

#include "emulator.hpp"

namespace emulator {
namespace {

constexpr std::size_t kStackBytes = std::size_t{256} << 10, kPage = 4096;

struct Stack {
  char* bottom;
  std::size_t bytes;
};

// With a page below that can't be touched. Stacks that all began at one place of a page would fight for the same lines
// of the cache. They last as long as the process.
Stack take_stack(int number) {
  void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) die("no memory for the stack of a thread");
  return {static_cast<char*>(memory), kStackBytes - static_cast<std::size_t>(number % 61) * 576};
}

}  // namespace

#if defined(__x86_64__)

// Puts the registers that a function keeps for its caller on the stack, saves where that ends, and takes them from the
// other stack.
extern "C" void emulator_change_stacks(void** from, void* to);
asm(R"(
  .text
  .type emulator_change_stacks, @function
emulator_change_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size emulator_change_stacks, .-emulator_change_stacks
)");

void Fiber::prepare(void (*entry)(), int number) {
  const Stack stack = take_stack(number);
  void** top = reinterpret_cast<void**>(stack.bottom + stack.bytes / 64 * 64);
  *--top = nullptr;  // where entry would return to: it begins as if it had been called
  *--top = reinterpret_cast<void*>(entry);
  for (int kept = 0; kept < 6; ++kept) *--top = nullptr;
  top_ = top;
}

void Fiber::change(Fiber& from, Fiber& to) { emulator_change_stacks(&from.top_, to.top_); }

#else

void Fiber::prepare(void (*entry)(), int number) {
  const Stack stack = take_stack(number);
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack.bottom;
  context_.uc_stack.ss_size = stack.bytes;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
}

void Fiber::change(Fiber& from, Fiber& to) { swapcontext(&from.context_, &to.context_); }

#endif

}  // namespace emulator
