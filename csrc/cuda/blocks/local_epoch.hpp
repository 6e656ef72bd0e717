// Training of a weight-shared network of blocks with one input and ReLU (LN): one team, whose fast memory holds the
// whole state, does all steps of an epoch and the validation (kernels.md, section 6).
#pragma once

#include <cstdint>

#include "cuda/blocks/piecewise_block.hpp"

namespace pn::cuda {

// Loss and gradient of a weight-shared network; residual: (count,) is scratch. Returns the mean squared error. Begins
// and ends with a sync.
template <class Team, class T>
PN_TEAM double local_gradient(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                              const PieceWorkspace& w, const RowSlice<T>& batch, double* residual,
                              const Tensors<T>& gradient) {
  const piecewise::Range range = batch.rows.ranges[0];
  if (!TableBuilder<Team, T>(team, shape, p, range, w.table, w.scratch).run(kCells)) {
    fill_nan(team, shape, gradient);
    team.sync();
    return quiet_nan();
  }
  const Lookup<T> lookup(w.table, range, kCells);
  clear_moments(team, moments_of(w.moments, w.table));
  const double inverse_inputs = 1.0 / batch.inputs;
  double squares = 0.0, largest = 0.0;
  team.row_sums(
      batch.count, batch.inputs, [&](std::int32_t b, std::int32_t i) { return Pair{lookup.value(batch.x(b, i)), 0.0}; },
      [&](std::int32_t b, const Pair& sum) {
        const double error = sum.first * inverse_inputs - batch.y(b);
        residual[b] = error;
        squares += error * error;
        largest = larger(largest, error < 0.0 ? -error : error);
      });
  const double loss = team.total(squares) / batch.count;
  const double factor = 2.0 / (static_cast<double>(batch.count) * batch.inputs);
  const double most = team.most(largest) * factor;
  if (!finite_moments(most, range)) {
    fill_nan(team, shape, gradient);
    team.sync();
    return loss;
  }
  gradient_of_points(
      team, shape, p, w, range, batch.count * batch.inputs,
      [&](std::int32_t i) { return batch.x(i / batch.inputs, i % batch.inputs); },
      [&](std::int32_t i) { return residual[i / batch.inputs] * factor; }, most, gradient);
  return loss;
}

// Predictions of a weight-shared network at some rows.
template <class Team, class T>
PN_TEAM void local_forward(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                           const PieceWorkspace& w, const RowSlice<T>& rows, T* prediction) {
  const piecewise::Range range = rows.rows.ranges[0];
  const bool finite = TableBuilder<Team, T>(team, shape, p, range, w.table, w.scratch).run(kCells);
  if (!finite) {
    team.for_each(rows.count, [&](std::int32_t b) { prediction[rows.first + b] = static_cast<T>(quiet_nan()); });
    return;
  }
  const Lookup<T> lookup(w.table, range, kCells);
  team.row_sums(
      rows.count, rows.inputs, [&](std::int32_t b, std::int32_t i) { return Pair{lookup.value(rows.x(b, i)), 0.0}; },
      [&](std::int32_t b, const Pair& sum) { prediction[rows.first + b] = static_cast<T>(sum.first / rows.inputs); });
}

// Sum of squared errors of a weight-shared network over all rows, and its units' counts (added to report.units).
template <class Team, class T>
PN_TEAM double local_validation(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                                const PieceWorkspace& w, const DeviceRows<T>& rows, std::int32_t inputs,
                                UnitCounts* units) {
  const piecewise::Range range = rows.ranges[0];
  if (!TableBuilder<Team, T>(team, shape, p, range, w.table, w.scratch).run(kCells)) {
    count_all_dead(team, shape, units);
    return quiet_nan();
  }
  const Lookup<T> lookup(w.table, range, kCells);
  std::int32_t* const hit = hits_of(w);
  team.for_each(places_of(w.table) + 1, [&](std::int32_t i) { hit[i] = 0; });
  team.sync();
  const double inverse_inputs = 1.0 / inputs;
  double squares = 0.0;
  team.row_sums(
      rows.count, inputs,
      [&](std::int64_t b, std::int32_t i) {
        return Pair{value_and_mark(team, lookup, rows.x[b * inputs + i], hit), 0.0};
      },
      [&](std::int64_t b, const Pair& sum) {
        const double error = sum.first * inverse_inputs - static_cast<double>(rows.y[b]);
        squares += error * error;
      });
  const double total = team.total(squares);
  count_units(team, shape, w.table, hit, units);
  return total;
}

template <class T>
struct LocalWorkspace {
  AdamStep<T>* step;
  T *p, *gradient, *m, *v;  // (block_size,)
  double* residual;         // (batch_size,)
  PieceWorkspace pieces;
  PathVectors path;
};

template <class T>
PN_INLINE LocalWorkspace<T> take_local(Arena& arena, const BlockShape& b, std::int64_t batch_size) {
  const std::int64_t size = block_size(b);
  LocalWorkspace<T> w;
  w.step = arena.take<AdamStep<T>>(1);
  w.p = arena.take<T>(size);
  w.residual = arena.take<double>(batch_size);
  w.pieces = take_pieces(arena, arena, b);
  w.gradient = arena.take<T>(size);
  w.m = arena.take<T>(size);
  w.v = arena.take<T>(size);
  w.path = take_path_vectors(arena, b);
  return w;
}

struct EpochSteps {
  std::int64_t batch_size;
  std::int64_t first, end;  // steps of the epoch to do now
  bool validate;            // afterwards
};

// Steps of an epoch of one member.
template <class Team, class T>
PN_TEAM void local_epoch(const Team& team, const BlockShape& shape, std::int32_t inputs, const Member<T>& member,
                         const Turn& turn, const EpochSteps& steps, const LocalWorkspace<T>& w, EpochReport& report) {
  const auto size = static_cast<std::int32_t>(block_size(shape));
  team.for_each(size, [&](std::int32_t i) {
    w.p[i] = member.parameters[i];
    w.m[i] = member.m[i];
    w.v[i] = member.v[i];
  });
  const Tensors<T> p = packed_tensors(w.p, shape), gradient = packed_tensors(w.gradient, shape);
  const AdamBlock<T> adam{p, packed_tensors(w.m, shape), packed_tensors(w.v, shape), as_const(gradient)};
  double sum = steps.first == 0 ? 0.0 : report.train_sum;
  for (std::int64_t s = steps.first; s < steps.end; ++s) {
    const std::int64_t first = s * steps.batch_size, left = member.train.count - first;
    const RowSlice<T> batch{member.train, member.order, first,
                            static_cast<std::int32_t>(left < steps.batch_size ? left : steps.batch_size), inputs};
    team.one([&] { *w.step = adam_step<T>(member.adam, turn.steps + s + 1); });
    sum += local_gradient(team, shape, as_const(p), w.pieces, batch, w.residual, gradient);
    adam_block(team, shape, adam, *w.step, member.penalty, w.path);
  }
  team.for_each(size, [&](std::int32_t i) {
    member.parameters[i] = w.p[i];
    member.m[i] = w.m[i];
    member.v[i] = w.v[i];
  });
  team.one([&] {
    report.train_sum = sum;
    for (UnitCounts& layer : report.units) layer = {};
  });
  if (!steps.validate) return;
  const double squares = local_validation(team, shape, as_const(p), w.pieces, member.validation, inputs, report.units);
  team.one([&] { report.validation_sum = squares; });
}

}  // namespace pn::cuda
