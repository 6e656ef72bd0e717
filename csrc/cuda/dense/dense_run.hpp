// One training run of a dense network as launches: a step, and an epoch's beginning and evaluation.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/adam.hpp"
#include "core/trainer.hpp"
#include "cuda/dense/adam_pass.hpp"
#include "cuda/dense/dense_pass.hpp"
#include "cuda/device/shuffle.hpp"

namespace pn::cuda {

// Of an epoch; what the host reads when it is over.
struct EpochResult {
  double train_sum;  // over the batches, of each one's mean squared error before its update
  double validation_mse;
  std::array<UnitCounts, kMaxHiddenLayers> units;
};

// Of one block; active: (layers, width).
struct BeginEpoch {
  Cursor* cursor;
  EpochResult* result;
  double* active;
  std::int64_t counts;
  std::int32_t* rest;  // (rows,) since when rows of W2 are at rest
  std::int64_t rows;

  static std::int64_t blocks() { return 1; }
  static constexpr int threads() { return kThreads; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t) const {
    team.for_each(counts, [&](std::int64_t i) { active[i] = 0.0; });
    team.for_each(rows, [&](std::int64_t i) { rest[i] = 0; });
    team.one([&] {
      cursor->step = 0;
      cursor->first = 0;
      result->train_sum = 0.0;
      result->validation_mse = 0.0;
    });
  }
};

// What an epoch's order of rows is drawn with, and the order.
struct OrderMemory {
  std::uint64_t *items, *scratch;  // as draw_order takes them
  std::uint32_t* counts;
  std::uint32_t* order;  // (rows,)

  static OrderMemory of(std::int64_t rows, Carver& carver);
};

// Of one block; the order depends on seed and epoch alone.
struct DrawOrder {
  std::uint64_t seed;
  std::uint32_t epoch;
  bool shuffle;  // else the rows stay in order
  std::int64_t rows;
  OrderMemory memory;

  static std::int64_t blocks() { return 1; }
  static constexpr int threads() { return 512; }

  template <class Team>
  PN_TEAM void operator()(const Team& team, std::int64_t) const {
    if (shuffle) {
      draw_order(team, seed, epoch, rows, memory.items, memory.scratch, memory.counts, memory.order);
    } else {
      team.for_each(rows, [&](std::int64_t i) { memory.order[i] = static_cast<std::uint32_t>(i); });
    }
  }
};

inline OrderMemory OrderMemory::of(std::int64_t rows, Carver& carver) {
  OrderMemory m{};
  for (std::uint64_t** list : {&m.items, &m.scratch})
    *list = carver.take<std::uint64_t>(Stretches::of(rows, DrawOrder::threads()).items());
  m.counts = carver.take<std::uint32_t>(std::int64_t{kDigits} * DrawOrder::threads());
  m.order = carver.take<std::uint32_t>(rows);
  return m;
}

struct DenseRunShape {
  NetworkShape network;
  PenaltyKind penalty;
  bool active;
  std::int64_t batch_size, train_rows, validation_rows;

  static constexpr std::int64_t kLeastPiece = 256, kMostPiece = 4096;
  // Rows of one forward pass of an evaluation.
  std::int64_t piece() const { return std::min(validation_rows, std::clamp(batch_size, kLeastPiece, kMostPiece)); }
  std::int64_t steps() const { return parts_of(train_rows, batch_size); }
  // Rows of W2 that may come to rest: with a penalty none, and it takes the active way to know that a gradient is 0.
  std::int64_t resting_rows() const { return active && penalty == PenaltyKind::none ? network.width : 0; }
};

// An epoch's steps as launches of graphs: some equal ones of whole batches, then one of what is left, the batch of
// fewer rows with it.
struct EpochGraphs {
  std::int64_t launches, steps;        // how many equal ones, which may be none, and steps of each
  std::int64_t last_steps, last_rows;  // of the last one: whole batches, and rows after them or 0

  // most: steps of a graph beside the batch of fewer rows.
  static EpochGraphs of(std::int64_t train_rows, std::int64_t batch_size, std::int64_t most) {
    const std::int64_t whole = train_rows / batch_size;
    const std::int64_t graphs = std::max<std::int64_t>(1, parts_of(whole, most)), steps = parts_of(whole, graphs);
    return {graphs - 1, steps, whole - (graphs - 1) * steps, train_rows % batch_size};
  }
};

// The rows, which runs may share.
template <class T>
struct DenseData {
  const T *train_x, *train_y;            // (train_rows, inputs), (train_rows,)
  const T *validation_x, *validation_y;  // (validation_rows, inputs), (validation_rows,)
};

template <class T>
struct DenseRunMemory {
  T *p, *best, *m, *v;  // (layout.size,)
  OrderMemory order;
  AdamStep<T>* scalars;  // (steps,) of the epoch
  Cursor* cursor;
  EpochResult* result;
  double* active;          // (layers, width) on how many validation rows
  std::int32_t* rest;      // (resting rows,), as RestingRows has them
  std::int32_t* may_rest;  // of the epoch
  T *x, *y;                // (batch, inputs), (batch,)
  Tensors<T> gradient;
  DenseMemory<T> passes;
  PathMemory path;

  static DenseRunMemory of(const DenseRunShape& shape, Carver& carver) {
    const ParameterLayout layout = parameter_layout(shape.network);
    DenseRunMemory r{};
    for (T** flat : {&r.p, &r.best, &r.m, &r.v}) *flat = carver.take<T>(layout.size);
    r.order = OrderMemory::of(shape.train_rows, carver);
    r.scalars = carver.take<AdamStep<T>>(shape.steps());
    r.cursor = carver.take<Cursor>(1);
    r.result = carver.take<EpochResult>(1);
    r.active = carver.take<double>(shape.network.hidden_layers * shape.network.width);
    r.rest = carver.take<std::int32_t>(shape.resting_rows());
    r.may_rest = carver.take<std::int32_t>(1);
    r.x = carver.take<T>(shape.batch_size * shape.network.inputs);
    r.y = carver.take<T>(shape.batch_size);
    const auto size = [](const Tensor& t) { return t.rows * t.columns; };
    r.gradient.w1 = carver.take<T>(size(layout.w1));
    r.gradient.b1 = carver.take<T>(size(layout.b1));
    r.gradient.w2 = shape.active ? nullptr : carver.take<T>(size(layout.w2));
    r.gradient.b2 = carver.take<T>(size(layout.b2));
    r.gradient.w3 = carver.take<T>(size(layout.output));
    r.passes = DenseMemory<T>::backward(DenseShape::of(shape.network, shape.active), shape.batch_size,
                                        std::max(shape.batch_size, shape.piece()), carver);
    if (shape.penalty == PenaltyKind::path_norm) r.path = PathMemory::of(UnitShape::of(shape.network), carver);
    return r;
  }
};

template <class T, class Launcher>
class DenseRun {
 public:
  DenseRun(const DenseRunShape& shape, const AdamSettings& adam, const Penalty& penalty, const DenseData<T>& data,
           const DenseRunMemory<T>& memory, Launcher& launcher)
      : shape_(shape), data_(data), memory_(memory), launcher_(launcher),
        pass_(DenseShape::of(shape.network, shape.active), memory.passes, launcher),
        adam_(shape.network, penalty, memory.path, {memory.rest, memory.may_rest, adam.beta1, adam.beta2}) {
    const ParameterLayout layout = parameter_layout(shape.network);
    arrays_ = {tensors_at(memory.p, tensor_offsets(layout)), tensors_at(memory.m, tensor_offsets(layout)),
               tensors_at(memory.v, tensor_offsets(layout))};
  }

  void draw_order(std::uint64_t seed, std::uint32_t epoch, bool shuffle) {
    launcher_.launch(DrawOrder{seed, epoch, shuffle, shape_.train_rows, memory_.order});
  }

  // After draw_order, and after scalars and may_rest have been filled for the epoch. Nothing derived from the
  // parameters lives longer than an epoch, so that a resumed run has the bits of the uninterrupted one.
  void begin_epoch() {
    launcher_.launch(BeginEpoch{memory_.cursor, memory_.result, memory_.active,
                                shape_.network.hidden_layers * shape_.network.width, memory_.rest,
                                shape_.resting_rows()});
    adam_.prepare(launcher_, as_const(arrays_.p));
  }

  // The next n rows of the order.
  void step(std::int64_t n) {
    const std::int64_t inputs = shape_.network.inputs;
    const DenseRunMemory<T>& m = memory_;
    launcher_.launch(
        Elements<GatherRows<T>>{{data_.train_x, data_.train_y, m.order.order, m.cursor, inputs, m.x, m.y}, n * inputs});
    pass_.forward(as_const(arrays_.p), m.x, n);
    launcher_.launch(SquaredError<T>{m.passes.output, m.y, n, inputs, n, false, &m.result->train_sum});
    const HiddenGradient<T> hidden = pass_.backward(as_const(arrays_.p), m.x, n, m.gradient);
    adam_.step(launcher_, arrays_, as_const(m.gradient), hidden, {{}, m.scalars, m.cursor});
    launcher_.launch(AdvanceCursor{m.cursor, n});
  }

  // That many whole batches, and one of last_rows where that is not 0.
  void steps(std::int64_t whole, std::int64_t last_rows) {
    for (std::int64_t s = 0; s < whole; ++s) step(shape_.batch_size);
    if (last_rows > 0) step(last_rows);
  }

  // Ends the epoch.
  void evaluate() {
    const DenseRunMemory<T>& m = memory_;
    const std::int64_t inputs = shape_.network.inputs, width = shape_.network.width, rows = shape_.validation_rows;
    adam_.settle(launcher_, arrays_, m.cursor);
    for (std::int64_t first = 0; first < rows; first += shape_.piece()) {
      const std::int64_t n = std::min(shape_.piece(), rows - first);
      pass_.forward(as_const(arrays_.p), data_.validation_x + first * inputs, n);
      for (int layer = 0; layer < shape_.network.hidden_layers; ++layer) {
        pass_.count_active(layer, n, m.active + layer * width);
      }
      launcher_.launch(SquaredError<T>{m.passes.output, data_.validation_y + first, n, inputs, rows, true,
                                       &m.result->validation_mse});
    }
    const bool relu = shape_.network.activation == Activation::relu;
    for (int layer = 0; layer < kMaxHiddenLayers; ++layer) {
      const std::int64_t units = layer < shape_.network.hidden_layers ? width : 0;
      launcher_.launch(CountUnits{m.active + layer * width, units, rows, relu, m.result->units.data() + layer});
    }
  }

 private:
  DenseRunShape shape_;
  DenseData<T> data_;
  DenseRunMemory<T> memory_;
  Launcher& launcher_;
  DensePass<T, Launcher> pass_;
  AdamPass<T, Launcher> adam_;
  AdamArrays<T> arrays_;
};

}  // namespace pn::cuda
