// Forward and backward passes of a dense network as launches (kernels.md, section 3), one or two hidden layers.
//
// Two ways through W2's part of the backward pass: "direct", three whole products, for every activation; and "active",
// for ReLU, in which only the mixed units take part in products, and these are masked ones: in float32 on tensor cores.
#pragma once

#include <cstdint>

#include "core/network.hpp"
#include "cuda/dense/carver.hpp"
#include "cuda/dense/dense_backward.hpp"
#include "cuda/dense/launcher.hpp"
#include "cuda/tensors.hpp"

namespace pn::cuda {

struct DenseShape {
  std::int64_t inputs, width;
  bool two_layers;
  Activation activation;
  bool active;  // the way of the backward pass

  static DenseShape of(const NetworkShape& shape, bool active) {
    return {shape.inputs, shape.width, shape.hidden_layers == 2, shape.activation, active};
  }
  // Of split rows: a multiple of 8 elements.
  std::int64_t split_stride() const { return PanelSizes::aligned(width); }
};

// Memory of the passes over up to `rows` rows.
template <class T>
struct DenseMemory {
  T *h1, *h2;  // (rows, width)
  T* output;   // (rows,) undivided, then the residual
  // Of a backward pass:
  T* dz1;           // (rows, width)
  double* partial;  // of sums of columns
  double* active;   // (width,) on how many rows a unit of layer 2 is active
  T *on, *linear;   // (width,) u and s
  std::int32_t *slot, *mixed, *mixed_count, *panel_size;
  typename SplitMatrix<T>::Element* mask;  // (rows, capacity)
  SplitMatrix<T> weighted, hidden;         // (rows, split stride), (capacity, split stride)
  T* panel;                                // (capacity, width)

  static DenseMemory forward(const DenseShape& shape, std::int64_t rows, Carver& carver) {
    DenseMemory m{};
    m.h1 = carver.take<T>(rows * shape.width);
    if (shape.two_layers) m.h2 = carver.take<T>(rows * shape.width);
    m.output = carver.take<T>(rows);
    return m;
  }

  // forward_rows: of passes without a backward one, at least `rows`.
  static DenseMemory backward(const DenseShape& shape, std::int64_t rows, std::int64_t forward_rows, Carver& carver) {
    DenseMemory m = forward(shape, forward_rows, carver);
    const std::int64_t width = shape.width, tiles = parts_of(forward_rows > width ? forward_rows : width, kTileRows);
    m.partial = carver.take<double>(ActiveColumn<T>::kSums * tiles * width);
    m.active = carver.take<double>(width);
    if (!shape.two_layers) return m;
    m.dz1 = carver.take<T>(rows * width);
    if (!shape.active) return m;
    const std::int64_t capacity = PanelSizes::of(width).largest();
    for (T** vector : {&m.on, &m.linear}) *vector = carver.take<T>(width);
    for (std::int32_t** list : {&m.slot, &m.mixed}) *list = carver.take<std::int32_t>(width);
    m.mixed_count = carver.take<std::int32_t>(1);
    m.panel_size = carver.take<std::int32_t>(1);
    using Element = typename SplitMatrix<T>::Element;
    m.mask = carver.take<Element>(rows * capacity);
    for (Element*& term : m.weighted.term) term = carver.take<Element>(rows * shape.split_stride());
    for (Element*& term : m.hidden.term) term = carver.take<Element>(capacity * shape.split_stride());
    m.panel = carver.take<T>(capacity * width);
    return m;
  }
};

template <class T, class Launcher>
class DensePass {
 public:
  DensePass(const DenseShape& shape, const DenseMemory<T>& memory, Launcher& launcher)
      : shape_(shape), memory_(memory), launcher_(launcher) {}

  // x: (n, inputs). Leaves the activations in h1 and h2 and the undivided output.
  void forward(const Tensors<const T>& p, const T* x, std::int64_t n) {
    layer(x, shape_.inputs, p.w1, p.b1, memory_.h1, n);
    if (shape_.two_layers) layer(memory_.h1, shape_.width, p.w2, p.b2, memory_.h2, n);
    launcher_.launch(OutputDot<T>{last_hidden(), p.w3, n, shape_.width, memory_.output});
  }

  // After forward and with the residual in place of the output: the gradient of every tensor but W2, whose own is
  // returned. gradient.w2 is used where the way is the direct one.
  HiddenGradient<T> backward(const Tensors<const T>& p, const T* x, std::int64_t n, const Tensors<T>& gradient) {
    HiddenGradient<T> hidden;
    if (shape_.two_layers) {
      hidden = shape_.active ? backward_active(p, n, gradient) : backward_direct(p, n, gradient);
    } else {
      output_layer(p, n, memory_.h1, gradient.w3, gradient.b1);
    }
    const T* dz1 = shape_.two_layers ? memory_.dz1 : memory_.h1;
    multiply(Product<T, T>{shape_.width, shape_.inputs, n, dz1, shape_.width, true, x, shape_.inputs, false,
                           gradient.w1, shape_.inputs});
    return hidden;
  }

  // counts: (width,) double, += on how many of the last forward pass's n rows a unit of the layer is active.
  void count_active(int layer, std::int64_t n, double* counts) {
    sum_columns<1>(CountActive<T>{layer == 0 ? memory_.h1 : memory_.h2, shape_.width}, n, {{nullptr, counts}});
  }

 private:
  T* last_hidden() const { return shape_.two_layers ? memory_.h2 : memory_.h1; }

  template <class In, class Out>
  void multiply(const Product<In, Out>& product) {
    launcher_.multiply(product);
  }

  template <int kSums, class Column>
  void sum_columns(const Column& column, std::int64_t rows, const SumTarget<T> (&targets)[kSums]) {
    launcher_.launch(SumColumns<Column>{column, rows, shape_.width, memory_.partial});
    JoinColumns<T, kSums> join{memory_.partial, parts_of(rows, kTileRows), shape_.width, {}};
    for (int s = 0; s < kSums; ++s) join.target[s] = targets[s];
    launcher_.launch(join);
  }

  // out: (n, width) = act(in w^T + b). Bias and activation are a pass of their own, not an epilogue of cuBLASLt's: one
  // code for every activation, which host tests run, and NaN stays NaN. (Active rows are counted elsewhere, with the
  // sums of columns.) What it costs to pass over out once more has not been measured.
  void layer(const T* in, std::int64_t inner, const T* w, const T* b, T* out, std::int64_t n) {
    multiply(Product<T, T>{n, shape_.width, inner, in, inner, false, w, inner, true, out, shape_.width});
    launcher_.launch(Elements<ActivateRows<T>>{{out, b, shape_.width, shape_.activation}, n * shape_.width});
  }

  // dz: the last hidden layer's, in place of its activations, or null where it is not wanted.
  void output_layer(const Tensors<const T>& p, std::int64_t n, T* dz, T* dw3, T* db) {
    sum_columns<3>(OutputColumn<T>{last_hidden(), memory_.output, p.w3, shape_.width, shape_.activation, dz}, n,
                   {{dw3, nullptr}, {db, nullptr}, {nullptr, nullptr}});
  }

  void hidden_layer(std::int64_t n, const T* linear, T* db1) {
    sum_columns<1>(HiddenColumn<T>{memory_.h1, memory_.output, linear, memory_.mixed_count, shape_.width,
                                   shape_.activation, memory_.dz1},
                   n, {{db1, nullptr}});
  }

  HiddenGradient<T> backward_direct(const Tensors<const T>& p, std::int64_t n, const Tensors<T>& gradient) {
    const std::int64_t width = shape_.width;
    T* dz2 = memory_.h2;
    output_layer(p, n, dz2, gradient.w3, gradient.b2);
    multiply(Product<T, T>{width, width, n, dz2, width, true, memory_.h1, width, false, gradient.w2, width});
    multiply(Product<T, T>{n, width, width, dz2, width, false, p.w2, width, false, memory_.dz1, width});
    hidden_layer(n, nullptr, gradient.b1);
    HiddenGradient<T> hidden;
    hidden.whole = gradient.w2;
    hidden.width = width;
    return hidden;
  }

  HiddenGradient<T> backward_active(const Tensors<const T>& p, std::int64_t n, const Tensors<T>& gradient) {
    const std::int64_t width = shape_.width;
    const OutputColumn<T> output{memory_.h2, memory_.output, p.w3, width, shape_.activation, nullptr};
    sum_columns<4>(ActiveColumn<T>{output, memory_.h1}, n,
                   {{gradient.w3}, {gradient.b2}, {nullptr, nullptr, memory_.active}, {memory_.on}});
    const PanelSizes sizes = PanelSizes::of(width);
    launcher_.launch(ClassifyUnits{memory_.active, width, n, sizes, memory_.slot, memory_.mixed, memory_.mixed_count,
                                   memory_.panel_size});
    sum_columns<1>(LinearColumn<T>{p.w2, p.w3, memory_.slot, width}, width, {{memory_.linear, nullptr}});
    launcher_.choose(memory_.panel_size, sizes.count, [&](int size) { masked_products(p, n, sizes.capacity[size]); });
    hidden_layer(n, memory_.linear, gradient.b1);
    return {nullptr, memory_.slot, p.w3, memory_.on, memory_.panel, width};
  }

  // panel_pj = sum_b mask_bp (r_b h1_bj) and dz1_bj = sum_p mask_bp (w3_k W2_kj), p being the place of unit k.
  void masked_products(const Tensors<const T>& p, std::int64_t n, std::int64_t capacity) {
    if (capacity == 0) return;
    const DenseMemory<T>& m = memory_;
    const std::int64_t width = shape_.width, stride = shape_.split_stride();
    using Element = typename SplitMatrix<T>::Element;
    launcher_.launch(Elements<PackMask<T>>{{m.h2, width, m.mixed, m.mixed_count, capacity, m.mask}, n * capacity});
    launcher_.launch(Elements<SplitWeightedRows<T>>{{m.h1, m.output, width, stride, m.weighted}, n * stride});
    launcher_.launch(
        Elements<SplitMixedRows<T>>{{p.w2, p.w3, m.mixed, m.mixed_count, width, stride, m.hidden}, capacity * stride});
    for (int i = 0; i < SplitMatrix<T>::kTerms; ++i) {
      multiply(Product<Element, T>{capacity, width, n, m.mask, capacity, true, m.weighted.term[i], stride, false,
                                   m.panel, width, i > 0});
    }
    for (int i = 0; i < SplitMatrix<T>::kTerms; ++i) {
      multiply(Product<Element, T>{n, width, capacity, m.mask, capacity, false, m.hidden.term[i], stride, false, m.dz1,
                                   width, i > 0});
    }
  }

  DenseShape shape_;
  DenseMemory<T> memory_;
  Launcher& launcher_;
};

}  // namespace pn::cuda
