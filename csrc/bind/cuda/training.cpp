#include "bind/cuda/training.hpp"

#include <pybind11/stl.h>

#include <string>
#include <utility>

#include "bind/crew.hpp"
#include "bind/results.hpp"
#include "core/ensemble.hpp"
#include "cuda/device/device.hpp"
#include "cuda/engine.hpp"

namespace pn::bind {
namespace {

bool same_shape(const NetworkShape& a, const NetworkShape& b) {
  return a.inputs == b.inputs && a.block_in == b.block_in && a.width == b.width && a.shared == b.shared &&
         a.hidden_layers == b.hidden_layers && a.activation == b.activation;
}

// Throws where the two can not be members of one ensemble.
void require_alike(const Job& first, const Job& job, std::size_t number) {
  const auto require_same = [number](bool same, const char* what) {
    if (same) return;
    throw py::value_error("jobs must have the same " + std::string(what) + " as the first one, but job " +
                          std::to_string(number) + " has another");
  };
  require_same(same_shape(first.shape, job.shape), "network");
  require_same(first.dtype == job.dtype, "dtype");
  require_same(first.kernel == job.kernel, "kernel");
  require_same(first.plan.batch_size == job.plan.batch_size, "batch_size");
  require_same(first.plan.rows == job.plan.rows, "number of training rows");
  require_same(first.validation_y.size() == job.validation_y.size(), "number of validation rows");
}

cuda::EnsembleSettings settings_of(const Job& job, int device, bool tf32) {
  return {job.shape, job.kernel, job.plan.batch_size, job.plan.rows, job.validation_y.size(), tf32, device};
}

template <class T>
cuda::MemberSettings<T> member_of(const Job& job) {
  cuda::MemberSettings<T> member{job.adam,
                                 job.penalty,
                                 job.plan.seed,
                                 job.plan.shuffle,
                                 data<T>(job.train_x),
                                 data<T>(job.train_y),
                                 data<T>(job.validation_x),
                                 data<T>(job.validation_y),
                                 data<T>(job.initial)};
  if (job.resume) {
    member.m = data<T>(job.resume->m);
    member.v = data<T>(job.resume->v);
    member.best = data<T>(job.resume->best);
  }
  return member;
}

template <class T>
Values copy_of(cuda::DeviceEnsemble<T>& engine, std::int64_t member, cuda::MemberArray array, std::int64_t size) {
  std::vector<T> values(static_cast<std::size_t>(size));
  engine.copy_out(member, array, values.data());
  return values;
}

template <class T>
std::vector<Outcome> run(const std::vector<const Job*>& jobs, const cuda::EnsembleSettings& settings,
                         std::vector<Monitor>& monitors) {
  std::vector<cuda::MemberSettings<T>> members;
  std::vector<TrainingPlan> plans;
  for (const Job* job : jobs) {
    members.push_back(member_of<T>(*job));
    plans.push_back(job->plan);
  }
  const auto engine = cuda::make_ensemble<T>(settings, members);
  std::vector<TrainingRecord> records = train_ensemble(*engine, plans, monitors);
  const std::int64_t size = parameter_layout(settings.shape).size;
  const std::string isa = cuda::architecture(cuda::device(settings.device));
  std::vector<Outcome> outcomes;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto copy = [&](cuda::MemberArray array) {
      return copy_of<T>(*engine, static_cast<std::int64_t>(i), array, size);
    };
    Outcome outcome{std::move(records[i]),
                    copy(cuda::MemberArray::best),
                    copy(cuda::MemberArray::parameters),
                    {},
                    {},
                    std::string(engine->kernel_name()),
                    isa};
    if (jobs[i]->keep_state) {
      outcome.m = copy(cuda::MemberArray::m);
      outcome.v = copy(cuda::MemberArray::v);
    }
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

}  // namespace

py::list train_on_device(const std::vector<const Job*>& jobs, int device, bool tf32, const py::object& report,
                         double interval) {
  py::list results;
  if (jobs.empty()) return results;
  for (std::size_t i = 1; i < jobs.size(); ++i) require_alike(*jobs[0], *jobs[i], i);
  const cuda::EnsembleSettings settings = settings_of(*jobs[0], device, tf32);
  cuda::choose_kernel(settings.shape, settings.kernel);
  if (tf32 && jobs[0]->dtype != Dtype::float32)
    throw py::value_error("tf32=True needs float32 parameters, got float64");
  cuda::device(device);
  std::vector<Outcome> outcomes;
  Crew crew(jobs.size(), 1, 1, [&](std::size_t) {
    for (std::size_t i = 0; i < jobs.size(); ++i) crew.set_started(i);
    outcomes =
        with_dtype(jobs[0]->dtype, [&](auto type) { return run<decltype(type)>(jobs, settings, crew.monitors()); });
    for (Monitor& monitor : crew.monitors()) monitor.finished = true;
  });
  crew.work(report, interval);
  for (std::size_t i = 0; i < jobs.size(); ++i) results.append(to_dict(*jobs[i], outcomes[i]));
  return results;
}

}  // namespace pn::bind
