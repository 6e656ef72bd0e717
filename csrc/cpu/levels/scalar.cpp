// Compiled for the baseline of the architecture.
#define PN_LEVEL scalar
#define PN_VECTOR_BYTES 16
#include "cpu/levels/level.inl"
