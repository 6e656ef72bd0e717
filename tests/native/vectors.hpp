// Vectors that tests draw and compare.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/network.hpp"
#include "core/random.hpp"

namespace pn::test {

template <class T>
std::vector<T> draws(std::uint64_t seed, std::int64_t count, double limit) {
  std::vector<T> values(static_cast<std::size_t>(count));
  uniform({seed, Purpose::data, 0, 0}, 0, count, values.data());
  for (T& v : values) v = static_cast<T>(limit) * (T(2) * v - T(1));
  return values;
}

inline std::vector<double> widened(const auto& values) { return {values.begin(), values.end()}; }

// Largest difference of a tensor, relative to the tensor's largest entry; the worst of them.
template <class A, class B>
double worst(const ParameterLayout& layout, const std::vector<A>& got, const std::vector<B>& want) {
  double all = 0.0;
  for (const Tensor& t : layout.tensors()) {
    double difference = 0.0, size = 1e-300;
    for (std::int64_t i = t.offset; i < t.offset + t.rows * t.columns; ++i) {
      const auto at = static_cast<std::size_t>(i);
      difference = std::max(difference, std::abs(static_cast<double>(got[at]) - static_cast<double>(want[at])));
      size = std::max(size, std::abs(static_cast<double>(want[at])));
    }
    all = std::max(all, difference / size);
  }
  return all;
}

}  // namespace pn::test
