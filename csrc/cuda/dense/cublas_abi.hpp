// The part of cuBLASLt's binary interface that is used, so that a toolkit without its header can build the package.
// Where the header is at hand, cublas.cpp checks every line against it.
#pragma once

#include <cuda_runtime.h>
#include <library_types.h>

#include <cstddef>
#include <cstdint>

namespace pn::cuda::cublas::abi {

using Handle = void*;
using Descriptor = void*;  // of an operation, a layout or a preference
using Status = int;

constexpr Status kSuccess = 0, kNotSupported = 15;
constexpr int kCompute32f = 68, kCompute32fFastTf32 = 77, kCompute64f = 70;
constexpr std::int32_t kPlain = 0, kTransposed = 1;
constexpr int kTransposeA = 3, kTransposeB = 4;  // attributes of an operation
constexpr int kMostWorkspaceBytes = 1;           // attributes of a preference
constexpr int kAlignmentA = 5, kAlignmentB = 6, kAlignmentC = 7, kAlignmentD = 8;

struct Algorithm {
  std::uint64_t data[8];
};
struct HeuristicResult {
  Algorithm algorithm;
  std::size_t workspace_bytes;
  Status state;
  float waves;
  int reserved[4];
};

struct Functions {
  Status (*cublasLtCreate)(Handle*);
  const char* (*cublasLtGetStatusString)(Status);
  Status (*cublasLtMatmulDescCreate)(Descriptor*, int compute, int scale_type);
  Status (*cublasLtMatmulDescDestroy)(Descriptor);
  Status (*cublasLtMatmulDescSetAttribute)(Descriptor, int attribute, const void*, std::size_t);
  // Column-major: a column has `rows` elements, and the next one begins `stride` elements later.
  Status (*cublasLtMatrixLayoutCreate)(Descriptor*, int type, std::uint64_t rows, std::uint64_t columns,
                                       std::int64_t stride);
  Status (*cublasLtMatrixLayoutDestroy)(Descriptor);
  Status (*cublasLtMatmulPreferenceCreate)(Descriptor*);
  Status (*cublasLtMatmulPreferenceDestroy)(Descriptor);
  Status (*cublasLtMatmulPreferenceSetAttribute)(Descriptor, int attribute, const void*, std::size_t);
  Status (*cublasLtMatmulAlgoGetHeuristic)(Handle, Descriptor operation, Descriptor a, Descriptor b, Descriptor c,
                                           Descriptor d, Descriptor preference, int wanted, HeuristicResult*,
                                           int* found);
  Status (*cublasLtMatmul)(Handle, Descriptor operation, const void* alpha, const void* a, Descriptor a_layout,
                           const void* b, Descriptor b_layout, const void* beta, const void* c, Descriptor c_layout,
                           void* d, Descriptor d_layout, const Algorithm*, void* workspace, std::size_t, cudaStream_t);
};

}  // namespace pn::cuda::cublas::abi
