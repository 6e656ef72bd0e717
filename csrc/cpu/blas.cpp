#include "cpu/blas.hpp"

#include <cblas.h>
#include <dlfcn.h>

#include <mutex>
#include <stdexcept>

namespace pn::cpu::blas {
namespace {

struct Library {
  decltype(&scipy_cblas_sgemm) sgemm = nullptr;
  decltype(&scipy_cblas_dgemm) dgemm = nullptr;
  std::string configuration;
};

Library library;
std::mutex loading;

template <class Function>
Function symbol(void* handle, const char* symbol_name) {
  void* address = dlsym(handle, symbol_name);
  if (address == nullptr) {
    throw std::runtime_error(std::string("the OpenBLAS library has no function ") + symbol_name +
                             "; reinstall scipy-openblas32");
  }
  return reinterpret_cast<Function>(address);
}

CBLAS_TRANSPOSE flag(Transpose t) { return t == Transpose::yes ? CblasTrans : CblasNoTrans; }
blasint narrow(std::int64_t extent) { return static_cast<blasint>(extent); }

}  // namespace

void load(const std::string& path) {
  const std::lock_guard lock(loading);
  if (library.sgemm != nullptr) return;
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw std::runtime_error(std::string("OpenBLAS can't be loaded: ") + dlerror());
  Library found;
  found.dgemm = symbol<decltype(found.dgemm)>(handle, "scipy_cblas_dgemm");
  symbol<void (*)(int)>(handle, "scipy_openblas_set_num_threads")(1);
  found.configuration = symbol<char* (*)()>(handle, "scipy_openblas_get_config")();
  found.sgemm = symbol<decltype(found.sgemm)>(handle, "scipy_cblas_sgemm");
  library = found;
}

bool loaded() { return library.sgemm != nullptr; }
std::string configuration() { return library.configuration; }

void multiply(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
              std::int64_t lda, const float* b, std::int64_t ldb, float* c, std::int64_t ldc) {
  library.sgemm(CblasRowMajor, flag(ta), flag(tb), narrow(m), narrow(n), narrow(k), 1.0f, a, narrow(lda), b,
                narrow(ldb), 0.0f, c, narrow(ldc));
}
void multiply(Transpose ta, Transpose tb, std::int64_t m, std::int64_t n, std::int64_t k, const double* a,
              std::int64_t lda, const double* b, std::int64_t ldb, double* c, std::int64_t ldc) {
  library.dgemm(CblasRowMajor, flag(ta), flag(tb), narrow(m), narrow(n), narrow(k), 1.0, a, narrow(lda), b, narrow(ldb),
                0.0, c, narrow(ldc));
}

}  // namespace pn::cpu::blas
