#include "cpu/engine.hpp"

#include <algorithm>

#include "cpu/kernel_choice.hpp"
#include "cpu/residual.hpp"

namespace pn::cpu {
namespace {

// Rows of an evaluation between two looks at the stop request.
constexpr std::int64_t kLeastPiece = 256, kMostPiece = 4096;

std::int64_t piece_rows(std::int64_t batch_size) { return std::clamp(batch_size, kLeastPiece, kMostPiece); }

}  // namespace

template <class T>
CpuEngine<T>::CpuEngine(const EngineSettings& settings, Isa isa, const EngineData<T>& data, const T* initial)
    : shape_(settings.shape), data_(data), pool_(settings.threads),
      kernel_(make_kernel<T>(settings.kernel, shape_, isa, pool_, settings.batch_size)),
      adam_(shape_, settings.adam, settings.penalty, isa, pool_), parameters_(parameter_layout(shape_).size),
      best_(parameters_.size()), m_(parameters_.size()), v_(parameters_.size()), gradient_(parameters_.size()),
      prediction_(piece_rows(settings.batch_size)), activity_(shape_) {
  std::copy_n(initial, parameters_.size(), parameters_.data());
  kernel_->attach(data_.train_x, data_.train_rows);
  kernel_->attach(data_.validation_x, data_.validation_rows);
}

template <class T>
void CpuEngine<T>::restore(const T* m, const T* v, const T* best) {
  std::copy_n(m, m_.size(), m_.data());
  std::copy_n(v, v_.size(), v_.data());
  std::copy_n(best, best_.size(), best_.data());
}

template <class T>
void CpuEngine<T>::begin_epoch(const std::uint32_t* order) {
  order_ = order;
  epoch_loss_ = 0.0;
  // Nothing derived from the parameters lives longer than an epoch, so that a resumed run has the bits of the
  // uninterrupted one.
  settle();
  adam_.prepare(parameters_.data());
  listener_ = kernel_->track(parameters_.data());
}

template <class T>
void CpuEngine<T>::step(std::int64_t first, std::int64_t count, std::int64_t t) {
  const FlushDenormals flush;
  steps_ = t;
  const Rows<T> batch{data_.train_x, data_.train_y, order_ + first, count, shape_.inputs};
  RowGradient<T> w2;
  epoch_loss_ += kernel_->loss_and_rows(parameters_.data(), batch, gradient_.data(), w2);
  adam_.step({parameters_.data(), gradient_.data(), m_.data(), v_.data()}, t, w2, listener_);
}

template <class T>
void CpuEngine<T>::settle() {
  const FlushDenormals flush;
  adam_.settle({parameters_.data(), gradient_.data(), m_.data(), v_.data()}, steps_);
}

template <class T>
void CpuEngine<T>::finish(bool keep_moments) {
  settle();
  kernel_.reset();
  gradient_ = {};
  if (keep_moments) return;
  m_ = {};
  v_ = {};
}

template <class T>
Evaluation CpuEngine<T>::evaluate(Split split, const ShouldStop& stop) {
  const FlushDenormals flush;
  const bool train = split == Split::train;
  const Rows<T> rows{train ? data_.train_x : data_.validation_x, train ? data_.train_y : data_.validation_y, nullptr,
                     train ? data_.train_rows : data_.validation_rows, shape_.inputs};
  activity_.clear();
  double sum = 0.0;
  for (std::int64_t first = 0; first < rows.count && !stop(); first += prediction_.size()) {
    const Rows<T> piece = rows.slice(first, std::min(prediction_.size(), rows.count - first));
    kernel_->forward(parameters_.data(), piece, prediction_.data(), &activity_);
    sum += squared_errors(piece, prediction_.data());
  }
  return {sum / static_cast<double>(rows.count), activity_.counts()};
}

template <class T>
void CpuEngine<T>::keep_best() {
  std::copy_n(parameters_.data(), parameters_.size(), best_.data());
}

template class CpuEngine<float>;
template class CpuEngine<double>;

}  // namespace pn::cpu
