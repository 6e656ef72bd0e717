#include "cpu/dense_kernel.hpp"

#include <algorithm>

#include "cpu/buffer.hpp"
#include "cpu/dense_products.hpp"
#include "cpu/levels/table.hpp"
#include "cpu/residual.hpp"

namespace pn::cpu {
namespace {

using blas::Transpose;

template <class T>
class DenseKernel final : public Kernel<T> {
 public:
  DenseKernel(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch)
      : shape_(shape), layout_(parameter_layout(shape)), activation_(static_cast<std::int32_t>(shape.activation)),
        functions_(table<T>(isa).dense), pool_(pool), batch_(batch), width_(shape.width),
        columns_(column_tiling(width_)), x_(batch * shape.inputs), h1_(batch * width_),
        h2_(shape.hidden_layers == 2 ? batch * width_ : 0), dz1_(h2_.size()), dots_(columns_.parts * batch),
        residual_(batch), partial_(2 * row_tiling(batch).parts * width_) {}

  std::string_view name() const override { return "direct"; }

  double loss_and_gradient(const T* parameters, const Rows<T>& rows, T* gradient) override {
    const std::int64_t n = rows.count;
    forward_rows(parameters, rows);
    const double sum = residual_in_place(rows, n, residual_.data());
    T* dz1 = h1_.data();
    if (shape_.hidden_layers == 2) {
      output_backward(n, h2_.data(), parameters, gradient + layout_.output.offset, gradient + layout_.b2.offset);
      dz1 = dz1_.data();
      hidden_backward(n, parameters, gradient + layout_.b1.offset);
      weight_gradient(pool_, n, h2_.data(), width_, h1_.data(), width_, gradient + layout_.w2.offset);
    } else {
      output_backward(n, h1_.data(), parameters, gradient + layout_.output.offset, gradient + layout_.b1.offset);
    }
    weight_gradient(pool_, n, dz1, width_, x_.data(), shape_.inputs, gradient + layout_.w1.offset);
    return sum / static_cast<double>(n);
  }

  void forward(const T* parameters, const Rows<T>& rows, T* prediction, Activity* activity) override {
    for (std::int64_t first = 0; first < rows.count; first += batch_) {
      const Rows<T> part = rows.slice(first, std::min(batch_, rows.count - first));
      forward_rows(parameters, part);
      for (std::int64_t b = 0; b < part.count; ++b) {
        prediction[first + b] = residual_[b] / static_cast<T>(shape_.inputs);
      }
      if (activity != nullptr) note_activity(part.count, *activity);
    }
  }

 private:
  // Leaves the undivided output in residual_ and the activations in h1_ and h2_.
  void forward_rows(const T* parameters, const Rows<T>& rows) {
    gather(rows, x_.data());
    const T* w_out = parameters + layout_.output.offset;
    if (shape_.hidden_layers == 2) {
      layer(rows.count, x_.data(), shape_.inputs, parameters, layout_.w1, layout_.b1, nullptr, h1_.data());
      layer(rows.count, h1_.data(), width_, parameters, layout_.w2, layout_.b2, w_out, h2_.data());
    } else {
      layer(rows.count, x_.data(), shape_.inputs, parameters, layout_.w1, layout_.b1, w_out, h1_.data());
    }
    for (std::int64_t b = 0; b < rows.count; ++b) {
      T sum = dots_[b];
      for (std::int64_t c = 1; c < columns_.parts; ++c) sum += dots_[c * batch_ + b];
      residual_[b] = sum;
    }
  }

  // out: (n, width) = act(in W^T + b), in: (n, inner); with w_out, dots_ gets out w_out, a part per column tile.
  void layer(std::int64_t n, const T* in, std::int64_t inner, const T* parameters, const Tensor& w, const Tensor& b,
             const T* w_out, T* out) {
    layer_product(pool_, n, in, inner, parameters + w.offset, width_, out, [&](const LayerTile<T>& tile) {
      const T* bias = parameters + b.offset + tile.column;
      if (w_out != nullptr) {
        functions_.activate_dot(activation_, tile.z, bias, w_out + tile.column,
                                dots_.data() + tile.c * batch_ + tile.row);
      } else {
        functions_.activate(activation_, tile.z, bias);
      }
    });
  }

  // h: (n, width) becomes dz; dw and db: (width,).
  void output_backward(std::int64_t n, T* h, const T* parameters, T* dw, T* db) {
    const Tiling rows = row_tiling(n);
    T* partial_db = partial_.data() + rows.parts * width_;
    for_tiles(pool_, rows, columns_, [&](std::int64_t r, std::int64_t c) {
      const std::int64_t row = rows.first(r), column = columns_.first(c);
      functions_.output_backward(activation_, {h + row * width_ + column, rows.count(r), columns_.count(c), width_},
                                 residual_.data() + row, parameters + layout_.output.offset + column,
                                 partial_.data() + r * width_ + column, partial_db + r * width_ + column);
    });
    join_rows(rows.parts, width_, partial_.data(), dw);
    join_rows(rows.parts, width_, partial_db, db);
  }

  // dz1_: (n, width) = (dZ2 W2) act'(Z1), with dZ2 in h2_.
  void hidden_backward(std::int64_t n, const T* parameters, T* db) {
    const Tiling rows = row_tiling(n);
    for_tiles(pool_, rows, columns_, [&](std::int64_t r, std::int64_t c) {
      const std::int64_t row = rows.first(r), column = columns_.first(c);
      const Panel<T> dh{dz1_.data() + row * width_ + column, rows.count(r), columns_.count(c), width_};
      blas::multiply(Transpose::no, Transpose::no, dh.rows, dh.columns, width_, h2_.data() + row * width_, width_,
                     parameters + layout_.w2.offset + column, width_, dh.data, width_);
      functions_.hidden_backward(activation_, dh, h1_.data() + row * width_ + column, {nullptr, nullptr},
                                 partial_.data() + r * width_ + column);
    });
    join_rows(rows.parts, width_, partial_.data(), db);
  }

  void note_activity(std::int64_t n, Activity& activity) {
    functions_.activity({h1_.data(), n, width_, width_}, activity.positive(0), activity.nonpositive(0));
    if (shape_.hidden_layers == 1) return;
    functions_.activity({h2_.data(), n, width_, width_}, activity.positive(1), activity.nonpositive(1));
  }

  NetworkShape shape_;
  ParameterLayout layout_;
  std::int32_t activation_;
  const DenseRowFunctions<T>& functions_;
  ThreadPool& pool_;
  std::int64_t batch_, width_;
  Tiling columns_;           // of a hidden layer's units
  Buffer<T> x_;              // (batch, inputs)
  Buffer<T> h1_, h2_, dz1_;  // (batch, width); h2_ becomes dZ2
  Buffer<T> dots_;           // (column tiles, batch)
  Buffer<T> residual_;       // (batch,)
  Buffer<T> partial_;        // (2, row tiles, width)
};

}  // namespace

template <class T>
std::unique_ptr<Kernel<T>> make_dense_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch) {
  return std::make_unique<DenseKernel<T>>(shape, isa, pool, batch);
}

template std::unique_ptr<Kernel<float>> make_dense_kernel(const NetworkShape&, Isa, ThreadPool&, std::int64_t);
template std::unique_ptr<Kernel<double>> make_dense_kernel(const NetworkShape&, Isa, ThreadPool&, std::int64_t);

}  // namespace pn::cpu
