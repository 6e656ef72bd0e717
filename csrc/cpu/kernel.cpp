#include "cpu/kernel.hpp"

#include <algorithm>

namespace pn::cpu {

void Activity::clear() {
  for (Layer& layer : layers_) {
    std::fill(layer.positive.begin(), layer.positive.end(), std::uint8_t{0});
    std::fill(layer.nonpositive.begin(), layer.nonpositive.end(), std::uint8_t{0});
  }
}

std::array<UnitCounts, kMaxHiddenLayers> Activity::counts() const {
  std::array<UnitCounts, kMaxHiddenLayers> all{};
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    UnitCounts& c = all[l];
    for (std::size_t u = 0; u < layers_[l].positive.size(); ++u) {
      const bool positive = layers_[l].positive[u] != 0;
      const bool nonpositive = layers_[l].nonpositive[u] != 0;
      if (!relu_ || (positive && nonpositive)) {
        ++c.mixed;
      } else if (positive) {
        ++c.on;
      } else {
        ++c.dead;
      }
    }
  }
  return all;
}

}  // namespace pn::cpu
