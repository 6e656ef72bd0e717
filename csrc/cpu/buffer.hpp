// Memory aligned to a cache line, taken once and never grown inside a training step. Zero-filled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>

#ifdef __SANITIZE_ADDRESS__
extern "C" void __asan_poison_memory_region(const volatile void* address, std::size_t bytes);
#define PN_POISON(address, bytes) __asan_poison_memory_region(address, bytes)  // what alignment leaves at the end
#else
#define PN_POISON(address, bytes) static_cast<void>(0)
#endif

namespace pn::cpu {

// std::bad_alloc that says what was asked for.
class OutOfMemory final : public std::bad_alloc {
 public:
  explicit OutOfMemory(double bytes) {
    std::snprintf(message_, sizeof message_, "no memory for an array of %.3g GB", bytes / 1e9);
  }
  const char* what() const noexcept override { return message_; }

 private:
  char message_[64];
};

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::int64_t size) : size_(size) {
    if (size < 1) return;
    const std::size_t bytes = static_cast<std::size_t>(size) * sizeof(T);
    // The system hands out zeros: what of a large array, taken for the worst case, is never touched takes no memory.
    void* block = std::calloc(bytes + kAlignment, 1);
    if (block == nullptr) throw OutOfMemory(static_cast<double>(bytes));
    void* aligned = block;
    std::size_t space = bytes + kAlignment;
    data_ = std::unique_ptr<T, Free>(static_cast<T*>(std::align(kAlignment, bytes, aligned, space)), Free{block});
    PN_POISON(reinterpret_cast<char*>(data_.get()) + bytes, space - bytes);
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::int64_t size() const { return size_; }
  T& operator[](std::int64_t i) { return data_.get()[i]; }
  const T& operator[](std::int64_t i) const { return data_.get()[i]; }

 private:
  static constexpr std::size_t kAlignment = 64;
  struct Free {
    void* block = nullptr;  // as it was taken
    void operator()(T*) const { std::free(block); }
  };
  std::unique_ptr<T, Free> data_;
  std::int64_t size_ = 0;
};

}  // namespace pn::cpu
