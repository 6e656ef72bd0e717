#include "core/adam.hpp"

#include <sstream>
#include <stdexcept>

namespace pn {
namespace {

void require(bool good, const char* what, const char* wanted, double value) {
  if (good) return;
  std::ostringstream message;
  message << what << " must be " << wanted << ", got " << value;
  throw std::invalid_argument(message.str());
}

}  // namespace

void validate(const AdamSettings& s) {
  require(s.learning_rate > 0.0 && std::isfinite(s.learning_rate), "learning_rate", "positive and finite",
          s.learning_rate);
  require(s.beta1 >= 0.0 && s.beta1 < 1.0, "beta1", "in [0, 1)", s.beta1);
  require(s.beta2 >= 0.0 && s.beta2 < 1.0, "beta2", "in [0, 1)", s.beta2);
  require(s.epsilon > 0.0 && std::isfinite(s.epsilon), "epsilon", "positive and finite", s.epsilon);
  require(s.decay >= 0.0 && std::isfinite(s.decay), "decay", "finite and not negative", s.decay);
  require(s.weight_decay >= 0.0 && std::isfinite(s.weight_decay), "weight_decay", "finite and not negative",
          s.weight_decay);
}

bool idle_rows_may_rest(const AdamSettings& settings, std::int64_t t) {
  if (settings.weight_decay != 0.0 || settings.epsilon <= 0.0) return false;
  const double now = 1.0 - std::pow(settings.beta2, static_cast<double>(t));
  const double next = 1.0 - std::pow(settings.beta2, static_cast<double>(t + 1));
  return settings.beta1 * std::sqrt(next / (now * settings.beta2)) < 0.99;
}

}  // namespace pn
