#include "core/penalty.hpp"

#include <cmath>
#include <sstream>
#include <stdexcept>
#include <string>

namespace pn {

std::string_view name(PenaltyKind kind) {
  switch (kind) {
    case PenaltyKind::none: return "none";
    case PenaltyKind::l1: return "l1";
    case PenaltyKind::l2: return "l2";
    case PenaltyKind::path_norm: return "path-norm";
  }
  return "unknown";
}

Penalty make_penalty(std::string_view kind, double strength) {
  if (!(strength >= 0.0) || std::isinf(strength)) {
    std::ostringstream message;
    message << "the penalty's strength must be finite and not negative, got " << strength;
    throw std::invalid_argument(message.str());
  }
  for (const PenaltyKind k : {PenaltyKind::none, PenaltyKind::l1, PenaltyKind::l2, PenaltyKind::path_norm}) {
    if (kind == name(k)) return {k, k == PenaltyKind::none ? 0.0 : strength};
  }
  throw std::invalid_argument("penalty must be one of 'none', 'l1', 'l2', 'path-norm', got '" + std::string(kind) +
                              "'");
}

}  // namespace pn
