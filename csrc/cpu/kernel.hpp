// What the trainer's CPU engine and the bindings ask of a kernel: loss and gradient, and the forward pass, on some
// rows.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/network.hpp"
#include "core/trainer.hpp"

namespace pn::cpu {

// Rows of a data set. Pointers belong to the caller and outlive the call.
template <class T>
struct Rows {
  const T* x = nullptr;                  // x: (n, inputs)
  const T* y = nullptr;                  // y: (n,) scaled target; may be null in a forward pass
  const std::uint32_t* index = nullptr;  // index: (count,) row numbers; null means rows first .. first+count-1
  std::int64_t count = 0;
  std::int64_t inputs = 0;
  std::int64_t first = 0;

  std::int64_t row(std::int64_t b) const { return index ? static_cast<std::int64_t>(index[b]) : first + b; }
  Rows slice(std::int64_t from, std::int64_t n) const {
    return {x, y, index ? index + from : nullptr, n, inputs, index ? 0 : first + from};
  }
};

// Which units were seen active and inactive, per hidden layer; forward passes add to it.
class Activity {
 public:
  explicit Activity(const NetworkShape& shape)
      : relu_(shape.activation == Activation::relu), layers_(static_cast<std::size_t>(shape.hidden_layers)) {
    for (Layer& layer : layers_) {
      layer.positive.resize(static_cast<std::size_t>(shape.units()));
      layer.nonpositive.resize(static_cast<std::size_t>(shape.units()));
    }
    clear();
  }
  void clear();
  // (units,) each
  std::uint8_t* positive(int layer) { return layers_[static_cast<std::size_t>(layer)].positive.data(); }
  std::uint8_t* nonpositive(int layer) { return layers_[static_cast<std::size_t>(layer)].nonpositive.data(); }
  std::array<UnitCounts, kMaxHiddenLayers> counts() const;

 private:
  struct Layer {
    std::vector<std::uint8_t> positive, nonpositive;
  };
  bool relu_;
  std::vector<Layer> layers_;
};

// The gradient of a dense network's W2, row by row: row k is scale[k] times row[k], (width,), or 0 where row[k] is
// null. With row == null the gradient is stored whole. Belongs to the kernel; good until its next call.
template <class T>
struct RowGradient {
  const T* const* row = nullptr;  // (width,)
  const T* scale = nullptr;       // (width,)
};

// Whom the optimiser tells of each row of W2 that a step has changed: on the thread that changed it, while it is in
// cache.
class RowListener {
 public:
  virtual void row_changed(std::int64_t k) = 0;

 protected:
  ~RowListener() = default;
};

template <class T>
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual std::string_view name() const = 0;

  // Says that x: (rows, inputs) stays as it is and will be indexed again and again; a kernel may keep what it computes
  // of it.
  virtual void attach(const T* /*x*/, std::int64_t /*rows*/) {}

  // Mean over the rows of (f - y)^2; gradient: (layout.size,) is overwritten.
  virtual double loss_and_gradient(const T* parameters, const Rows<T>& rows, T* gradient) = 0;

  // The same for a training step, whose optimiser knows what to do with rows: W2's part of the gradient may be left
  // unspecified and w2 be filled instead.
  virtual double loss_and_rows(const T* parameters, const Rows<T>& rows, T* gradient, RowGradient<T>& w2) {
    w2 = {};
    return loss_and_gradient(parameters, rows, gradient);
  }

  // From now on the tensors at `parameters` change only between calls, and the rows of W2 only when the listener is
  // told of it, so that what is known of them may be kept. Null where the kernel keeps nothing.
  virtual RowListener* track(const T* /*parameters*/) { return nullptr; }

  // prediction: (count,) f = output / inputs; activity may be null.
  virtual void forward(const T* parameters, const Rows<T>& rows, T* prediction, Activity* activity) = 0;
};

}  // namespace pn::cpu
