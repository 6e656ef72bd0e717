// Compiled with -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx512vnni: the screening product alone. It serves the
// AVX-512 level where the processor has VPDPBUSD, one instruction for what takes three without it.
#define PN_LEVEL avx512vnni
#define PN_VECTOR_BYTES 64
#include "cpu/levels/screen.inl"
