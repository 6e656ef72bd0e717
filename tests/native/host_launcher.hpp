// Runs the launches of csrc/cuda on the host, products as plain loops.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cuda/dense/bfloat16.hpp"
#include "cuda/dense/launcher.hpp"
#include "cuda/device/team.hpp"

namespace pn::test {

inline float number(cuda::Bfloat16 value) { return cuda::widen(value); }
inline float number(float value) { return value; }
inline double number(double value) { return value; }

class HostLauncher {
 public:
  // backward: blocks and the bodies of a phase run in descending order, which shows where one depends on another.
  explicit HostLauncher(bool backward = false) : backward_(backward) {}

  template <class Kernel>
  void launch(const Kernel& kernel) {
    const cuda::HostTeam team(kernel.threads(), backward_);
    const std::int64_t blocks = kernel.blocks();
    for (std::int64_t b = 0; b < blocks; ++b) kernel(team, backward_ ? blocks - 1 - b : b);
  }

  template <class In, class Out>
  void multiply(const cuda::Product<In, Out>& p) {
    ++products;
    elements += p.m * p.n * p.k;
    for (std::int64_t i = 0; i < p.m; ++i) {
      std::vector<Out> sum(static_cast<std::size_t>(p.n));
      for (std::int64_t l = 0; l < p.k; ++l) {
        const auto a = number(p.transpose_a ? p.a[l * p.stride_a + i] : p.a[i * p.stride_a + l]);
        for (std::int64_t j = 0; j < p.n; ++j) {
          const auto b = number(p.transpose_b ? p.b[j * p.stride_b + l] : p.b[l * p.stride_b + j]);
          sum[static_cast<std::size_t>(j)] += a * b;
        }
      }
      for (std::int64_t j = 0; j < p.n; ++j) {
        Out& c = p.c[i * p.stride_c + j];
        c = (p.accumulate ? c : Out(0)) + sum[static_cast<std::size_t>(j)];
      }
    }
  }

  template <class Body>
  void choose(const std::int32_t* which, int n, Body body) {
    chosen.push_back(*which);
    if (*which >= 0 && *which < n) body(static_cast<int>(*which));
  }

  std::int64_t products = 0, elements = 0;  // asked for so far, and m n k of them
  std::vector<int> chosen;

 private:
  bool backward_;
};

}  // namespace pn::test
