#include "bind/cuda/functions.hpp"

#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bind/arrays.hpp"
#include "cuda/dense/cublas_library.hpp"
#include "cuda/device/device.hpp"
#include "cuda/engine.hpp"
#include "cuda/functions.hpp"

namespace pn::bind {
namespace {

using Address = std::uint64_t;
using Addresses = std::vector<Address>;

template <class T>
T* pointer(Address address, const char* name) {
  if (address == 0) throw py::value_error(std::string(name) + " must be an address of device memory, got 0");
  if (address % sizeof(T) != 0) {
    throw py::value_error(std::string(name) + " must be aligned to its " + std::to_string(sizeof(T)) +
                          "-byte elements, got address " + std::to_string(address));
  }
  return reinterpret_cast<T*>(address);
}

// In storage order: without w2 and b2 where there is one hidden layer.
template <class T>
cuda::Tensors<T> tensors_of(const NetworkShape& shape, const Addresses& addresses, const char* name) {
  const bool two = shape.hidden_layers == 2;
  const std::size_t count = two ? 5 : 3;
  if (addresses.size() != count) {
    throw py::value_error(std::string(name) + " must have " + std::to_string(count) + " addresses, one a tensor, got " +
                          std::to_string(addresses.size()));
  }
  const auto at = [&](std::size_t i) { return pointer<T>(addresses[i], name); };
  if (two) return {at(0), at(1), at(2), at(3), at(4)};
  return {at(0), at(1), nullptr, nullptr, at(2)};
}

Dtype parse_dtype(const std::string& dtype) {
  if (dtype == "float32") return Dtype::float32;
  if (dtype == "float64") return Dtype::float64;
  throw py::value_error("dtype must be 'float32' or 'float64', got '" + dtype + "'");
}

cuda::Call call_on(int device, Address stream, const std::string& kernel = "auto", bool tf32 = false) {
  cuda::require_device(device);
  return {device, reinterpret_cast<void*>(stream), kernel, tf32};
}

void check_product(const NetworkShape& shape, Dtype dtype, std::int64_t rows, const std::string& kernel, bool tf32) {
  if (rows < 1) throw py::value_error("rows must be at least 1, got " + std::to_string(rows));
  cuda::choose_kernel(shape, kernel);
  if (tf32 && dtype != Dtype::float32) throw py::value_error("tf32=True needs float32 parameters, got float64");
}

std::string forward(const NetworkShape& shape, const std::string& dtype, const Addresses& tensors, Address x,
                    std::int64_t rows, Address prediction, const std::string& kernel, bool tf32, int device,
                    Address stream) {
  const Dtype type = parse_dtype(dtype);
  check_product(shape, type, rows, kernel, tf32);
  const cuda::Call call = call_on(device, stream, kernel, tf32);
  return with_dtype(type, [&](auto item) {
    using T = decltype(item);
    const auto p = tensors_of<const T>(shape, tensors, "tensors");
    const T* rows_x = pointer<const T>(x, "x");
    T* out = pointer<T>(prediction, "prediction");
    const py::gil_scoped_release release;
    return cuda::forward<T>(shape, p, rows_x, rows, out, call);
  });
}

std::pair<double, std::string> loss_and_gradient(const NetworkShape& shape, const std::string& dtype,
                                                 const Addresses& tensors, Address x, Address y, std::int64_t rows,
                                                 const Addresses& gradients, const Penalty& penalty,
                                                 const std::string& kernel, bool tf32, int device, Address stream) {
  const Dtype type = parse_dtype(dtype);
  check_product(shape, type, rows, kernel, tf32);
  const cuda::Call call = call_on(device, stream, kernel, tf32);
  return with_dtype(type, [&](auto item) {
    using T = decltype(item);
    const auto p = tensors_of<const T>(shape, tensors, "tensors");
    const auto gradient = tensors_of<T>(shape, gradients, "gradients");
    const T *rows_x = pointer<const T>(x, "x"), *rows_y = pointer<const T>(y, "y");
    const py::gil_scoped_release release;
    return cuda::loss_and_gradient<T>(shape, p, rows_x, rows_y, rows, penalty, gradient, call);
  });
}

double path_norm(const NetworkShape& shape, const std::string& dtype, const Addresses& tensors, int device,
                 Address stream) {
  const Dtype type = parse_dtype(dtype);
  const cuda::Call call = call_on(device, stream);
  return with_dtype(type, [&](auto item) {
    using T = decltype(item);
    const auto p = tensors_of<const T>(shape, tensors, "tensors");
    const py::gil_scoped_release release;
    return cuda::path_norm<T>(shape, p, call);
  });
}

template <class T>
T* only(const Addresses& addresses, const char* name) {
  if (addresses.size() != 1) {
    throw py::value_error(std::string(name) + " must have one address without a network, got " +
                          std::to_string(addresses.size()));
  }
  return pointer<T>(addresses[0], name);
}

// One array of weights, as the step's w1.
template <class T>
cuda::AdamCall<T> step_on_array(const Addresses& p, const Addresses& g, const Addresses& m, const Addresses& v) {
  cuda::AdamCall<T> step{};
  step.p.w1 = only<T>(p, "tensors");
  step.gradient.w1 = only<const T>(g, "gradients");
  step.m.w1 = only<T>(m, "m");
  step.v.w1 = only<T>(v, "v");
  return step;
}

template <class T>
cuda::AdamCall<T> step_on_network(const NetworkShape& shape, const Addresses& p, const Addresses& g, const Addresses& m,
                                  const Addresses& v) {
  cuda::AdamCall<T> step{};
  step.p = tensors_of<T>(shape, p, "tensors");
  step.gradient = tensors_of<const T>(shape, g, "gradients");
  step.m = tensors_of<T>(shape, m, "m");
  step.v = tensors_of<T>(shape, v, "v");
  return step;
}

void adam_step(const std::optional<NetworkShape>& shape, const std::string& dtype, std::int64_t count,
               const Addresses& tensors, const Addresses& gradients, const Addresses& m, const Addresses& v,
               std::int64_t t, const AdamSettings& adam, const Penalty& penalty, int device, Address stream) {
  if (t < 1) throw py::value_error("t must be at least 1, got " + std::to_string(t));
  if (!shape && penalty.kind == PenaltyKind::path_norm) {
    throw py::value_error("the path norm needs a network, got network=None");
  }
  const std::int64_t size = shape ? parameter_layout(*shape).size : count;
  if (count != size || count < 0) {
    throw py::value_error("count must be the number of parameters, " + std::to_string(size) + ", got " +
                          std::to_string(count));
  }
  validate(adam);
  const Dtype type = parse_dtype(dtype);
  const cuda::Call call = call_on(device, stream);
  if (count == 0) return;
  with_dtype(type, [&](auto item) {
    using T = decltype(item);
    cuda::AdamCall<T> step =
        shape ? step_on_network<T>(*shape, tensors, gradients, m, v) : step_on_array<T>(tensors, gradients, m, v);
    step.settings = adam;
    step.penalty = penalty;
    step.t = t;
    const py::gil_scoped_release release;
    if (shape) {
      cuda::adam_step<T>(*shape, step, call);
    } else {
      cuda::adam_step<T>(count, step, call);
    }
  });
}

}  // namespace

void define_device_functions(py::module_& m) {
  m.def("load_cublas", &cuda::cublas::load, py::arg("path"));
  m.def("forward", &forward, py::arg("network"), py::arg("dtype"), py::arg("tensors"), py::arg("x"), py::arg("rows"),
        py::arg("prediction"), py::arg("kernel"), py::arg("tf32"), py::arg("device"), py::arg("stream"));
  m.def("loss_and_gradient", &loss_and_gradient, py::arg("network"), py::arg("dtype"), py::arg("tensors"), py::arg("x"),
        py::arg("y"), py::arg("rows"), py::arg("gradients"), py::arg("penalty"), py::arg("kernel"), py::arg("tf32"),
        py::arg("device"), py::arg("stream"));
  m.def("path_norm", &path_norm, py::arg("network"), py::arg("dtype"), py::arg("tensors"), py::arg("device"),
        py::arg("stream"));
  m.def("adam_step", &adam_step, py::arg("network"), py::arg("dtype"), py::arg("count"), py::arg("tensors"),
        py::arg("gradients"), py::arg("m"), py::arg("v"), py::arg("t"), py::arg("adam"), py::arg("penalty"),
        py::arg("device"), py::arg("stream"));
}

}  // namespace pn::bind
