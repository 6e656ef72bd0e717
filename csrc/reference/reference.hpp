// The plain float64 implementation that everything is tested against: one row at a time, textbook formulas, no
// structure used, nothing shared with the fast code but the shapes.
#pragma once

#include <cstdint>
#include <vector>

#include "core/adam.hpp"
#include "core/network.hpp"
#include "core/penalty.hpp"
#include "core/trainer.hpp"

namespace pn::reference {

struct Rows {
  const double* x = nullptr;  // x: (count, inputs)
  const double* y = nullptr;  // y: (count,) scaled target
  std::int64_t count = 0;
};

// prediction: (count,)
void forward(const NetworkShape& shape, const double* parameters, const Rows& rows, double* prediction);

// Mean squared error plus the penalty; gradient: (layout.size,) is overwritten.
double loss_and_gradient(const NetworkShape& shape, const double* parameters, const Rows& rows, const Penalty& penalty,
                         double* gradient);

// Sum over every single path of the product of absolute weights, divided by inputs.
double path_norm(const NetworkShape& shape, const double* parameters);

// One step on every parameter; gradient includes the penalty's.
void adam(const NetworkShape& shape, const AdamSettings& settings, std::int64_t t, const double* gradient,
          double* parameters, double* m, double* v);

struct EngineData {
  std::vector<double> train_x, train_y, validation_x, validation_y;
};

// The trainer's engine made of the functions above.
class ReferenceEngine final : public Engine {
 public:
  ReferenceEngine(const NetworkShape& shape, const AdamSettings& adam, const Penalty& penalty, EngineData data,
                  std::vector<double> initial);

  void begin_epoch(const std::uint32_t* order) override;
  void step(std::int64_t first, std::int64_t count, std::int64_t t) override;
  double epoch_loss() override { return epoch_loss_; }
  Evaluation evaluate(Split split, const ShouldStop& stop) override;
  void keep_best() override { best_ = parameters_; }

  // Moments and best parameters of a run that is resumed; all (layout.size,).
  void restore(std::vector<double> m, std::vector<double> v, std::vector<double> best);

  const std::vector<double>& parameters() const { return parameters_; }
  const std::vector<double>& best_parameters() const { return best_; }
  const std::vector<double>& first_moments() const { return m_; }
  const std::vector<double>& second_moments() const { return v_; }

 private:
  NetworkShape shape_;
  AdamSettings adam_;
  Penalty penalty_;
  EngineData data_;
  std::vector<double> parameters_, best_, m_, v_, gradient_;
  const std::uint32_t* order_ = nullptr;
  double epoch_loss_ = 0.0;
};

}  // namespace pn::reference
