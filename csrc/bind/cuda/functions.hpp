// What networks and Adam compute on addresses of device memory; see _cuda.pyi.
#pragma once

#include <pybind11/pybind11.h>

namespace pn::bind {

void define_device_functions(pybind11::module_& m);

}  // namespace pn::bind
