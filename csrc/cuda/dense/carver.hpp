// One piece of memory cut into arrays: first measured, without memory, then cut.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pn::cuda {

class Carver {
 public:
  explicit Carver(void* base = nullptr) : base_(static_cast<char*>(base)) {}

  // count elements, aligned for every instruction; null while measuring, or where count is 0.
  template <class T>
  T* take(std::int64_t count) {
    const std::int64_t at = bytes_;
    bytes_ = (at + count * static_cast<std::int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return base_ == nullptr || count == 0 ? nullptr : reinterpret_cast<T*>(base_ + at);
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  static constexpr std::int64_t kAlignment = 256;
  char* base_;
  std::int64_t bytes_ = 0;
};

}  // namespace pn::cuda
