// Compiled with -mavx2 -mfma.
#define PN_LEVEL avx2
#define PN_VECTOR_BYTES 32
#include "cpu/levels/level.inl"
