// The gradient of one block from the moments of its places (kernels.md, section 2, step 4).
#pragma once

#include <cstdint>

#include "cuda/blocks/piecewise_points.hpp"

namespace pn::cuda {

// With the prefix sums G_m over places < m, moments over the places where both unit j of layer 1 and unit k of layer 2
// are active are (P1, P0)_kj = sum over k's ranges [a, b) of G_min(b, e_j) - G_a where j falls at its edge e_j (or is
// on or off), of G_b - G_max(a, e_j) where it rises there, without the empty ones. With M_kj = w1_j P1 + b1_j P0:
//   dW2_kj = w3_k M_kj,  dw3_k = sum_j W2_kj M_kj + b2_k P0_k,  db2_k = w3_k P0_k,
//   dw1_j = sum_k w3_k W2_kj P1_kj,  db1_j likewise with P0.
template <class Team, class T>
class PiecewiseGradient {
 public:
  // prefix: (places + 1,). gradient: of this block.
  PN_TEAM PiecewiseGradient(const Team& team, const BlockShape& shape, const Tensors<const T>& p, const Table& table,
                            const Moments* prefix, const MomentScales& scales, const Tensors<T>& gradient)
      : team_(team), p_(p), t_(table), prefix_(prefix), scales_(scales), g_(gradient), width_(shape.width),
        two_(shape.hidden_layers == 2), range_(arrays_of(table).range), places_(places_of(table)) {}

  // Ends with a sync.
  PN_TEAM void run() const {
    if (two_) {
      second_layer();
      first_layer();
    } else {
      one_layer();
    }
    team_.sync();
  }

 private:
  PN_TEAM double w1(std::int32_t j) const { return static_cast<double>(p_.w1[j]); }
  PN_TEAM double b1(std::int32_t j) const { return static_cast<double>(p_.b1[j]); }
  PN_TEAM double w3(std::int32_t k) const { return static_cast<double>(p_.w3[k]); }
  PN_TEAM std::int64_t at(std::int32_t k, std::int32_t j) const { return static_cast<std::int64_t>(k) * width_ + j; }

  PN_TEAM Pair real(const Moments& sum) const {
    return {from_fixed(sum.first, scales_.first), from_fixed(sum.zeroth, scales_.zeroth)};
  }

  // Adds the places of [first, end) where unit j of layer 1 is active.
  PN_TEAM void add_active(std::int32_t j, const PlaceRange& range, Moments& sum) const {
    const std::int32_t edge = t_.edge[j];
    const bool rises = t_.rises[j] != 0;
    const std::int32_t first = rises && edge > range.first ? edge : range.first;
    const std::int32_t end = !rises && edge < range.end ? edge : range.end;
    if (first >= end) return;
    sum.first += prefix_[end].first - prefix_[first].first;
    sum.zeroth += prefix_[end].zeroth - prefix_[first].zeroth;
  }

  PN_TEAM Pair both_active(std::int32_t k, std::int32_t j) const {
    Moments sum{0, 0};
    for (std::int32_t r = t_.first_range[k]; r < t_.first_range[k + 1]; ++r) add_active(j, range_[r], sum);
    return real(sum);
  }

  PN_TEAM double zeroth_of(std::int32_t k) const {
    std::int64_t sum = 0;
    for (std::int32_t r = t_.first_range[k]; r < t_.first_range[k + 1]; ++r) {
      sum += prefix_[range_[r].end].zeroth - prefix_[range_[r].first].zeroth;
    }
    return from_fixed(sum, scales_.zeroth);
  }

  PN_TEAM void second_layer() const {
    team_.row_sums(
        width_, width_,
        [&](std::int32_t k, std::int32_t j) {
          const Pair p = both_active(k, j);
          const double m = w1(j) * p.first + b1(j) * p.second;
          g_.w2[at(k, j)] = static_cast<T>(w3(k) * m);
          return Pair{static_cast<double>(p_.w2[at(k, j)]) * m, 0.0};
        },
        [&](std::int32_t k, const Pair& sum) {
          const double zeroth = zeroth_of(k);
          g_.w3[k] = static_cast<T>(sum.first + static_cast<double>(p_.b2[k]) * zeroth);
          g_.b2[k] = static_cast<T>(w3(k) * zeroth);
        });
  }

  PN_TEAM void first_layer() const {
    team_.row_sums(
        width_, width_,
        [&](std::int32_t j, std::int32_t k) {
          const Pair p = both_active(k, j);
          const double w = w3(k) * static_cast<double>(p_.w2[at(k, j)]);
          return Pair{w * p.first, w * p.second};
        },
        [&](std::int32_t j, const Pair& sum) {
          g_.w1[j] = static_cast<T>(sum.first);
          g_.b1[j] = static_cast<T>(sum.second);
        });
  }

  // f = sum_j w2_j relu(w1_j x + b1_j).
  PN_TEAM void one_layer() const {
    team_.for_each(width_, [&](std::int32_t j) {
      Moments sum{0, 0};
      add_active(j, {0, places_}, sum);
      const Pair p = real(sum);
      g_.w3[j] = static_cast<T>(w1(j) * p.first + b1(j) * p.second);
      g_.w1[j] = static_cast<T>(w3(j) * p.first);
      g_.b1[j] = static_cast<T>(w3(j) * p.second);
    });
  }

  const Team& team_;
  const Tensors<const T>& p_;
  const Table& t_;
  const Moments* prefix_;
  const MomentScales& scales_;
  const Tensors<T>& g_;
  const std::int32_t width_;
  const bool two_;
  const PlaceRange* range_;
  const std::int32_t places_;
};

}  // namespace pn::cuda
