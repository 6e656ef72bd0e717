// The trainer's engine on the CPU: parameters, moments, best parameters, data and a kernel.
#pragma once

#include <memory>
#include <string_view>

#include "core/penalty.hpp"
#include "core/trainer.hpp"
#include "cpu/adam_pass.hpp"
#include "cpu/buffer.hpp"
#include "cpu/isa.hpp"
#include "cpu/kernel.hpp"
#include "cpu/thread_pool.hpp"

namespace pn::cpu {

template <class T>
struct EngineData {
  const T* train_x;  // train_x: (train_rows, inputs)
  const T* train_y;  // train_y: (train_rows,) scaled target
  std::int64_t train_rows;
  const T* validation_x;
  const T* validation_y;
  std::int64_t validation_rows;
};

struct EngineSettings {
  NetworkShape shape;
  AdamSettings adam;
  Penalty penalty;
  std::string_view kernel;
  std::int64_t batch_size;
  int threads;
};

// The data belong to the caller and outlive the engine.
template <class T>
class CpuEngine final : public Engine {
 public:
  CpuEngine(const EngineSettings& settings, Isa isa, const EngineData<T>& data, const T* initial);

  void begin_epoch(const std::uint32_t* order) override;
  void step(std::int64_t first, std::int64_t count, std::int64_t t) override;
  double epoch_loss() override { return epoch_loss_; }
  Evaluation evaluate(Split split, const ShouldStop& stop) override;
  void keep_best() override;

  // Moments and best parameters of a run that is resumed; all (layout.size,).
  void restore(const T* m, const T* v, const T* best);

  // After the last step: gives back what only training needs, the kernel and its name too, so that results can be
  // copied into its place. Parameters and best parameters stay, and with `keep_moments` the moments.
  void finish(bool keep_moments);

  const Buffer<T>& parameters() const { return parameters_; }
  const Buffer<T>& best_parameters() const { return best_; }
  const Buffer<T>& first_moments() const { return m_; }
  const Buffer<T>& second_moments() const { return v_; }
  std::string_view kernel_name() const { return kernel_->name(); }

 private:
  // Brings the moments up to date, where the optimiser has put some off.
  void settle();

  NetworkShape shape_;
  EngineData<T> data_;
  ThreadPool pool_;
  std::unique_ptr<Kernel<T>> kernel_;
  RowListener* listener_ = nullptr;  // the kernel's, where it has one
  AdamPass<T> adam_;
  Buffer<T> parameters_, best_, m_, v_, gradient_;  // (layout.size,)
  Buffer<T> prediction_;                            // (rows of an evaluation's piece,)
  Activity activity_;
  const std::uint32_t* order_ = nullptr;
  std::int64_t steps_ = 0;  // the last one taken by this engine
  double epoch_loss_ = 0.0;
};

}  // namespace pn::cpu
