// Working memory of a team: what comes first lies in the block's shared memory while that lasts, the rest in device
// memory. The same sequence of takes, done on the host without memory, measures what is needed.
#pragma once

#include <cstdint>

#include "core/host_device.hpp"

namespace pn::cuda {

class Arena {
 public:
  PN_INLINE_MEMBER Arena(char* fast, std::int64_t fast_bytes, char* slow)
      : fast_(fast), slow_(slow), left_(fast_bytes) {}

  // Memory for `count` elements, aligned to 16 bytes.
  template <class U>
  PN_INLINE_MEMBER U* take(std::int64_t count) {
    const std::int64_t bytes = rounded<U>(count);
    if (bytes <= left_) {
      char* const at = fast_ + fast_used_;
      left_ -= bytes;
      fast_used_ += bytes;
      return reinterpret_cast<U*>(at);
    }
    return take_slow<U>(count);
  }
  // The same, in device memory.
  template <class U>
  PN_INLINE_MEMBER U* take_slow(std::int64_t count) {
    char* const at = slow_ + slow_used_;
    slow_used_ += rounded<U>(count);
    return reinterpret_cast<U*>(at);
  }

  PN_INLINE_MEMBER std::int64_t fast_used() const { return fast_used_; }
  PN_INLINE_MEMBER std::int64_t slow_used() const { return slow_used_; }

 private:
  template <class U>
  static PN_INLINE_MEMBER std::int64_t rounded(std::int64_t count) {
    return (count * static_cast<std::int64_t>(sizeof(U)) + 15) / 16 * 16;
  }

  char *fast_, *slow_;
  std::int64_t left_, fast_used_ = 0, slow_used_ = 0;
};

}  // namespace pn::cuda
