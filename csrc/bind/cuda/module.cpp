// The module of the GPU. Networks, jobs and progress are the classes of _native.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <utility>

#include "bind/cuda/functions.hpp"
#include "bind/cuda/training.hpp"
#include "cuda/device/device.hpp"
#include "cuda/device/team_faults.hpp"
#include "cuda/engine.hpp"

namespace pn::bind {
namespace {

void define_devices(py::module_& m) {
  py::class_<cuda::DeviceInfo>(m, "DeviceInfo", "A GPU.", py::is_final())
      .def_readonly("index", &cuda::DeviceInfo::index)
      .def_readonly("name", &cuda::DeviceInfo::name)
      .def_property_readonly("compute_capability",
                             [](const cuda::DeviceInfo& d) { return std::pair<int, int>(d.major, d.minor); })
      .def_readonly("total_bytes", &cuda::DeviceInfo::total_bytes)
      .def_readonly("free_bytes", &cuda::DeviceInfo::free_bytes);
  m.def("runtime_version", &cuda::runtime_version);
  m.def("unavailable", &cuda::unavailable);
  m.def("device_count", &cuda::device_count);
  m.def("device", &cuda::device, py::arg("index"));
  m.def("team_faults", &cuda::team_faults, py::arg("device"), py::call_guard<py::gil_scoped_release>());
  m.def("synchronize", &cuda::synchronize, py::arg("device"), py::arg("stream"),
        py::call_guard<py::gil_scoped_release>());
}

std::pair<std::int64_t, std::int64_t> run_bytes(const NetworkShape& shape, const std::string& dtype,
                                                std::int64_t batch_size, std::int64_t train_rows,
                                                std::int64_t validation_rows) {
  if (dtype != "float32" && dtype != "float64") {
    throw py::value_error("dtype must be 'float32' or 'float64', got '" + dtype + "'");
  }
  const cuda::RunBytes bytes =
      cuda::run_bytes({shape, "auto", batch_size, train_rows, validation_rows, false, 0}, dtype == "float32" ? 4 : 8);
  return {bytes.member, bytes.data};
}

void define_training(py::module_& m) {
  m.def("kernels", &cuda::kernels_of, py::arg("network"));
  m.def("train", &train_on_device, py::arg("jobs"), py::arg("device") = 0, py::arg("tf32") = false,
        py::arg("report") = py::none(), py::arg("interval") = 0.25);
  m.def("run_bytes", &run_bytes, py::arg("network"), py::arg("dtype"), py::arg("batch_size"), py::arg("train_rows"),
        py::arg("validation_rows"));
}

}  // namespace
}  // namespace pn::bind

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "The GPU module of pyneedle.";
  m.attr("__version__") = PYNEEDLE_VERSION;
  pybind11::module_::import("pyneedle._native");
  pn::bind::define_devices(m);
  pn::bind::define_training(m);
  pn::bind::define_device_functions(m);
}
