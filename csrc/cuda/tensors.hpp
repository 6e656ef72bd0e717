// A network's tensors as pointers, so that they may lie in one flat vector or in arrays of their own.
#pragma once

#include <cstdint>

#include "core/host_device.hpp"
#include "core/network.hpp"

namespace pn::cuda {

template <class T>
struct Tensors {
  T* w1;  // w1: (groups, width, block_in) [out, in]
  T* b1;  // b1: (groups, width)
  T* w2;  // w2: (groups, width, width) [out, in]; null with one hidden layer
  T* b2;  // b2: (groups, width); null with one hidden layer
  T* w3;  // w3 (w2 with one hidden layer): (groups, width)
};

// Where the tensors begin in the flat vector of core/network.hpp.
struct TensorOffsets {
  std::int64_t w1, b1, w2, b2, w3;
};

inline TensorOffsets tensor_offsets(const ParameterLayout& layout) {
  return {layout.w1.offset, layout.b1.offset, layout.w2.offset, layout.b2.offset, layout.output.offset};
}

template <class T>
PN_INLINE Tensors<T> tensors_at(T* flat, const TensorOffsets& at) {
  return {flat + at.w1, flat + at.b1, flat + at.w2, flat + at.b2, flat + at.w3};
}

template <class T>
PN_INLINE Tensors<const T> as_const(const Tensors<T>& t) {
  return {t.w1, t.b1, t.w2, t.b2, t.w3};
}

// Sizes of one block.
struct BlockShape {
  std::int32_t inputs, width, hidden_layers;
  Activation activation;
};

inline BlockShape block_shape(const NetworkShape& shape) {
  return {static_cast<std::int32_t>(shape.block_in), static_cast<std::int32_t>(shape.width), shape.hidden_layers,
          shape.activation};
}

// Parameters of one block.
PN_INLINE std::int64_t block_size(const BlockShape& b) {
  const std::int64_t width = b.width;
  return width * (b.inputs + 2) + (b.hidden_layers == 2 ? width * (width + 1) : 0);
}

// One block's tensors of all groups'.
template <class T>
PN_INLINE Tensors<T> group_tensors(const Tensors<T>& t, const BlockShape& b, std::int64_t group) {
  const std::int64_t unit = group * b.width;
  return {t.w1 + unit * b.inputs, t.b1 + unit, t.w2 + unit * b.width, t.b2 + unit, t.w3 + unit};
}

// One block's tensors side by side, in memory of block_size elements.
template <class T>
PN_INLINE Tensors<T> packed_tensors(T* memory, const BlockShape& b) {
  const std::int64_t width = b.width, hidden = b.hidden_layers == 2 ? width : 0;
  T* const b1 = memory + width * b.inputs;
  T* const w2 = b1 + width;
  T* const b2 = w2 + hidden * width;
  return {memory, b1, w2, b2, b2 + hidden};
}

}  // namespace pn::cuda
