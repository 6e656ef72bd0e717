#include "bind/results.hpp"

namespace pn::bind {
namespace {

py::array unit_array(const History& history, std::int32_t layers, std::int64_t UnitCounts::* member) {
  const auto epochs = static_cast<py::ssize_t>(history.units.size());
  py::array_t<std::int64_t> out({epochs, static_cast<py::ssize_t>(layers)});
  auto view = out.mutable_unchecked<2>();
  for (py::ssize_t e = 0; e < epochs; ++e) {
    for (std::int32_t l = 0; l < layers; ++l) {
      view(e, l) = history.units[static_cast<std::size_t>(e)][static_cast<std::size_t>(l)].*member;
    }
  }
  return out;
}

py::array to_numpy(const Values& all) {
  return std::visit(
      [](const auto& v) -> py::array { return to_array<typename std::decay_t<decltype(v)>::value_type>(v); }, all);
}

py::dict state_of(const Outcome& outcome) {
  const Standing& standing = outcome.record.standing;
  py::dict d;
  d["m"] = to_numpy(outcome.m);
  d["v"] = to_numpy(outcome.v);
  d["epochs"] = standing.epochs;
  d["steps"] = standing.steps;
  d["best_validation_loss"] = standing.best_validation_loss;
  return d;
}

}  // namespace

py::dict to_dict(const Job& job, const Outcome& outcome) {
  const History& history = outcome.record.history;
  py::dict d;
  d["parameters"] = to_numpy(outcome.best);
  d["last_parameters"] = to_numpy(outcome.last);
  d["best_epoch"] = outcome.record.standing.best_epoch;
  d["status"] = name(outcome.record.status);
  d["train_loss"] = to_array<double>(history.train_loss);
  d["validation_loss"] = to_array<double>(history.validation_loss);
  d["dead_units"] = unit_array(history, job.shape.hidden_layers, &UnitCounts::dead);
  d["on_units"] = unit_array(history, job.shape.hidden_layers, &UnitCounts::on);
  d["mixed_units"] = unit_array(history, job.shape.hidden_layers, &UnitCounts::mixed);
  d["seconds"] = outcome.record.seconds;
  d["kernel"] = outcome.kernel;
  d["isa"] = outcome.isa;
  d["state"] = job.keep_state ? py::object(state_of(outcome)) : py::object(py::none());
  return d;
}

}  // namespace pn::bind
