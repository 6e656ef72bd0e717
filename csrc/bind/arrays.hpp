// Checks of NumPy arrays at the boundary: everything that kernels take for granted is made sure here, before a pointer
// is used.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

namespace pn::bind {

namespace py = pybind11;

enum class Dtype { float32, float64 };

// Throws TypeError where the array's dtype is neither float32 nor float64.
Dtype float_dtype(const py::array& array, const char* name);

// Throws ValueError where the shape differs or the array is not C-contiguous and aligned, TypeError for another dtype.
void require(const py::array& array, const char* name, Dtype dtype, const std::vector<std::int64_t>& shape);

// Throws MemoryError where more bytes are needed than the machine has available.
void require_memory(double bytes, const std::string& what);

// Calls body with float{} or double{}.
template <class Body>
decltype(auto) with_dtype(Dtype dtype, Body body) {
  return dtype == Dtype::float32 ? body(float{}) : body(double{});
}

template <class T>
const T* data(const py::array& array) {
  return static_cast<const T*>(array.data());
}
template <class T>
T* mutable_data(py::array& array) {
  return static_cast<T*>(array.mutable_data());
}

template <class T, class Container>
py::array_t<T> to_array(const Container& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

}  // namespace pn::bind
