#include "bind/crew.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

namespace pn::bind {
namespace {

constexpr auto kTick = std::chrono::milliseconds(50);  // between two looks for Ctrl-C

}  // namespace

Crew::Crew(std::size_t runs, std::size_t tasks, std::size_t workers, Task task)
    : monitors_(runs), started_(runs), tasks_(tasks), workers_(std::min(workers, tasks)), task_(std::move(task)) {}

void Crew::work(const py::object& report, double interval) {
  const std::chrono::duration<double> pause(interval);
  auto last = std::chrono::steady_clock::now();
  const auto tick = [&] {
    const py::gil_scoped_acquire gil;
    look_for_signals();
    const auto now = std::chrono::steady_clock::now();
    if (report.is_none() || now - last < pause) return;
    last = now;
    send_report(report);
  };
  {
    const py::gil_scoped_release release;
    wait(tick);
  }
  if (!report.is_none()) send_report(report);
}

// tick() is called with the GIL held by nobody; when it throws, the runs are stopped.
void Crew::wait(const std::function<void()>& tick) {
  busy_ = workers_;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < workers_; ++i) threads.emplace_back([this] { take_tasks(); });
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
  for (std::thread& thread : threads) thread.join();
  if (error_) std::rethrow_exception(error_);
}

void Crew::take_tasks() {
  try {
    for (std::size_t i = next_++; i < tasks_; i = next_++) task_(i);
  } catch (...) {
    fail(std::current_exception());
  }
  const std::lock_guard lock(mutex_);
  if (--busy_ == 0) done_.notify_one();
}

void Crew::fail(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  stop();
}

void Crew::stop() {
  for (Monitor& monitor : monitors_) monitor.stop = true;
}

std::vector<Progress> Crew::progress() const {
  std::vector<Progress> list;
  for (std::size_t i = 0; i < monitors_.size(); ++i) {
    const Monitor& m = monitors_[i];
    list.push_back(
        {m.steps, m.epochs, m.train_loss, m.validation_loss, m.best_validation_loss, started_[i], m.finished});
  }
  return list;
}

// A KeyboardInterrupt becomes a request to stop; any other exception is thrown.
void Crew::look_for_signals() {
  if (PyErr_CheckSignals() == 0) return;
  if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) throw py::error_already_set();
  PyErr_Clear();
  stop();
}

void Crew::send_report(const py::object& report) {
  try {
    report(progress());
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_KeyboardInterrupt)) throw;
    stop();
  }
}

}  // namespace pn::bind
