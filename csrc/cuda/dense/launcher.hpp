// How passes are written once for the device and for tests on the host. A Launcher has
//
//   launch(kernel)            kernel.blocks() blocks of kernel.threads() threads, each running kernel(team, block)
//   multiply(product)         a product of matrices
//   choose(which, n, body)    body(i) for the i < n that *which, in device memory, holds when its turn comes: what
//                             body launches must not depend on anything that the device computes
//
// Work is done in the order in which it was asked for.
#pragma once

#include <cstdint>

namespace pn::cuda {

// c: (m, n) = op(a) op(b), added to what c holds where accumulate is set. All matrices in C order; op(a): (m, k),
// op(b): (k, n), stored as they are or, where transposed, the other way round. Strides are those of stored rows.
template <class In, class Out>
struct Product {
  std::int64_t m, n, k;
  const In* a;
  std::int64_t stride_a;
  bool transpose_a;
  const In* b;
  std::int64_t stride_b;
  bool transpose_b;
  Out* c;
  std::int64_t stride_c;
  bool accumulate = false;
};

}  // namespace pn::cuda
