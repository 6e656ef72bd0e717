// The training loop over a made-up engine that only keeps a record of what it is asked.
#include "core/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "check.hpp"

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

struct Batch {
  std::int64_t first, count, t;
};

class FakeEngine : public pn::Engine {
 public:
  explicit FakeEngine(std::int64_t rows) : rows_(rows) {}

  void begin_epoch(const std::uint32_t* order) override {
    orders.emplace_back(order, order + rows_);
    batches.emplace_back();
    order_ = order;
  }
  void step(std::int64_t first, std::int64_t count, std::int64_t t) override {
    batches.back().push_back({first, count, t});
    for (std::int64_t i = first; i < first + count; ++i)
      CHECK_EQ(order_[i], orders.back()[static_cast<std::size_t>(i)]);
    if (on_step) on_step(t);
  }
  double epoch_loss() override { return train_sum(orders.size() - 1); }
  pn::Evaluation evaluate(pn::Split split, const pn::ShouldStop& stop) override {
    CHECK(split == pn::Split::validation);
    if (on_evaluate) on_evaluate(orders.size() - 1);
    stop_seen = stop();
    pn::Evaluation evaluation{validation(orders.size() - 1), {}};
    evaluation.units[0] = {static_cast<std::int64_t>(orders.size()), 2, 3};
    return evaluation;
  }
  void keep_best() override { kept.push_back(static_cast<std::int64_t>(orders.size()) - 1); }

  std::function<double(std::size_t)> validation = [](std::size_t) { return 1.0; };
  std::function<double(std::size_t)> train_sum = [](std::size_t) { return 1.0; };
  std::function<void(std::int64_t)> on_step;
  std::function<void(std::size_t)> on_evaluate;

  std::vector<std::vector<std::uint32_t>> orders;  // per epoch
  std::vector<std::vector<Batch>> batches;         // per epoch
  std::vector<std::int64_t> kept;                  // the epoch after which parameters were kept; -1: before the first
  bool stop_seen = false;

 private:
  std::int64_t rows_;
  const std::uint32_t* order_ = nullptr;
};

pn::TrainingPlan plan(std::int64_t rows, std::int64_t batch_size, std::int64_t epochs, bool shuffle = true) {
  return {rows, batch_size, epochs, 9, shuffle, {}};
}

void batches_cover_every_row_once() {
  for (const std::int64_t batch_size : {1, 3, 4, 10, 11}) {
    FakeEngine engine(10);
    pn::Monitor monitor;
    const pn::TrainingRecord record = pn::train(engine, plan(10, batch_size, 3), monitor);
    CHECK(record.status == pn::Status::completed);
    std::int64_t t = 0;
    for (const std::vector<Batch>& epoch : engine.batches) {
      std::int64_t next = 0;
      for (const Batch& batch : epoch) {
        CHECK_EQ(batch.first, next);
        CHECK_EQ(batch.count, std::min<std::int64_t>(batch_size, 10 - next));  // the last batch may be smaller
        CHECK_EQ(batch.t, ++t);                                                // goes on over epochs, from 1
        next += batch.count;
      }
      CHECK_EQ(next, 10);
    }
    CHECK_EQ(monitor.steps.load(), t);
    CHECK_EQ(monitor.epochs.load(), 3);
  }
}

void orders_are_the_shufflers() {
  FakeEngine engine(50);
  pn::Monitor monitor;
  pn::train(engine, plan(50, 8, 4), monitor);
  CHECK_EQ(engine.orders.size(), 4u);
  pn::Shuffler shuffler(50);
  std::vector<std::uint32_t> expected(50);
  for (std::uint32_t epoch = 0; epoch < 4; ++epoch) {
    shuffler.draw(9, epoch, expected.data());
    CHECK(engine.orders[epoch] == expected);
  }
}

void without_shuffling_rows_stay_in_order() {
  FakeEngine engine(7);
  pn::Monitor monitor;
  pn::train(engine, plan(7, 2, 2, false), monitor);
  std::vector<std::uint32_t> expected(7);
  std::iota(expected.begin(), expected.end(), 0u);
  for (const auto& order : engine.orders) CHECK(order == expected);
}

void lowest_validation_loss_is_best() {
  const std::vector<double> validation{5.0, 3.0, 4.0, 3.0, 2.0, 2.5};
  FakeEngine engine(4);
  engine.validation = [&validation](std::size_t epoch) { return validation[epoch]; };
  engine.train_sum = [](std::size_t epoch) { return 6.0 * static_cast<double>(epoch + 1); };
  pn::Monitor monitor;
  const pn::TrainingRecord record = pn::train(engine, plan(4, 2, 6), monitor);
  CHECK_EQ(record.standing.best_epoch, 4);
  CHECK((engine.kept == std::vector<std::int64_t>{-1, 0, 1, 4}));  // an equal loss later does not replace
  CHECK(record.history.validation_loss == validation);
  CHECK_EQ(record.history.train_loss.size(), 6u);
  for (std::size_t e = 0; e < 6; ++e) {
    CHECK_EQ(record.history.train_loss[e], 3.0 * static_cast<double>(e + 1));  // the mean over two batches
    CHECK_EQ(record.history.units[e][0].dead, static_cast<std::int64_t>(e + 1));
    CHECK_EQ(record.history.units[e][0].on, 2);
    CHECK_EQ(record.history.units[e][0].mixed, 3);
  }
  CHECK_EQ(monitor.best_validation_loss.load(), 2.0);
  CHECK_EQ(monitor.validation_loss.load(), 2.5);
  CHECK(record.seconds >= 0.0);
}

void a_loss_that_is_no_number_ends_the_run() {
  for (const double bad : {kNan, kInf}) {
    for (const bool in_training : {false, true}) {
      FakeEngine engine(4);
      engine.validation = [=](std::size_t e) { return e == 2 && !in_training ? bad : 10.0 - static_cast<double>(e); };
      engine.train_sum = [=](std::size_t e) { return e == 2 && in_training ? bad : 1.0; };
      pn::Monitor monitor;
      const pn::TrainingRecord record = pn::train(engine, plan(4, 4, 50), monitor);
      CHECK(record.status == pn::Status::diverged);
      CHECK_EQ(engine.orders.size(), 3u);
      CHECK_EQ(record.history.train_loss.size(), 3u);  // the bad epoch is seen in the history
      CHECK_EQ(record.history.validation_loss.size(), 3u);
      CHECK_EQ(record.history.units.size(), 3u);
      if (!in_training) CHECK_EQ(record.standing.best_epoch, 1);
    }
  }
}

void a_run_that_never_was_finite_keeps_its_start() {
  FakeEngine engine(4);
  engine.validation = [](std::size_t) { return kNan; };
  pn::Monitor monitor;
  const pn::TrainingRecord record = pn::train(engine, plan(4, 4, 5), monitor);
  CHECK(record.status == pn::Status::diverged);
  CHECK_EQ(record.standing.best_epoch, -1);
  CHECK((engine.kept == std::vector<std::int64_t>{-1}));
}

void stopping_between_steps_keeps_finished_epochs() {
  FakeEngine engine(6);
  pn::Monitor monitor;
  engine.on_step = [&monitor](std::int64_t t) {
    monitor.stop = t == 7;
  };  // three steps an epoch: the first of the third
  const pn::TrainingRecord record = pn::train(engine, plan(6, 2, 50), monitor);
  CHECK(record.status == pn::Status::interrupted);
  CHECK_EQ(record.history.train_loss.size(), 2u);
  CHECK_EQ(record.history.validation_loss.size(), 2u);
  CHECK_EQ(record.history.units.size(), 2u);
  CHECK_EQ(monitor.steps.load(), 7);
  CHECK_EQ(monitor.epochs.load(), 2);
  CHECK_EQ(record.standing.best_epoch, 0);
}

void stopping_in_validation_drops_that_epoch() {
  FakeEngine engine(6);
  pn::Monitor monitor;
  engine.on_evaluate = [&monitor](std::size_t epoch) { monitor.stop = epoch == 1; };
  engine.validation = [](std::size_t epoch) { return epoch == 1 ? 0.0 : 1.0; };  // unfinished, so not to be believed
  const pn::TrainingRecord record = pn::train(engine, plan(6, 2, 50), monitor);
  CHECK(engine.stop_seen);
  CHECK(record.status == pn::Status::interrupted);
  CHECK_EQ(record.history.train_loss.size(), 1u);
  CHECK_EQ(record.history.validation_loss.size(), 1u);
  CHECK_EQ(record.standing.best_epoch, 0);
  CHECK((engine.kept == std::vector<std::int64_t>{-1, 0}));
}

// From the standing that a run left, the next one takes the steps, orders and best epoch that the whole run has.
void a_resumed_run_goes_on_where_it_stood() {
  const std::vector<double> validation{5.0, 3.0, 4.0, 3.5, 2.0, 2.5};
  FakeEngine whole(6), first(6), second(6);
  for (FakeEngine* engine : {&whole, &first}) {
    engine->validation = [&validation](std::size_t epoch) { return validation[epoch]; };
  }
  second.validation = [&validation](std::size_t epoch) { return validation[epoch + 3]; };
  pn::Monitor monitors[3];
  const pn::TrainingRecord expected = pn::train(whole, plan(6, 4, 6), monitors[0]);
  const pn::TrainingRecord half = pn::train(first, plan(6, 4, 3), monitors[1]);
  CHECK_EQ(half.standing.epochs, 3);
  CHECK_EQ(half.standing.best_epoch, 1);
  pn::TrainingPlan rest = plan(6, 4, 6);
  rest.start = half.standing;
  const pn::TrainingRecord record = pn::train(second, rest, monitors[2]);
  CHECK_EQ(second.orders.size(), 3u);
  for (std::size_t e = 0; e < 3; ++e) {
    CHECK(second.orders[e] == whole.orders[e + 3]);
    for (std::size_t b = 0; b < 2; ++b) CHECK_EQ(second.batches[e][b].t, whole.batches[e + 3][b].t);
  }
  CHECK((second.kept == std::vector<std::int64_t>{1}));  // not its start: the best one so far is kept elsewhere
  CHECK_EQ(record.standing.best_epoch, expected.standing.best_epoch);
  CHECK_EQ(record.standing.steps, expected.standing.steps);
  CHECK_EQ(record.standing.best_validation_loss, expected.standing.best_validation_loss);
}

void stopping_before_the_start() {
  FakeEngine engine(6);
  pn::Monitor monitor;
  monitor.stop = true;
  const pn::TrainingRecord record = pn::train(engine, plan(6, 2, 5), monitor);
  CHECK(record.status == pn::Status::interrupted);
  CHECK(engine.batches.empty() || engine.batches[0].empty());
  CHECK(record.history.train_loss.empty());
  CHECK_EQ(record.standing.best_epoch, -1);
}

}  // namespace

int main() {
  batches_cover_every_row_once();
  orders_are_the_shufflers();
  without_shuffling_rows_stay_in_order();
  lowest_validation_loss_is_best();
  a_loss_that_is_no_number_ends_the_run();
  a_run_that_never_was_finite_keeps_its_start();
  stopping_between_steps_keeps_finished_epochs();
  stopping_in_validation_drops_that_epoch();
  a_resumed_run_goes_on_where_it_stood();
  stopping_before_the_start();
  return pn::test::report();
}
