// Threads that train runs while the calling thread, which came from Python, looks for signals and reports.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <vector>

#include "bind/arrays.hpp"
#include "core/trainer.hpp"

namespace pn::bind {

struct Progress {
  std::int64_t steps, epochs;
  double train_loss, validation_loss, best_validation_loss;
  bool started, finished;
};

// Workers that take tasks in order. A task trains one run or several; each run has a monitor.
class Crew {
 public:
  using Task = std::function<void(std::size_t task)>;  // without the GIL

  Crew(std::size_t runs, std::size_t tasks, std::size_t workers, Task task);

  // Does all tasks. Holds the GIL when called and when it returns, and about every 50 ms for signals and, every
  // `interval` seconds, report(list of Progress) unless that is None. Ctrl-C stops the runs, an exception of a task or
  // of report stops them and is thrown.
  void work(const py::object& report, double interval);

  std::vector<Monitor>& monitors() { return monitors_; }
  void set_started(std::size_t run) { started_[run] = true; }

 private:
  void wait(const std::function<void()>& tick);
  void take_tasks();
  void fail(std::exception_ptr error);
  void stop();
  std::vector<Progress> progress() const;
  void look_for_signals();
  void send_report(const py::object& report);

  std::vector<Monitor> monitors_;
  std::vector<std::atomic<bool>> started_;
  std::size_t tasks_, workers_;
  Task task_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::condition_variable done_;
  std::size_t busy_ = 0;
  std::exception_ptr error_;
};

}  // namespace pn::bind
