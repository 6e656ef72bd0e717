// Single evaluations on flat arrays.
#pragma once

#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bind/arrays.hpp"
#include "core/adam.hpp"
#include "core/network.hpp"
#include "core/penalty.hpp"

namespace pn::bind {

std::tuple<py::array, std::string> forward(const NetworkShape& shape, const py::array& parameters, const py::array& x,
                                           const std::string& kernel, int threads);
std::tuple<double, py::array, std::string> loss_and_gradient(const NetworkShape& shape, const py::array& parameters,
                                                             const py::array& x, const py::array& y,
                                                             const Penalty& penalty, const std::string& kernel,
                                                             int threads);
// One number for each (x, y) of `sets`: the mean squared error of the kernel that "auto" stands for.
std::vector<double> mean_squared_errors(const NetworkShape& shape, const py::array& parameters,
                                        const std::vector<std::pair<py::array, py::array>>& sets, int threads);
double path_norm_of(const NetworkShape& shape, const py::array& parameters);
void adam_step_on(const std::optional<NetworkShape>& shape, py::array parameters, const py::array& gradient,
                  py::array m, py::array v, std::int64_t t, const AdamSettings& adam, const Penalty& penalty,
                  int threads);
// (parameter_count,)
py::array initial_parameters(const NetworkShape& shape, std::uint64_t seed, std::int64_t field,
                             const std::string& dtype);
py::array uniform_draws(std::uint64_t seed, const std::string& purpose, std::uint32_t member, std::uint64_t first,
                        std::int64_t count, const std::string& dtype);
py::array_t<std::uint32_t> epoch_order(std::uint64_t seed, std::uint32_t epoch, std::int64_t rows);

// Of a kernel with room for `rows`: cpu::kernel_bytes.
std::int64_t kernel_bytes(const NetworkShape& shape, const std::string& kernel, const std::string& dtype,
                          std::int64_t rows, int threads);

void require_threads(int threads);

}  // namespace pn::bind
