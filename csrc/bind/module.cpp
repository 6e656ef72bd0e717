// The module: which C++ names Python sees.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "bind/crew.hpp"
#include "bind/functions.hpp"
#include "bind/training.hpp"
#include "cpu/blas.hpp"
#include "cpu/isa.hpp"
#include "cpu/kernel_choice.hpp"
#include "cpu/piecewise_linear_kernel.hpp"

namespace pn::bind {
namespace {

constexpr const char* kProgress = R"(A snapshot of one run, which `train` gives to a callable `progress`.

Attributes
----------
steps, epochs : int
    Finished so far.
train_loss, validation_loss : float
    Scaled mean squared errors of the last finished epoch, as in `Fit.history`; 0 before the first one.
best_validation_loss : float
    The lowest validation loss so far; infinite before the first one, 0 before the run has begun.
started, finished : bool
    Whether the run has begun, and whether it has ended.
)";

EpsilonPlacement parse_placement(const std::string& text) {
  if (text == "uncorrected") return EpsilonPlacement::uncorrected;
  if (text == "corrected") return EpsilonPlacement::corrected;
  throw py::value_error("epsilon_placement must be 'uncorrected' or 'corrected', got '" + text + "'");
}

std::vector<std::string> names(const std::vector<cpu::Isa>& levels) {
  std::vector<std::string> list;
  for (const cpu::Isa isa : levels) list.emplace_back(cpu::name(isa));
  return list;
}

std::vector<std::string> kernels(const NetworkShape& shape) {
  std::vector<std::string> list = cpu::kernels_of(shape);
  list.emplace_back("reference");
  return list;
}

void define_descriptions(py::module_& m) {
  py::class_<NetworkShape>(m, "Network", py::is_final())
      .def(py::init([](std::int64_t inputs, std::int64_t block_in, std::int64_t width, bool shared, std::int32_t layers,
                       const std::string& activation) {
             const NetworkShape shape{inputs, block_in, width, shared, layers, parse_activation(activation)};
             validate(shape);
             return shape;
           }),
           py::arg("inputs"), py::arg("block_in"), py::arg("width"), py::arg("shared"), py::arg("hidden_layers"),
           py::arg("activation"))
      .def_property_readonly("parameter_count", [](const NetworkShape& s) { return parameter_layout(s).size; })
      .def_property_readonly("kernels", &kernels)
      .def("kernel_bytes", &kernel_bytes, py::arg("kernel"), py::arg("dtype"), py::arg("rows"), py::arg("threads"));
  py::class_<AdamSettings>(m, "Adam", py::is_final())
      .def(py::init([](double learning_rate, double beta1, double beta2, double epsilon, double decay,
                       double weight_decay, const std::string& placement) {
             const AdamSettings settings{
                 learning_rate, beta1, beta2, epsilon, decay, weight_decay, parse_placement(placement)};
             validate(settings);
             return settings;
           }),
           py::arg("learning_rate"), py::arg("beta1"), py::arg("beta2"), py::arg("epsilon"), py::arg("decay"),
           py::arg("weight_decay"), py::arg("epsilon_placement"));
  py::class_<Penalty>(m, "Penalty", py::is_final())
      .def(py::init([](const std::string& kind, double strength) { return make_penalty(kind, strength); }),
           py::arg("kind"), py::arg("strength"));
}

void define_training(py::module_& m) {
  py::class_<Resumption>(m, "Resumption", py::is_final())
      .def(py::init([](py::array first, py::array second, py::array best, std::int64_t epochs, std::int64_t steps,
                       std::int64_t best_epoch, double best_validation_loss) {
             return Resumption{std::move(first),
                               std::move(second),
                               std::move(best),
                               {epochs, steps, best_epoch, best_validation_loss}};
           }),
           py::arg("m"), py::arg("v"), py::arg("best"), py::arg("epochs"), py::arg("steps"), py::arg("best_epoch"),
           py::arg("best_validation_loss"));
  py::class_<Job>(m, "Job", py::is_final())
      .def(py::init<const NetworkShape&, py::array, py::array, py::array, py::array, py::array, std::int64_t,
                    std::int64_t, const AdamSettings&, const Penalty&, std::uint64_t, const std::string&, bool,
                    std::optional<Resumption>, bool>(),
           py::arg("network"), py::arg("initial"), py::arg("train_x"), py::arg("train_y"), py::arg("validation_x"),
           py::arg("validation_y"), py::arg("epochs"), py::arg("batch_size"), py::arg("adam"), py::arg("penalty"),
           py::arg("seed"), py::arg("kernel"), py::arg("shuffle"), py::arg("resume") = py::none(),
           py::arg("keep_state") = false);
  py::class_<Progress>(m, "Progress", kProgress, py::is_final())
      .def_readonly("steps", &Progress::steps)
      .def_readonly("epochs", &Progress::epochs)
      .def_readonly("train_loss", &Progress::train_loss)
      .def_readonly("validation_loss", &Progress::validation_loss)
      .def_readonly("best_validation_loss", &Progress::best_validation_loss)
      .def_readonly("started", &Progress::started)
      .def_readonly("finished", &Progress::finished);
  m.def("train", &train_jobs, py::arg("jobs"), py::arg("threads"), py::arg("report") = py::none(),
        py::arg("interval") = 0.25);
}

void define_functions(py::module_& m) {
  m.def("forward", &forward, py::arg("network"), py::arg("parameters"), py::arg("x"), py::arg("kernel") = "auto",
        py::arg("threads") = 1);
  m.def("loss_and_gradient", &loss_and_gradient, py::arg("network"), py::arg("parameters"), py::arg("x"), py::arg("y"),
        py::arg("penalty"), py::arg("kernel") = "auto", py::arg("threads") = 1);
  m.def("mean_squared_errors", &mean_squared_errors, py::arg("network"), py::arg("parameters"), py::arg("sets"),
        py::arg("threads") = 1);
  m.def("path_norm", &path_norm_of, py::arg("network"), py::arg("parameters"));
  m.def("adam_step", &adam_step_on, py::arg("network").none(true), py::arg("parameters"), py::arg("gradient"),
        py::arg("m"), py::arg("v"), py::arg("t"), py::arg("adam"), py::arg("penalty"), py::arg("threads") = 1);
  m.def("initial_parameters", &initial_parameters, py::arg("network"), py::arg("seed"), py::arg("field"),
        py::arg("dtype"));
  m.def("uniform", &uniform_draws, py::arg("seed"), py::arg("purpose"), py::arg("member"), py::arg("first"),
        py::arg("count"), py::arg("dtype"));
  m.def("epoch_order", &epoch_order, py::arg("seed"), py::arg("epoch"), py::arg("rows"));
}

void define_machine(py::module_& m) {
  m.attr("most_piecewise_alpha") = cpu::kMostPiecewiseWidth;
  m.def("load_blas", &cpu::blas::load, py::arg("path"));
  m.def("blas_info", &cpu::blas::configuration);
  m.def("compiled_levels", [] { return names(cpu::compiled_levels()); });
  m.def("supported_levels", [] { return names(cpu::supported_levels()); });
  m.def("active_level", [] { return std::string(cpu::name(cpu::active_level())); });
}

}  // namespace
}  // namespace pn::bind

PYBIND11_MODULE(_native, m) {
  m.doc() = "The native module of pyneedle.";
  m.attr("__version__") = PYNEEDLE_VERSION;
  pn::bind::define_descriptions(m);
  pn::bind::define_training(m);
  pn::bind::define_functions(m);
  pn::bind::define_machine(m);
}
