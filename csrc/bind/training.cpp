#include "bind/training.hpp"

#include <limits>
#include <utility>

#include "bind/crew.hpp"
#include "bind/functions.hpp"
#include "bind/results.hpp"
#include "cpu/engine.hpp"
#include "cpu/kernel_choice.hpp"
#include "reference/reference.hpp"

namespace pn::bind {
namespace {

constexpr double kMostVectors =
    6;  // of the parameters' size: parameters, best, two moments, gradient, and one to spare

std::int64_t row_count(const py::array& x, const char* name) {
  const std::int64_t rows = x.ndim() > 0 ? x.shape(0) : 0;
  if (rows < 1) throw py::value_error(std::string(name) + " must have at least one row, got none");
  if (rows > std::numeric_limits<std::uint32_t>::max()) {
    throw py::value_error(std::string(name) + " must have fewer than 2^32 rows, got " + std::to_string(rows));
  }
  return rows;
}

void require_range(std::int64_t value, std::int64_t most, const char* name, const char* limit) {
  if (value >= 1 && value <= most) return;
  throw py::value_error(std::string(name) + " must be between 1 and " + limit + ", got " + std::to_string(value));
}

template <class T, class Source>
Values values(const Source& source) {
  return std::vector<T>(source.data(), source.data() + source.size());
}

template <class T, class AnyEngine>
Outcome outcome_of(const Job& job, const AnyEngine& engine, TrainingRecord record) {
  Outcome outcome{
      std::move(record), values<T>(engine.best_parameters()), values<T>(engine.parameters()), {}, {}, {}, {}};
  if (job.keep_state) {
    outcome.m = values<T>(engine.first_moments());
    outcome.v = values<T>(engine.second_moments());
  }
  return outcome;
}

template <class T>
Outcome run_on_cpu(const Job& job, int threads, cpu::Isa isa, Monitor& monitor) {
  const cpu::EngineData<T> view{data<T>(job.train_x),      data<T>(job.train_y),      job.train_x.shape(0),
                                data<T>(job.validation_x), data<T>(job.validation_y), job.validation_x.shape(0)};
  cpu::CpuEngine<T> engine({job.shape, job.adam, job.penalty, job.kernel, job.plan.batch_size, threads}, isa, view,
                           data<T>(job.initial));
  if (job.resume) engine.restore(data<T>(job.resume->m), data<T>(job.resume->v), data<T>(job.resume->best));
  TrainingRecord record = train(engine, job.plan, monitor);
  const std::string kernel(engine.kernel_name());
  engine.finish(job.keep_state);
  Outcome outcome = outcome_of<T>(job, engine, std::move(record));
  outcome.kernel = kernel;
  outcome.isa = cpu::name(isa);
  return outcome;
}

template <class T>
Outcome run_reference(const Job& job, Monitor& monitor) {
  const auto wide = [](const py::array& a) { return std::vector<double>(data<T>(a), data<T>(a) + a.size()); };
  reference::ReferenceEngine engine(
      job.shape, job.adam, job.penalty,
      {wide(job.train_x), wide(job.train_y), wide(job.validation_x), wide(job.validation_y)}, wide(job.initial));
  if (job.resume) engine.restore(wide(job.resume->m), wide(job.resume->v), wide(job.resume->best));
  TrainingRecord record = train(engine, job.plan, monitor);
  Outcome outcome = outcome_of<T>(job, engine, std::move(record));
  outcome.kernel = "reference";
  outcome.isa = "scalar";
  return outcome;
}

Outcome run(const Job& job, int threads, cpu::Isa isa, Monitor& monitor) {
  return with_dtype(job.dtype, [&](auto type) {
    using T = decltype(type);
    return job.kernel == "reference" ? run_reference<T>(job, monitor) : run_on_cpu<T>(job, threads, isa, monitor);
  });
}

}  // namespace

Job::Job(const NetworkShape& shape_, py::array initial_, py::array train_x_, py::array train_y_,
         py::array validation_x_, py::array validation_y_, std::int64_t epochs, std::int64_t batch_size,
         const AdamSettings& adam_, const Penalty& penalty_, std::uint64_t seed, const std::string& kernel_,
         bool shuffle, std::optional<Resumption> resume_, bool keep_state_)
    : shape(shape_), dtype(float_dtype(initial_, "initial")), initial(std::move(initial_)),
      train_x(std::move(train_x_)), train_y(std::move(train_y_)), validation_x(std::move(validation_x_)),
      validation_y(std::move(validation_y_)), adam(adam_), penalty(penalty_), kernel(kernel_),
      resume(std::move(resume_)), keep_state(keep_state_) {
  const std::int64_t size = parameter_layout(shape).size;
  require(initial, "initial", dtype, {size});
  const std::int64_t rows = row_count(train_x, "train_x");
  require(train_x, "train_x", dtype, {rows, shape.inputs});
  require(train_y, "train_y", dtype, {rows});
  const std::int64_t validation_rows = row_count(validation_x, "validation_x");
  require(validation_x, "validation_x", dtype, {validation_rows, shape.inputs});
  require(validation_y, "validation_y", dtype, {validation_rows});
  require_range(epochs, std::numeric_limits<std::uint32_t>::max(), "epochs", "2^32 - 1");
  require_range(batch_size, rows, "batch_size", ("the number of training rows, " + std::to_string(rows)).c_str());
  plan = {rows, batch_size, epochs, seed, shuffle, {}};
  if (resume) {
    require(resume->m, "resume's m", dtype, {size});
    require(resume->v, "resume's v", dtype, {size});
    require(resume->best, "resume's best", dtype, {size});
    if (resume->standing.epochs < 0 || resume->standing.epochs > epochs) {
      throw py::value_error("epochs must be at least the " + std::to_string(resume->standing.epochs) +
                            " that the resumed run has finished, got " + std::to_string(epochs));
    }
    plan.start = resume->standing;
  }
  const double item = dtype == Dtype::float32 ? 4.0 : 8.0;
  if (kernel != "reference") cpu::kernel_for(kernel, shape);  // throws where there is none
  require_memory(
      item * kMostVectors * static_cast<double>(size) + cpu::kernel_bytes(kernel, shape, item, batch_size, 1),
      "training this network");
}

py::list train_jobs(const std::vector<const Job*>& jobs, int threads, const py::object& report, double interval) {
  require_threads(threads);
  if (jobs.empty()) return py::list();
  const cpu::Isa isa = cpu::active_level();
  const bool alone = jobs.size() == 1;
  std::vector<Outcome> outcomes(jobs.size());
  Crew crew(jobs.size(), jobs.size(), static_cast<std::size_t>(threads), [&](std::size_t i) {
    crew.set_started(i);
    outcomes[i] = run(*jobs[i], alone ? threads : 1, isa, crew.monitors()[i]);
    crew.monitors()[i].finished = true;
  });
  crew.work(report, interval);
  py::list results;
  for (std::size_t i = 0; i < jobs.size(); ++i) results.append(to_dict(*jobs[i], outcomes[i]));
  return results;
}

}  // namespace pn::bind
