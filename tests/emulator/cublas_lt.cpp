// cuBLASLt for the emulated GPU: the functions that cublas_abi.hpp names, in plain loops.
#include <cmath>
#include <cstring>
#include <memory>

#include "cuda/dense/cublas_abi.hpp"
#include "emulator.hpp"

using namespace pn::cuda::cublas::abi;

namespace {

constexpr Status kInvalidValue = 7;

struct Object {
  virtual ~Object() = default;
};
struct Operands : Object {  // an operation
  int compute;
  int scale;
  bool transposed[2] = {false, false};
};
struct Layout : Object {
  int type;
  std::uint64_t rows, columns;
  std::int64_t stride;

  std::uint64_t item_bytes() const { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }
};
struct Preference : Object {
  std::uint64_t workspace_bytes = 0;
  std::uint32_t alignment[4] = {256, 256, 256, 256};
};

template <class T>
const T& as(Descriptor object) {
  return dynamic_cast<const T&>(*static_cast<Object*>(object));
}

Status destroy(Descriptor object) {
  delete static_cast<Object*>(object);
  return kSuccess;
}

// What an algorithm was chosen for, and may be used for.
struct Choice {
  std::uint64_t m, n, k, workspace_bytes;
  std::uint32_t alignment[4];
};
static_assert(sizeof(Choice) <= sizeof(Algorithm));

template <class T>
T read(const char* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}
double element(const Layout& layout, const void* data, std::uint64_t row, std::uint64_t column) {
  const auto place = row + column * static_cast<std::uint64_t>(layout.stride);
  const char* const at = static_cast<const char*>(data) + place * layout.item_bytes();
  if (layout.type == CUDA_R_64F) return read<double>(at);
  if (layout.type == CUDA_R_32F) return read<float>(at);
  const std::uint32_t bits = std::uint32_t{read<std::uint16_t>(at)} << 16;
  return read<float>(reinterpret_cast<const char*>(&bits));
}

// To 10 bits of the fraction, to the nearest.
float to_tf32(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (!std::isfinite(value)) return value;
  bits = (bits + 0xfff + ((bits >> 13) & 1)) & ~std::uint32_t{0x1fff};
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

struct Product {
  Operands operation;
  Layout a, b, c;
  const void *a_data, *b_data;
  void* c_data;
  double alpha, beta;

  std::uint64_t m() const { return c.rows; }
  std::uint64_t n() const { return c.columns; }
  std::uint64_t k() const { return operation.transposed[0] ? a.rows : a.columns; }

  bool agrees() const {
    const auto& t = operation.transposed;
    const std::uint64_t b_rows = t[1] ? b.columns : b.rows, b_columns = t[1] ? b.rows : b.columns;
    return (t[0] ? a.columns : a.rows) == m() && b_rows == k() && b_columns == n() && a.type == b.type &&
           types_agree() && reaches(a) && reaches(b) && reaches(c);
  }

  // One factor's elements in T: (rows, columns), column after column.
  template <class T>
  std::vector<T> factor(const Layout& layout, const void* data, bool transposed) const {
    const std::uint64_t rows = transposed ? layout.columns : layout.rows;
    const std::uint64_t columns = transposed ? layout.rows : layout.columns;
    std::vector<T> values(rows * columns);
    for (std::uint64_t j = 0; j < columns; ++j) {
      for (std::uint64_t i = 0; i < rows; ++i) {
        auto value = static_cast<T>(transposed ? element(layout, data, j, i) : element(layout, data, i, j));
        if (operation.compute == kCompute32fFastTf32) value = static_cast<T>(to_tf32(static_cast<float>(value)));
        values[i + j * rows] = value;
      }
    }
    return values;
  }

  template <class T>
  void run() const {
    const std::vector<T> left = factor<T>(a, a_data, operation.transposed[0]);
    const std::vector<T> right = factor<T>(b, b_data, operation.transposed[1]);
    std::vector<T> column(m());
    for (std::uint64_t j = 0; j < n(); ++j) {
      std::fill(column.begin(), column.end(), T{0});
      for (std::uint64_t p = 0; p < k(); ++p) {
        for (std::uint64_t i = 0; i < m(); ++i) column[i] += left[i + p * m()] * right[p + j * k()];
      }
      T* const out = static_cast<T*>(c_data) + j * static_cast<std::uint64_t>(c.stride);
      for (std::uint64_t i = 0; i < m(); ++i) {
        out[i] = static_cast<T>(alpha) * column[i] + (beta == 0.0 ? T{0} : static_cast<T>(beta) * out[i]);
      }
    }
  }

 private:
  bool types_agree() const {
    if (operation.compute == kCompute64f) return a.type == CUDA_R_64F && c.type == CUDA_R_64F;
    if (c.type != CUDA_R_32F) return false;
    return a.type == CUDA_R_32F || (a.type == CUDA_R_16BF && operation.compute == kCompute32f);
  }
  static bool reaches(const Layout& layout) { return layout.stride >= static_cast<std::int64_t>(layout.rows); }
};

Product product_of(Descriptor operation, Descriptor a, Descriptor b, Descriptor c) {
  return {as<Operands>(operation), as<Layout>(a), as<Layout>(b), as<Layout>(c), nullptr, nullptr, nullptr, 1.0, 0.0};
}

bool aligned(const void* data, std::uint32_t bytes) { return reinterpret_cast<std::uintptr_t>(data) % bytes == 0; }

}  // namespace

extern "C" {

Status cublasLtCreate(Handle* handle) {
  static int only;
  *handle = &only;
  return kSuccess;
}

const char* cublasLtGetStatusString(Status status) {
  return status == kNotSupported ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_INVALID_VALUE";
}

Status cublasLtMatmulDescCreate(Descriptor* out, int compute, int scale_type) {
  auto operation = std::make_unique<Operands>();
  operation->compute = compute;
  operation->scale = scale_type;
  *out = operation.release();
  return kSuccess;
}
Status cublasLtMatmulDescDestroy(Descriptor operation) { return destroy(operation); }
Status cublasLtMatmulDescSetAttribute(Descriptor operation, int attribute, const void* value, std::size_t bytes) {
  if ((attribute != kTransposeA && attribute != kTransposeB) || bytes != sizeof(std::int32_t)) return kInvalidValue;
  const auto transposed = read<std::int32_t>(static_cast<const char*>(value)) == kTransposed;
  const_cast<Operands&>(as<Operands>(operation)).transposed[attribute == kTransposeB] = transposed;
  return kSuccess;
}

Status cublasLtMatrixLayoutCreate(Descriptor* out, int type, std::uint64_t rows, std::uint64_t columns,
                                  std::int64_t stride) {
  auto layout = std::make_unique<Layout>();
  layout->type = type;
  layout->rows = rows;
  layout->columns = columns;
  layout->stride = stride;
  *out = layout.release();
  return kSuccess;
}
Status cublasLtMatrixLayoutDestroy(Descriptor layout) { return destroy(layout); }

Status cublasLtMatmulPreferenceCreate(Descriptor* out) {
  *out = std::make_unique<Preference>().release();
  return kSuccess;
}
Status cublasLtMatmulPreferenceDestroy(Descriptor preference) { return destroy(preference); }
Status cublasLtMatmulPreferenceSetAttribute(Descriptor object, int attribute, const void* value, std::size_t bytes) {
  auto& preference = const_cast<Preference&>(as<Preference>(object));
  if (attribute == kMostWorkspaceBytes && bytes == sizeof preference.workspace_bytes) {
    std::memcpy(&preference.workspace_bytes, value, bytes);
    return kSuccess;
  }
  if (attribute < kAlignmentA || attribute > kAlignmentD || bytes != sizeof *preference.alignment) return kInvalidValue;
  std::memcpy(&preference.alignment[attribute - kAlignmentA], value, bytes);
  return kSuccess;
}

Status cublasLtMatmulAlgoGetHeuristic(Handle, Descriptor operation, Descriptor a, Descriptor b, Descriptor c,
                                      Descriptor d, Descriptor preference, int wanted, HeuristicResult* result,
                                      int* found) {
  const Product product = product_of(operation, a, b, c);
  *found = 0;
  if (wanted < 1 || c != d || !product.agrees()) return kNotSupported;
  const auto& wishes = as<Preference>(preference);
  Choice choice{product.m(), product.n(), product.k(), wishes.workspace_bytes, {}};
  std::memcpy(choice.alignment, wishes.alignment, sizeof choice.alignment);
  *result = {};
  std::memcpy(&result->algorithm, &choice, sizeof choice);
  *found = 1;
  return kSuccess;
}

Status cublasLtMatmul(Handle, Descriptor operation, const void* alpha, const void* a, Descriptor a_layout,
                      const void* b, Descriptor b_layout, const void* beta, const void* c, Descriptor c_layout, void* d,
                      Descriptor d_layout, const Algorithm* algorithm, void* workspace, std::size_t workspace_bytes,
                      cudaStream_t stream) {
  Product product = product_of(operation, a_layout, b_layout, c_layout);
  Choice choice;
  std::memcpy(&choice, algorithm, sizeof choice);
  const bool chosen_for_this = choice.m == product.m() && choice.n == product.n() && choice.k == product.k() &&
                               workspace_bytes >= choice.workspace_bytes && workspace != nullptr;
  const bool all_aligned = aligned(a, choice.alignment[0]) && aligned(b, choice.alignment[1]) &&
                           aligned(c, choice.alignment[2]) && aligned(d, choice.alignment[3]);
  if (!product.agrees() || !chosen_for_this || !all_aligned || c != d || c_layout != d_layout) return kInvalidValue;
  const bool wide = product.operation.compute == kCompute64f;
  if (product.operation.scale != (wide ? CUDA_R_64F : CUDA_R_32F)) return kInvalidValue;
  const auto scalar = [wide](const void* value) {
    return wide ? *static_cast<const double*>(value) : double{*static_cast<const float*>(value)};
  };
  product.alpha = scalar(alpha);
  product.beta = scalar(beta);
  product.a_data = a;
  product.b_data = b;
  product.c_data = d;
  const std::lock_guard guard(emulator::lock());
  emulator::enqueue(stream, [product, wide] { wide ? product.run<double>() : product.run<float>(); });
  return kSuccess;
}

}  // extern "C"
