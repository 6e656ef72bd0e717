#include "cuda/dense/cublas.hpp"

#include <dlfcn.h>

#include <cstring>
#include <stdexcept>

#include "cuda/dense/cublas_abi.hpp"
#include "cuda/device/runtime.hpp"

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>

#include <type_traits>

namespace pn::cuda::cublas::abi {
namespace {

static_assert(kSuccess == CUBLAS_STATUS_SUCCESS && kNotSupported == CUBLAS_STATUS_NOT_SUPPORTED);
static_assert(kCompute32f == CUBLAS_COMPUTE_32F && kCompute32fFastTf32 == CUBLAS_COMPUTE_32F_FAST_TF32 &&
              kCompute64f == CUBLAS_COMPUTE_64F);
static_assert(kPlain == CUBLAS_OP_N && kTransposed == CUBLAS_OP_T && sizeof(cublasOperation_t) == sizeof(kPlain));
static_assert(kTransposeA == CUBLASLT_MATMUL_DESC_TRANSA && kTransposeB == CUBLASLT_MATMUL_DESC_TRANSB);
static_assert(kMostWorkspaceBytes == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(kAlignmentA == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES &&
              kAlignmentB == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES &&
              kAlignmentC == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES &&
              kAlignmentD == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t) && sizeof(Status) == sizeof(cublasStatus_t));
static_assert(sizeof(HeuristicResult) == sizeof(cublasLtMatmulHeuristicResult_t) &&
              offsetof(HeuristicResult, workspace_bytes) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize) &&
              offsetof(HeuristicResult, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(
    std::is_same_v<decltype(&::cublasLtMatmul),
                   cublasStatus_t (*)(cublasLtHandle_t, cublasLtMatmulDesc_t, const void*, const void*,
                                      cublasLtMatrixLayout_t, const void*, cublasLtMatrixLayout_t, const void*,
                                      const void*, cublasLtMatrixLayout_t, void*, cublasLtMatrixLayout_t,
                                      const cublasLtMatmulAlgo_t*, void*, std::size_t, cudaStream_t)>);
static_assert(
    std::is_same_v<decltype(&::cublasLtMatmulAlgoGetHeuristic),
                   cublasStatus_t (*)(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                      cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                      cublasLtMatmulPreference_t, int, cublasLtMatmulHeuristicResult_t*, int*)>);
static_assert(std::is_same_v<decltype(&::cublasLtMatrixLayoutCreate),
                             cublasStatus_t (*)(cublasLtMatrixLayout_t*, cudaDataType, std::uint64_t, std::uint64_t,
                                                std::int64_t)>);
static_assert(std::is_same_v<decltype(&::cublasLtMatmulDescCreate),
                             cublasStatus_t (*)(cublasLtMatmulDesc_t*, cublasComputeType_t, cudaDataType_t)>);
static_assert(
    std::is_same_v<decltype(&::cublasLtMatmulDescSetAttribute),
                   cublasStatus_t (*)(cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t, const void*, std::size_t)>);

}  // namespace
}  // namespace pn::cuda::cublas::abi
#endif

namespace pn::cuda::cublas {
namespace {

abi::Functions functions;
bool is_loaded = false;
std::mutex loading;

template <class Function>
void find(void* library, const char* name, Function& function, const std::string& path) {
  void* symbol = dlsym(library, name);
  if (symbol == nullptr) throw std::runtime_error(path + " has no function " + name + "; CUDA 12 or 13's is needed");
  std::memcpy(&function, &symbol, sizeof symbol);
}

void check_status(abi::Status status, const char* doing) {
  if (status == abi::kSuccess) return;
  throw std::runtime_error(std::string("cuBLASLt error while ") + doing + ": " +
                           functions.cublasLtGetStatusString(status));
}

// An object of cuBLASLt's and the function that ends it.
class Owner {
 public:
  explicit Owner(abi::Status (*destroy)(abi::Descriptor)) : destroy_(destroy) {}
  ~Owner() {
    if (object_ != nullptr) destroy_(object_);
  }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  abi::Descriptor* out() { return &object_; }
  abi::Descriptor get() const { return object_; }

 private:
  abi::Status (*destroy_)(abi::Descriptor);
  abi::Descriptor object_ = nullptr;
};

cudaDataType type_of(Element element) {
  switch (element) {
    case Element::float32: return CUDA_R_32F;
    case Element::float64: return CUDA_R_64F;
    case Element::bfloat16: return CUDA_R_16BF;
  }
  return CUDA_R_32F;
}

// The largest power of two up to 256 that divides the address.
int alignment(const void* data) {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  int bytes = 256;
  while (address % static_cast<std::uintptr_t>(bytes) != 0) bytes /= 2;
  return bytes;
}

void make_layout(Owner& layout, Element element, std::int64_t rows, std::int64_t columns, std::int64_t stride) {
  check_status(functions.cublasLtMatrixLayoutCreate(layout.out(), type_of(element), static_cast<std::uint64_t>(rows),
                                                    static_cast<std::uint64_t>(columns), stride),
               "describing a matrix");
}

}  // namespace

void load(const std::string& path) {
  const std::lock_guard lock(loading);
  if (is_loaded) return;
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error("cuBLASLt could not be loaded: " + std::string(dlerror()));
  abi::Functions found{};
#define PN_FIND(name) find(library, #name, found.name, path)
  PN_FIND(cublasLtCreate);
  PN_FIND(cublasLtGetStatusString);
  PN_FIND(cublasLtMatmulDescCreate);
  PN_FIND(cublasLtMatmulDescDestroy);
  PN_FIND(cublasLtMatmulDescSetAttribute);
  PN_FIND(cublasLtMatrixLayoutCreate);
  PN_FIND(cublasLtMatrixLayoutDestroy);
  PN_FIND(cublasLtMatmulPreferenceCreate);
  PN_FIND(cublasLtMatmulPreferenceDestroy);
  PN_FIND(cublasLtMatmulPreferenceSetAttribute);
  PN_FIND(cublasLtMatmulAlgoGetHeuristic);
  PN_FIND(cublasLtMatmul);
#undef PN_FIND
  functions = found;
  is_loaded = true;
}

bool loaded() {
  const std::lock_guard lock(loading);
  return is_loaded;
}

// cuBLASLt's matrices are column-major, so it is asked for c^T = op(b)^T op(a)^T: a stored (rows, columns) matrix in C
// order is its (columns, rows) matrix.
struct Context::Descriptors {
  Owner operation{functions.cublasLtMatmulDescDestroy};
  Owner a{functions.cublasLtMatrixLayoutDestroy}, b{functions.cublasLtMatrixLayoutDestroy},
      c{functions.cublasLtMatrixLayoutDestroy};  // a is the product's b, and b its a

  explicit Descriptors(const Multiplication& p) {
    const bool wide = p.out == Element::float64;
    const int compute = wide ? abi::kCompute64f : p.tf32 ? abi::kCompute32fFastTf32 : abi::kCompute32f;
    check_status(functions.cublasLtMatmulDescCreate(operation.out(), compute, wide ? CUDA_R_64F : CUDA_R_32F),
                 "describing a product");
    transpose(abi::kTransposeA, p.transpose_b);
    transpose(abi::kTransposeB, p.transpose_a);
    make_layout(a, p.in, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k, p.stride_b);
    make_layout(b, p.in, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m, p.stride_a);
    make_layout(c, p.out, p.n, p.m, p.stride_c);
  }

  void transpose(int attribute, bool transposed) {
    const std::int32_t value = transposed ? abi::kTransposed : abi::kPlain;
    check_status(functions.cublasLtMatmulDescSetAttribute(operation.get(), attribute, &value, sizeof value),
                 "describing a product");
  }
};

Context::Context(int device) : device_(device) {
  const DeviceGuard guard(device_);
  check_status(functions.cublasLtCreate(&handle_), "opening cuBLASLt");
}

Context& Context::of_device(int device) {
  if (!loaded()) {
    throw std::runtime_error(
        "a dense network on the GPU needs cuBLASLt, which is not loaded; install the extra 'cuda' or the CUDA toolkit");
  }
  static std::mutex mutex;
  static auto& contexts = *new std::map<int, Context*>;  // never destroyed: the driver may be gone by then
  const std::lock_guard lock(mutex);
  Context*& context = contexts[device];
  if (context == nullptr) context = new Context(device);
  return *context;
}

Context::Key Context::key_of(const Multiplication& p) {
  return {p.in,          p.out,          p.tf32,         p.m,           p.n,
          p.k,           p.stride_a,     p.stride_b,     p.stride_c,    p.transpose_a,
          p.transpose_b, alignment(p.a), alignment(p.b), alignment(p.c)};
}

const Context::Algorithm& Context::algorithm(const Multiplication& p, const Descriptors& descriptors) {
  const std::lock_guard lock(mutex_);
  const Key key = key_of(p);
  const auto known = algorithms_.find(key);
  if (known != algorithms_.end()) return known->second;
  Owner preference(functions.cublasLtMatmulPreferenceDestroy);
  check_status(functions.cublasLtMatmulPreferenceCreate(preference.out()), "describing a preference");
  const auto prefer = [&preference](int attribute, const auto& value) {
    check_status(functions.cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
                 "describing a preference");
  };
  prefer(abi::kMostWorkspaceBytes, static_cast<std::uint64_t>(kWorkspaceBytes));
  prefer(abi::kAlignmentA, static_cast<std::uint32_t>(alignment(p.b)));
  prefer(abi::kAlignmentB, static_cast<std::uint32_t>(alignment(p.a)));
  prefer(abi::kAlignmentC, static_cast<std::uint32_t>(alignment(p.c)));
  prefer(abi::kAlignmentD, static_cast<std::uint32_t>(alignment(p.c)));
  abi::HeuristicResult result{};
  int found = 0;
  const abi::Status status = functions.cublasLtMatmulAlgoGetHeuristic(
      handle_, descriptors.operation.get(), descriptors.a.get(), descriptors.b.get(), descriptors.c.get(),
      descriptors.c.get(), preference.get(), 1, &result, &found);
  if (status != abi::kNotSupported) check_status(status, "choosing an algorithm");
  if (status != abi::kSuccess || found < 1 || result.state != abi::kSuccess) {
    throw std::runtime_error("cuBLASLt has no algorithm for a product of " + std::to_string(p.m) + " x " +
                             std::to_string(p.k) + " with " + std::to_string(p.k) + " x " + std::to_string(p.n) +
                             " on this device");
  }
  Algorithm& algorithm = algorithms_[key];
  std::memcpy(algorithm.data, result.algorithm.data, sizeof algorithm.data);
  return algorithm;
}

void Context::multiply(const Multiplication& p, void* workspace, cudaStream_t stream) {
  const Descriptors descriptors(p);
  abi::Algorithm chosen;
  std::memcpy(chosen.data, algorithm(p, descriptors).data, sizeof chosen.data);
  const bool wide = p.out == Element::float64;
  const double one_wide = 1.0, beta_wide = p.accumulate ? 1.0 : 0.0;
  const float one = 1.0f, beta = p.accumulate ? 1.0f : 0.0f;
  check_status(functions.cublasLtMatmul(handle_, descriptors.operation.get(),
                                        wide ? static_cast<const void*>(&one_wide) : &one, p.b, descriptors.a.get(),
                                        p.a, descriptors.b.get(), wide ? static_cast<const void*>(&beta_wide) : &beta,
                                        p.c, descriptors.c.get(), p.c, descriptors.c.get(), &chosen, workspace,
                                        static_cast<std::size_t>(kWorkspaceBytes), stream),
               "multiplying matrices");
}

}  // namespace pn::cuda::cublas
