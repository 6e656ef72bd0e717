// A network's tensors at addresses of their own, so that arrays of the caller need no copy.
#pragma once

#include "core/network.hpp"

namespace pn::cuda {

// w1: (groups, width, block_in) [out, in], b1: (groups, width), w2: (groups, width, width) [out, in],
// b2, w3: (groups, width). With one hidden layer w2 and b2 are null and w3 are the weights of the output.
template <class T>
struct Tensors {
  T *w1 = nullptr, *b1 = nullptr, *w2 = nullptr, *b2 = nullptr, *w3 = nullptr;

  // Those of a flat parameter vector.
  static Tensors of(const ParameterLayout& layout, T* flat) {
    const bool two = layout.w2.rows > 0;
    return {flat + layout.w1.offset, flat + layout.b1.offset, two ? flat + layout.w2.offset : nullptr,
            two ? flat + layout.b2.offset : nullptr, flat + layout.output.offset};
  }
};

template <class T>
Tensors<const T> read_only(const Tensors<T>& t) {
  return {t.w1, t.b1, t.w2, t.b2, t.w3};
}

}  // namespace pn::cuda
