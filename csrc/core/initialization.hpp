// Initial parameters: Glorot uniform weights, biases 0 (Glorot and Bengio, "Understanding the difficulty of training
// deep feedforward neural networks", AISTATS 2010).
#pragma once

#include <cstdint>

#include "core/network.hpp"

namespace pn {

// A weight is uniform on (-limit, limit), limit = sqrt(6 / (field (fan_in + fan_out))), with the fans of one block.
// Tensor number k of the storage order draws from the stream of member k, so that every backend draws the same.
// parameters: (layout.size,)
void draw_initial(const NetworkShape& shape, std::uint64_t seed, std::int64_t field, float* parameters);
void draw_initial(const NetworkShape& shape, std::uint64_t seed, std::int64_t field, double* parameters);

}  // namespace pn
