// Compiled with -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mfma.
#define PN_LEVEL avx512
#define PN_VECTOR_BYTES 64
#include "cpu/levels/level.inl"
