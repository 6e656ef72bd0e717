#include "bind/functions.hpp"

#include <algorithm>
#include <vector>

#include "core/initialization.hpp"
#include "core/penalty_gradient.hpp"
#include "core/random.hpp"
#include "cpu/adam_pass.hpp"
#include "cpu/evaluation.hpp"
#include "cpu/kernel_choice.hpp"
#include "reference/reference.hpp"

namespace pn::bind {
namespace {

constexpr std::int64_t kForwardBatch = 1024;  // rows that a kernel has room for where nothing is trained

// Widened copies of the arrays of one evaluation, for the reference.
struct Widened {
  std::vector<double> parameters, x, y;
};

Dtype parse_dtype(const std::string& name) {
  if (name == "float32") return Dtype::float32;
  if (name == "float64") return Dtype::float64;
  throw py::value_error("dtype must be 'float32' or 'float64', got '" + name + "'");
}

template <class T>
std::vector<double> widen(const py::array& array) {
  return {data<T>(array), data<T>(array) + array.size()};
}

std::int64_t rows_of(const NetworkShape& shape, const py::array& x, Dtype dtype) {
  const std::int64_t rows = x.ndim() == 2 ? x.shape(0) : 1;
  require(x, "x", dtype, {rows, shape.inputs});
  if (rows == 0) throw py::value_error("x must have at least one row, got none");
  return rows;
}

template <class T>
std::string forward_fast(const NetworkShape& shape, const cpu::Rows<T>& rows, const T* parameters, T* prediction,
                         const std::string& kernel, int threads) {
  const cpu::FlushDenormals flush;
  cpu::ThreadPool pool(threads);
  const auto k = cpu::make_kernel<T>(kernel, shape, cpu::active_level(), pool, std::min(rows.count, kForwardBatch));
  k->forward(parameters, rows, prediction, nullptr);
  return std::string(k->name());
}

template <class T>
std::pair<double, std::string> gradient_fast(const NetworkShape& shape, const cpu::Rows<T>& rows, const T* parameters,
                                             const Penalty& penalty, T* gradient, const std::string& kernel,
                                             int threads) {
  const cpu::FlushDenormals flush;
  cpu::ThreadPool pool(threads);
  const std::int64_t batch = cpu::gradient_batch(shape, rows.count);
  const auto k = cpu::make_kernel<T>(kernel, shape, cpu::active_level(), pool, batch);
  const double mse = cpu::loss_and_gradient<T>(*k, parameters, rows, batch, parameter_layout(shape).size, gradient);
  add_penalty_gradient(shape, penalty, parameters, gradient);
  return {mse + penalty_value(shape, penalty, parameters), std::string(k->name())};
}

template <class T>
std::vector<double> errors_fast(const NetworkShape& shape, const std::vector<cpu::Rows<T>>& sets, const T* parameters,
                                int threads) {
  std::int64_t most = 0;
  for (const cpu::Rows<T>& rows : sets) most = std::max(most, rows.count);
  const cpu::FlushDenormals flush;
  cpu::ThreadPool pool(threads);
  const auto k = cpu::make_kernel<T>("auto", shape, cpu::active_level(), pool, std::min(most, kForwardBatch));
  return cpu::mean_squared_errors<T>(*k, parameters, sets);
}

}  // namespace

std::int64_t kernel_bytes(const NetworkShape& shape, const std::string& kernel, const std::string& dtype,
                          std::int64_t rows, int threads) {
  const double item = parse_dtype(dtype) == Dtype::float32 ? 4.0 : 8.0;
  return static_cast<std::int64_t>(cpu::kernel_bytes(kernel, shape, item, rows, threads));
}

void require_threads(int threads) {
  if (threads < 1 || threads > 4096) {
    throw py::value_error("threads must be between 1 and 4096, got " + std::to_string(threads));
  }
}

std::tuple<py::array, std::string> forward(const NetworkShape& shape, const py::array& parameters, const py::array& x,
                                           const std::string& kernel, int threads) {
  require_threads(threads);
  const Dtype dtype = float_dtype(parameters, "parameters");
  require(parameters, "parameters", dtype, {parameter_layout(shape).size});
  const std::int64_t n = rows_of(shape, x, dtype);
  return with_dtype(dtype, [&](auto type) {
    using T = decltype(type);
    py::array_t<T> prediction(n);
    T* out = prediction.mutable_data();
    std::string ran = "reference";
    if (kernel == "reference") {
      const std::vector<double> p = widen<T>(parameters), wide_x = widen<T>(x);
      std::vector<double> wide(static_cast<std::size_t>(n));
      const py::gil_scoped_release release;
      reference::forward(shape, p.data(), {wide_x.data(), nullptr, n}, wide.data());
      std::transform(wide.begin(), wide.end(), out, [](double v) { return static_cast<T>(v); });
    } else {
      const cpu::Rows<T> rows{data<T>(x), nullptr, nullptr, n, shape.inputs};
      const T* p = data<T>(parameters);
      const py::gil_scoped_release release;
      ran = forward_fast<T>(shape, rows, p, out, kernel, threads);
    }
    return std::tuple<py::array, std::string>(std::move(prediction), ran);
  });
}

std::tuple<double, py::array, std::string> loss_and_gradient(const NetworkShape& shape, const py::array& parameters,
                                                             const py::array& x, const py::array& y,
                                                             const Penalty& penalty, const std::string& kernel,
                                                             int threads) {
  require_threads(threads);
  const Dtype dtype = float_dtype(parameters, "parameters");
  const std::int64_t size = parameter_layout(shape).size;
  require(parameters, "parameters", dtype, {size});
  const std::int64_t n = rows_of(shape, x, dtype);
  require(y, "y", dtype, {n});
  const std::int64_t batch = cpu::gradient_batch(shape, n);
  const double item = dtype == Dtype::float32 ? 4.0 : 8.0;
  require_memory(
      item * static_cast<double>(batch < n ? 2 * size : size) + cpu::kernel_bytes(kernel, shape, item, batch, threads),
      "the gradient of this network on " + std::to_string(n) + " rows");
  return with_dtype(dtype, [&](auto type) {
    using T = decltype(type);
    py::array_t<T> gradient(size);
    T* out = gradient.mutable_data();
    std::pair<double, std::string> result{0.0, "reference"};
    if (kernel == "reference") {
      const Widened wide{widen<T>(parameters), widen<T>(x), widen<T>(y)};
      std::vector<double> g(static_cast<std::size_t>(size));
      const py::gil_scoped_release release;
      result.first = reference::loss_and_gradient(shape, wide.parameters.data(), {wide.x.data(), wide.y.data(), n},
                                                  penalty, g.data());
      std::transform(g.begin(), g.end(), out, [](double v) { return static_cast<T>(v); });
    } else {
      const cpu::Rows<T> rows{data<T>(x), data<T>(y), nullptr, n, shape.inputs};
      const T* p = data<T>(parameters);
      const py::gil_scoped_release release;
      result = gradient_fast<T>(shape, rows, p, penalty, out, kernel, threads);
    }
    return std::tuple<double, py::array, std::string>(result.first, std::move(gradient), result.second);
  });
}

std::vector<double> mean_squared_errors(const NetworkShape& shape, const py::array& parameters,
                                        const std::vector<std::pair<py::array, py::array>>& sets, int threads) {
  require_threads(threads);
  const Dtype dtype = float_dtype(parameters, "parameters");
  require(parameters, "parameters", dtype, {parameter_layout(shape).size});
  for (const auto& [x, y] : sets) require(y, "y", dtype, {rows_of(shape, x, dtype)});
  if (sets.empty()) return {};
  return with_dtype(dtype, [&](auto type) {
    using T = decltype(type);
    std::vector<cpu::Rows<T>> rows;
    for (const auto& [x, y] : sets) rows.push_back({data<T>(x), data<T>(y), nullptr, x.shape(0), shape.inputs});
    const T* p = data<T>(parameters);
    const py::gil_scoped_release release;
    return errors_fast<T>(shape, rows, p, threads);
  });
}

double path_norm_of(const NetworkShape& shape, const py::array& parameters) {
  const Dtype dtype = float_dtype(parameters, "parameters");
  require(parameters, "parameters", dtype, {parameter_layout(shape).size});
  return with_dtype(dtype, [&](auto type) { return path_norm(shape, data<decltype(type)>(parameters)); });
}

void adam_step_on(const std::optional<NetworkShape>& shape, py::array parameters, const py::array& gradient,
                  py::array m, py::array v, std::int64_t t, const AdamSettings& adam, const Penalty& penalty,
                  int threads) {
  require_threads(threads);
  if (t < 1) throw py::value_error("t must be at least 1, got " + std::to_string(t));
  if (!shape && penalty.kind == PenaltyKind::path_norm) {
    throw py::value_error("the path norm needs a network, got network=None");
  }
  const Dtype dtype = float_dtype(parameters, "parameters");
  const std::int64_t size = shape ? parameter_layout(*shape).size : parameters.size();
  require(parameters, "parameters", dtype, {size});
  require(gradient, "gradient", dtype, {size});
  require(m, "m", dtype, {size});
  require(v, "v", dtype, {size});
  if (size == 0) return;
  with_dtype(dtype, [&](auto type) {
    using T = decltype(type);
    const cpu::AdamState<T> state{mutable_data<T>(parameters), data<T>(gradient), mutable_data<T>(m),
                                  mutable_data<T>(v)};
    const py::gil_scoped_release release;
    const cpu::FlushDenormals flush;
    cpu::ThreadPool pool(threads);
    if (!shape) {
      cpu::adam_step_flat<T>(state, size, adam, penalty, t, cpu::active_level(), pool);
      return;
    }
    cpu::AdamPass<T> pass(*shape, adam, penalty, cpu::active_level(), pool);
    pass.step_alone(state, t);
  });
}

py::array initial_parameters(const NetworkShape& shape, std::uint64_t seed, std::int64_t field,
                             const std::string& dtype) {
  if (field < 1) throw py::value_error("field must be at least 1, got " + std::to_string(field));
  return with_dtype(parse_dtype(dtype), [&](auto type) -> py::array {
    py::array_t<decltype(type)> out(parameter_layout(shape).size);
    auto* values = out.mutable_data();
    const py::gil_scoped_release release;
    draw_initial(shape, seed, field, values);
    return out;
  });
}

py::array uniform_draws(std::uint64_t seed, const std::string& purpose, std::uint32_t member, std::uint64_t first,
                        std::int64_t count, const std::string& dtype) {
  if (purpose != "data" && purpose != "initialization") {
    throw py::value_error("purpose must be 'data' or 'initialization', got '" + purpose + "'");
  }
  if (member >= (1u << 24)) throw py::value_error("member must be below 2^24, got " + std::to_string(member));
  if (count < 0) throw py::value_error("count must not be negative, got " + std::to_string(count));
  const Stream stream{seed, purpose == "data" ? Purpose::data : Purpose::initialization, member, 0};
  const auto draw = [&](auto type) -> py::array {
    py::array_t<decltype(type)> out(count);
    auto* values = out.mutable_data();
    const py::gil_scoped_release release;
    uniform(stream, first, count, values);
    return out;
  };
  return with_dtype(parse_dtype(dtype), draw);
}

py::array_t<std::uint32_t> epoch_order(std::uint64_t seed, std::uint32_t epoch, std::int64_t rows) {
  if (rows < 0) throw py::value_error("rows must not be negative, got " + std::to_string(rows));
  py::array_t<std::uint32_t> order(rows);
  Shuffler(rows).draw(seed, epoch, order.mutable_data());
  return order;
}

}  // namespace pn::bind
