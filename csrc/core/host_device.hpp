// Arithmetic that the CPU and the GPU share is written once, with PN_INLINE: inline in every translation unit (so that
// code compiled for one instruction-set level never serves another) and callable on both sides under nvcc.
// PN_INLINE_MEMBER is the same for member functions, which can't be static in that sense.
#pragma once

#if defined(__CUDACC__)
#define PN_INLINE __host__ __device__ __forceinline__
#define PN_INLINE_MEMBER __host__ __device__ __forceinline__
#else
#define PN_INLINE static inline __attribute__((always_inline))
#define PN_INLINE_MEMBER inline __attribute__((always_inline))
#endif
