// Matrix products by OpenBLAS, loaded from the scipy-openblas32 package when a dense network first needs it. The
// library is kept to one thread; callers run several products side by side, so that results don't depend on the number
// of threads.
#pragma once

#include <cstdint>
#include <string>

namespace pn::cpu::blas {

// Throws std::runtime_error where the library or one of its functions is missing. A second call does nothing.
void load(const std::string& path);
bool loaded();
std::string configuration();  // OpenBLAS's own description; empty before load

enum class Transpose { no, yes };

// c: (m, n) = op(a) op(b), row-major with leading dimensions. The library must be loaded.
void multiply(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
              const float* a, std::int64_t lda, const float* b, std::int64_t ldb, float* c, std::int64_t ldc);
void multiply(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
              const double* a, std::int64_t lda, const double* b, std::int64_t ldb, double* c, std::int64_t ldc);

}  // namespace pn::cpu::blas
