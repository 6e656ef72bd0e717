#include "cpu/active_kernel.hpp"

#include <algorithm>

#include "cpu/active_backward.hpp"
#include "cpu/active_forward.hpp"
#include "cpu/levels/table.hpp"
#include "cpu/residual.hpp"

namespace pn::cpu {
namespace {

template <class T>
class ActiveKernel final : public Kernel<T>, public RowListener {
 public:
  ActiveKernel(const NetworkShape& shape, Isa isa, ThreadPool& pool, std::int64_t batch)
      : shape_(shape), layout_(parameter_layout(shape)), table_(table<T>(isa)), batch_(batch),
        forward_(shape, isa, pool, batch), backward_(shape, isa, pool, batch) {}

  std::string_view name() const override { return "active"; }
  double loss_and_gradient(const T* parameters, const Rows<T>& rows, T* gradient) override;
  double loss_and_rows(const T* parameters, const Rows<T>& rows, T* gradient, RowGradient<T>& w2) override;
  void forward(const T* parameters, const Rows<T>& rows, T* prediction, Activity* activity) override;
  RowListener* track(const T* parameters) override;
  void row_changed(std::int64_t k) override;

 private:
  bool begin(const T* parameters);
  void expand(const RowGradient<T>& rows, T* w2) const;
  void note_activity(std::int64_t n, Activity& activity);

  NetworkShape shape_;
  ParameterLayout layout_;
  const Table<T>& table_;
  std::int64_t batch_;
  const T* tracked_ = nullptr;
  ActiveForward<T> forward_;
  ActiveBackward<T> backward_;
};

template <class T>
RowListener* ActiveKernel<T>::track(const T* parameters) {
  tracked_ = parameters;
  forward_.forget();
  return this;
}

template <class T>
void ActiveKernel<T>::row_changed(std::int64_t k) {
  forward_.row_changed(k, tracked_ + layout_.w2.offset + k * shape_.width);
}

// Whether certificates are good for these parameters. Of others than the tracked ones what is known must not be used,
// nor, while some are tracked, be lost.
template <class T>
bool ActiveKernel<T>::begin(const T* parameters) {
  if (tracked_ == nullptr) forward_.forget();
  return tracked_ == nullptr || parameters == tracked_;
}

template <class T>
double ActiveKernel<T>::loss_and_rows(const T* parameters, const Rows<T>& rows, T* gradient, RowGradient<T>& w2) {
  forward_.run(parameters, rows, begin(parameters));
  const double sum = residual_in_place(rows, rows.count, forward_.output());
  w2 = backward_.run(parameters, rows.count, forward_, gradient);
  return sum / static_cast<double>(rows.count);
}

template <class T>
double ActiveKernel<T>::loss_and_gradient(const T* parameters, const Rows<T>& rows, T* gradient) {
  RowGradient<T> w2;
  const double loss = loss_and_rows(parameters, rows, gradient, w2);
  expand(w2, gradient + layout_.w2.offset);
  return loss;
}

template <class T>
void ActiveKernel<T>::forward(const T* parameters, const Rows<T>& rows, T* prediction, Activity* activity) {
  const bool certify = begin(parameters);
  for (std::int64_t first = 0; first < rows.count; first += batch_) {
    const Rows<T> part = rows.slice(first, std::min(batch_, rows.count - first));
    forward_.run(parameters, part, certify);
    const T* output = forward_.output();
    for (std::int64_t b = 0; b < part.count; ++b) prediction[first + b] = output[b] / static_cast<T>(shape_.inputs);
    if (activity != nullptr) note_activity(part.count, *activity);
  }
}

// w2: (width, width) from the mixed units' rows at its start, the last one first, since row i <= k moves to row k.
template <class T>
void ActiveKernel<T>::expand(const RowGradient<T>& rows, T* w2) const {
  for (std::int64_t k = shape_.width - 1; k >= 0; --k) {
    const T* from = rows.row[k];
    T* to = w2 + k * shape_.width;
    for (std::int64_t j = 0; j < shape_.width; ++j) to[j] = from != nullptr ? rows.scale[k] * from[j] : T(0);
  }
}

template <class T>
void ActiveKernel<T>::note_activity(std::int64_t n, Activity& activity) {
  table_.dense.activity({forward_.h1(), n, shape_.width, shape_.width}, activity.positive(0), activity.nonpositive(0));
  for (std::int64_t k = 0; k < shape_.width; ++k) {
    const UnitClass unit = forward_.classes().units[static_cast<std::size_t>(k)];
    if (unit != UnitClass::dead) activity.positive(1)[k] = 1;
    if (unit != UnitClass::on) activity.nonpositive(1)[k] = 1;
  }
}

}  // namespace

bool has_active_kernel(const NetworkShape& shape) {
  return shape.blocks() == 1 && shape.block_in > 1 && shape.hidden_layers == 2 && shape.activation == Activation::relu;
}

template <class T>
std::unique_ptr<Kernel<T>> make_active_kernel(const NetworkShape& shape, Isa isa, ThreadPool& pool,
                                              std::int64_t batch) {
  return std::make_unique<ActiveKernel<T>>(shape, isa, pool, batch);
}

template std::unique_ptr<Kernel<float>> make_active_kernel(const NetworkShape&, Isa, ThreadPool&, std::int64_t);
template std::unique_ptr<Kernel<double>> make_active_kernel(const NetworkShape&, Isa, ThreadPool&, std::int64_t);

}  // namespace pn::cpu
