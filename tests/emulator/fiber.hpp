// A course of execution with a stack of its own, which goes on where it was left. On x86-64 a change from one to
// another takes a few instructions; elsewhere it is the C library's, which calls the kernel each time.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulator {

class Fiber {
 public:
  // What runs already and is to be come back to.
  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // entry never returns. number: of this fiber among others.
  void prepare(void (*entry)(), int number);
  // Leaves `from`, which is running, and goes on with `to`.
  static void change(Fiber& from, Fiber& to);

 private:
#if defined(__x86_64__)
  void* top_ = nullptr;  // of the stack, with the registers that a function keeps on it
#else
  ucontext_t context_;
#endif
};

}  // namespace emulator
