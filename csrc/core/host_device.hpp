// Arithmetic that the CPU and the GPU share is written once, with PN_INLINE: inline in every translation unit (so that
// code compiled for one instruction-set level never serves another) and callable on both sides under nvcc.
#pragma once

#if defined(__CUDACC__)
#define PN_INLINE __host__ __device__ __forceinline__
#else
#define PN_INLINE static inline __attribute__((always_inline))
#endif
