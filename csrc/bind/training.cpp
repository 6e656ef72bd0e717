#include "bind/training.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>

#include "bind/functions.hpp"
#include "cpu/engine.hpp"
#include "cpu/kernel_choice.hpp"
#include "reference/reference.hpp"

namespace pn::bind {
namespace {

constexpr auto kTick = std::chrono::milliseconds(50);  // between two looks for Ctrl-C
constexpr double kMostBytesPerParameter = 6;           // parameters, best, two moments, gradient, and one to spare

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

// Arrays of the job's dtype, made without the GIL.
using Values = std::variant<std::vector<float>, std::vector<double>>;

// What a run leaves, without Python objects, so that it can be made without the GIL.
struct Outcome {
  TrainingRecord record;
  Values best, last, m, v;  // the moments where the job asks for its state
  std::string kernel, isa;
};

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
  engine.settle();
  Outcome outcome = outcome_of<T>(job, engine, std::move(record));
  outcome.kernel = engine.kernel_name();
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

// Workers that take the jobs in order, while the calling thread looks for signals and reports.
class Crew {
 public:
  Crew(const std::vector<const Job*>& jobs, int threads, cpu::Isa isa)
      : jobs_(jobs), threads_(threads), isa_(isa), monitors_(jobs.size()), started_(jobs.size()),
        outcomes_(jobs.size()) {}

  // Without the GIL. tick() is called about every 50 ms with it held by nobody; when it throws, the runs are stopped.
  template <class Tick>
  void work(Tick tick) {
    const bool alone = jobs_.size() == 1;
    const auto size = std::min<std::size_t>(alone ? 1 : static_cast<std::size_t>(threads_), jobs_.size());
    busy_ = size;
    std::vector<std::thread> workers;
    for (std::size_t i = 0; i < size; ++i) workers.emplace_back([this, alone] { take_jobs(alone ? threads_ : 1); });
    try {
      std::unique_lock lock(mutex_);
      while (!done_.wait_for(lock, kTick, [this] { return busy_ == 0; })) {
        lock.unlock();
        tick();
        lock.lock();
      }
    } catch (...) {
      fail(std::current_exception());
    }
    for (std::thread& worker : workers) worker.join();
    if (error_) std::rethrow_exception(error_);
  }

  void stop() {
    stopping_ = true;
    for (Monitor& monitor : monitors_) monitor.stop = true;
  }

  std::vector<Progress> progress() const {
    std::vector<Progress> list;
    for (std::size_t i = 0; i < jobs_.size(); ++i) {
      const Monitor& m = monitors_[i];
      list.push_back(
          {m.steps, m.epochs, m.train_loss, m.validation_loss, m.best_validation_loss, started_[i], m.finished});
    }
    return list;
  }

  const std::vector<Outcome>& outcomes() const { return outcomes_; }

 private:
  void take_jobs(int threads) {
    try {
      for (std::size_t i = next_++; i < jobs_.size(); i = next_++) {
        started_[i] = true;
        outcomes_[i] = run(*jobs_[i], threads, isa_, monitors_[i]);
        monitors_[i].finished = true;
      }
    } catch (...) {
      fail(std::current_exception());
    }
    const std::lock_guard lock(mutex_);
    if (--busy_ == 0) done_.notify_one();
  }

  void fail(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
    stop();
  }

  const std::vector<const Job*>& jobs_;
  int threads_;
  cpu::Isa isa_;
  std::vector<Monitor> monitors_;
  std::vector<std::atomic<bool>> started_;
  std::vector<Outcome> outcomes_;
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable done_;
  std::size_t busy_ = 0;
  std::exception_ptr error_;
};

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

// Signals and reports, on the thread that called train.
class Watch {
 public:
  Watch(Crew& crew, const py::object& report, double interval)
      : crew_(crew), report_(report), interval_(interval), last_(std::chrono::steady_clock::now()) {}

  // Takes the GIL. A KeyboardInterrupt becomes a request to stop; any other exception is thrown.
  void operator()() {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) interrupted();
    const auto now = std::chrono::steady_clock::now();
    if (report_.is_none() || now - last_ < interval_) return;
    last_ = now;
    send_report();
  }

  void send_report() {
    try {
      report_(crew_.progress());
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_KeyboardInterrupt)) throw;
      crew_.stop();
    }
  }

 private:
  void interrupted() {
    if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) throw py::error_already_set();
    PyErr_Clear();
    crew_.stop();
  }

  Crew& crew_;
  const py::object& report_;
  std::chrono::duration<double> interval_;
  std::chrono::steady_clock::time_point last_;
};

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
  const double activations = cpu::needs_blas(shape) ? 3.0 * static_cast<double>(batch_size * shape.width) : 0.0;
  require_memory(item * (kMostBytesPerParameter * static_cast<double>(size) + activations), "training this network");
  if (kernel != "reference") cpu::kernel_for(kernel, shape);  // throws where there is none
}

py::list train_jobs(const std::vector<const Job*>& jobs, int threads, const py::object& report, double interval) {
  require_threads(threads);
  if (jobs.empty()) return py::list();
  Crew crew(jobs, threads, cpu::active_level());
  Watch watch(crew, report, interval);
  {
    const py::gil_scoped_release release;
    crew.work([&watch] { watch(); });
  }
  if (!report.is_none()) watch.send_report();
  py::list results;
  for (std::size_t i = 0; i < jobs.size(); ++i) results.append(to_dict(*jobs[i], crew.outcomes()[i]));
  return results;
}

}  // namespace pn::bind
