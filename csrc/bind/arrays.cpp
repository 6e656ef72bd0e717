#include "bind/arrays.hpp"

#include <fstream>
#include <limits>
#include <sstream>

namespace pn::bind {
namespace {

constexpr double kSmallBytes = 1 << 28;  // asking the system takes longer than a small network's gradient

template <class Extents>
std::string tuple(const Extents& extents, std::size_t count) {
  std::string text = "(";
  for (std::size_t i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(extents[i]);
  return text + (count == 1 ? ",)" : ")");
}

// Bytes that can be taken without swapping, or infinity where the system doesn't say.
double available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  for (double kilobytes = 0.0; file >> key >> kilobytes; std::getline(file, unit)) {
    if (key == "MemAvailable:") return kilobytes * 1024.0;
  }
  return std::numeric_limits<double>::infinity();
}

}  // namespace

Dtype float_dtype(const py::array& array, const char* name) {
  // Equal, not the same object: a dtype that comes out of a pickle is one of its own.
  if (array.dtype().equal(py::dtype::of<float>())) return Dtype::float32;
  if (array.dtype().equal(py::dtype::of<double>())) return Dtype::float64;
  throw py::type_error(std::string(name) + " must have dtype float32 or float64, got " +
                       std::string(py::str(array.dtype())));
}

void require(const py::array& array, const char* name, Dtype dtype, const std::vector<std::int64_t>& shape) {
  if (float_dtype(array, name) != dtype) {
    throw py::type_error(std::string(name) + " must have dtype " + (dtype == Dtype::float32 ? "float32" : "float64") +
                         " as the other arrays, got " + std::string(py::str(array.dtype())));
  }
  bool same = array.ndim() == static_cast<py::ssize_t>(shape.size());
  for (std::size_t i = 0; same && i < shape.size(); ++i) same = array.shape()[i] == shape[i];
  if (!same) {
    throw py::value_error(std::string(name) + " must have shape " + tuple(shape, shape.size()) + ", got " +
                          tuple(array.shape(), static_cast<std::size_t>(array.ndim())));
  }
  constexpr int wanted = int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
  if ((array.flags() & wanted) != wanted) {
    throw py::value_error(std::string(name) + " must be C-contiguous and aligned");
  }
}

void require_memory(double bytes, const std::string& what) {
  if (bytes < kSmallBytes) return;
  const double available = available_memory();
  if (bytes <= available) return;
  std::ostringstream message;
  message.precision(3);
  message << what << " needs about " << bytes / 1e9 << " GB of memory, and " << available / 1e9 << " GB are available";
  PyErr_SetString(PyExc_MemoryError, message.str().c_str());
  throw py::error_already_set();
}

}  // namespace pn::bind
