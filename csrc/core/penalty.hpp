// Penalties on weights (never on biases), with sign(0) = 0:
//   L1         lambda sum |w|
//   L2         lambda sum w^2
//   path norm  lambda (1/d) sum_ijk |w1_ji| |w2_kj| |w3_k|   (equation 22 of the paper, with its factor 1/d)
#pragma once

#include <cstdint>
#include <string_view>

#include "core/host_device.hpp"

namespace pn {

enum class PenaltyKind : std::int32_t { none, l1, l2, path_norm };

struct Penalty {
  PenaltyKind kind = PenaltyKind::none;
  double strength = 0.0;  // lambda
};

// Throws std::invalid_argument for an unknown kind or a strength that is negative, NaN or infinite.
Penalty make_penalty(std::string_view kind, double strength);
std::string_view name(PenaltyKind kind);

template <class T>
PN_INLINE T sign(T value) {
  return static_cast<T>((value > T(0)) - (value < T(0)));
}

}  // namespace pn
