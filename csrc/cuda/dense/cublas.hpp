// cuBLASLt, found at run time: the package neither links to it nor needs it where no dense network meets a GPU.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <tuple>

#include "cuda/dense/bfloat16.hpp"
#include "cuda/dense/cublas_library.hpp"
#include "cuda/dense/launcher.hpp"

namespace pn::cuda::cublas {

constexpr std::int64_t kWorkspaceBytes = std::int64_t{32} << 20;

enum class Element { float32, float64, bfloat16 };

template <class T>
struct ElementOf;
template <>
struct ElementOf<float> {
  static constexpr Element value = Element::float32;
};
template <>
struct ElementOf<double> {
  static constexpr Element value = Element::float64;
};
template <>
struct ElementOf<Bfloat16> {
  static constexpr Element value = Element::bfloat16;
};

// A Product without its types.
struct Multiplication {
  Element in, out;
  bool tf32;
  std::int64_t m, n, k;
  const void* a;
  std::int64_t stride_a;
  bool transpose_a;
  const void* b;
  std::int64_t stride_b;
  bool transpose_b;
  void* c;
  std::int64_t stride_c;
  bool accumulate;
};

// A handle of one device. Which algorithm computes a product depends on its types, extents, strides and alignments
// alone, so that results are the same from run to run. May be used by several threads.
class Context {
 public:
  // Of the device; made when it is first asked for and kept. Throws std::runtime_error where cuBLASLt is not loaded.
  static Context& of_device(int device);

  // workspace: kWorkspaceBytes of device memory that nothing else on another stream uses meanwhile.
  void multiply(const Multiplication& product, void* workspace, cudaStream_t stream);

 private:
  struct Algorithm {
    std::uint64_t data[8];
  };
  struct Descriptors;
  using Key = std::tuple<Element, Element, bool, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                         std::int64_t, bool, bool, int, int, int>;

  explicit Context(int device);
  static Key key_of(const Multiplication& product);
  const Algorithm& algorithm(const Multiplication& product, const Descriptors& descriptors);

  int device_;
  void* handle_ = nullptr;
  std::mutex mutex_;
  std::map<Key, Algorithm> algorithms_;
};

// tf32: of float32 factors; others have no such way and keep their own.
template <class In, class Out>
void multiply(Context& context, const Product<In, Out>& p, bool tf32, void* workspace, cudaStream_t stream) {
  const bool rounds = tf32 && ElementOf<In>::value == Element::float32;
  const Multiplication untyped{
      ElementOf<In>::value, ElementOf<Out>::value, rounds, p.m,        p.n,           p.k, p.a,
      p.stride_a,           p.transpose_a,         p.b,    p.stride_b, p.transpose_b, p.c, p.stride_c,
      p.accumulate};
  context.multiply(untyped, workspace, stream);
}

}  // namespace pn::cuda::cublas
