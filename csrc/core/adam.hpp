// Adam (Kingma and Ba 2015), optionally with decoupled weight decay (AdamW), and learning-rate decay
// lr_t = lr / (1 + decay (t - 1)). Two placements of epsilon:
//   uncorrected  p -= lr sqrt(1-beta2^t)/(1-beta1^t) m / (sqrt(v) + epsilon)       the paper's framework
//   corrected    p -= lr mhat / (sqrt(vhat) + epsilon)                             PyTorch, JAX
#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.hpp"

namespace pn {

enum class EpsilonPlacement : std::int32_t { uncorrected, corrected };

struct AdamSettings {
  double learning_rate = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-7;
  double decay = 0.0;         // of the learning rate, per step
  double weight_decay = 0.0;  // decoupled: p -= lr_t weight_decay p, weights only
  EpsilonPlacement epsilon_placement = EpsilonPlacement::uncorrected;
};

// Throws std::invalid_argument naming the setting that is out of its range.
void validate(const AdamSettings& settings);

// The scalars of one step, computed in double and rounded once.
template <class T>
struct AdamStep {
  T beta1, one_minus_beta1;
  T beta2, one_minus_beta2;
  T step_size;  // multiplies m / (sqrt(v) + epsilon)
  T epsilon;    // both placements reduce to this form: corrected scales epsilon by sqrt(1-beta2^t)
  T retention;  // 1 - lr_t weight_decay, multiplies a weight before the step
};

// t = 1 at the first step.
template <class T>
PN_INLINE AdamStep<T> adam_step(const AdamSettings& s, std::int64_t t) {
  const double correction1 = 1.0 - std::pow(s.beta1, static_cast<double>(t));
  const double root_correction2 = std::sqrt(1.0 - std::pow(s.beta2, static_cast<double>(t)));
  const double rate = s.learning_rate / (1.0 + s.decay * static_cast<double>(t - 1));
  const bool corrected = s.epsilon_placement == EpsilonPlacement::corrected;
  return {static_cast<T>(s.beta1),
          static_cast<T>(1.0 - s.beta1),
          static_cast<T>(s.beta2),
          static_cast<T>(1.0 - s.beta2),
          static_cast<T>(rate * root_correction2 / correction1),
          static_cast<T>(corrected ? s.epsilon * root_correction2 : s.epsilon),
          static_cast<T>(1.0 - rate * s.weight_decay)};
}

// Whether a row whose gradient is 0 and that step t leaves as it is will be left so by all further such steps, without
// a penalty: m / sqrt(v) falls by beta1 / sqrt(beta2) a step, and the step size grows by less than
// sqrt(1 - beta2^(t+1)) / sqrt(1 - beta2^t). True of all later steps where it is of one.
bool idle_rows_may_rest(const AdamSettings& settings, std::int64_t t);

PN_INLINE float root(float v) { return __builtin_sqrtf(v); }
PN_INLINE double root(double v) { return __builtin_sqrt(v); }

// One parameter: moments from the whole gradient (loss and penalty), then the step.
template <class T>
PN_INLINE T adam_update(T p, T gradient, T& m, T& v, const AdamStep<T>& s) {
  // In variables of their own: read back from memory, a vector across two cache lines would wait for its own store.
  const T first = s.beta1 * m + s.one_minus_beta1 * gradient;
  const T second = s.beta2 * v + s.one_minus_beta2 * gradient * gradient;
  m = first;
  v = second;
  return p - s.step_size * first / (root(second) + s.epsilon);
}

}  // namespace pn
