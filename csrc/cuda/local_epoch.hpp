// Training of a weight-shared network of blocks with one input and ReLU (LN): one team, whose fast memory holds the
// whole state, does all steps of an epoch and the validation (kernels.md, section 6).
#pragma once

#include <cstdint>

#include "cuda/member.hpp"
#include "cuda/piecewise_gradient.hpp"
#include "cuda/unit_counts.hpp"

namespace pn::cuda {

constexpr std::int32_t kCells = 1024;  // of the grid that points look up

PN_INLINE double quiet_nan() { return __builtin_nan(""); }

// What a table is built and used with, for one block at a time. Taken in the order of who gains most by fast memory.
template <class T>
struct PieceWorkspace {
  Table table;
  MomentArrays moments;
  TableScratch scratch;
  std::int32_t *small_hit, *large_hit;  // (places + 1,) for few events, and for any number
};

template <class T>
PN_INLINE PieceWorkspace<T> take_pieces(Arena& arena, const BlockShape& b) {
  PieceWorkspace<T> w;
  w.table = take_table(arena, b, kCells);
  w.moments = take_moments(arena, b);
  w.scratch = take_table_scratch(arena, b);
  w.small_hit = arena.take<std::int32_t>(2 * w.table.small_capacity + 2);
  const std::int32_t most = most_events(b);
  w.large_hit = most > w.table.small_capacity ? arena.take_slow<std::int32_t>(2 * most + 2) : w.small_hit;
  return w;
}

template <class T>
PN_INLINE std::int32_t* hits_of(const PieceWorkspace<T>& w) {
  return w.table.sizes[kEvents] <= w.table.small_capacity ? w.small_hit : w.large_hit;
}

// Marks the place of x as seen and returns the value there.
template <class Team, class T>
PN_TEAM double value_and_mark(const Team& team, const Lookup<T>& lookup, T x, std::int32_t* hit) {
  const std::int32_t place = lookup.place(x);
  team.mark(hit + place);
  return lookup.line[place].first * static_cast<double>(x) + lookup.line[place].second;
}

// Gradient from residuals r(i) of points x(i), i = 0 .. count-1, none of them larger than `largest`. The moments are 0
// beforehand. NaN where a number is not finite. Begins and ends with a sync.
template <class Team, class T, class X, class R>
PN_TEAM void gradient_of_points(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                                const PieceWorkspace<T>& w, const piecewise::Range& range, std::int32_t count, X x, R r,
                                double largest, const Tensors<T>& gradient) {
  Moments* const moments = moments_of(w.moments, w.table);
  const std::int32_t places = places_of(w.table);
  const MomentScales scales = moment_scales(largest, range, count);
  team.sync();
  add_moments(team, Lookup<T>(w.table, range, kCells), places + 1, count, x, r, scales, moments);
  sum_moments(team, places, moments);
  PiecewiseGradient<Team, T>(team, shape, p, w.table, moments, scales, gradient).run();
}

// Ends without a sync.
template <class Team, class T>
PN_TEAM void fill_nan(const Team& team, const BlockShape& b, const Tensors<T>& g) {
  const T nan = static_cast<T>(quiet_nan());
  const auto fill = [&](T* values, std::int32_t count) {
    team.for_each(count, [&](std::int32_t i) { values[i] = nan; });
  };
  fill(g.w1, b.width * b.inputs);
  fill(g.b1, b.width);
  if (b.hidden_layers == 2) fill(g.w2, b.width * b.width);
  if (b.hidden_layers == 2) fill(g.b2, b.width);
  fill(g.w3, b.width);
}

// Some rows of a data set.
template <class T>
struct RowSlice {
  DeviceRows<T> rows;
  const std::uint32_t* order;  // null: rows first ..
  std::int64_t first;
  std::int32_t count, inputs;

  PN_TEAM std::int64_t row(std::int32_t b) const {
    return order != nullptr ? static_cast<std::int64_t>(order[first + b]) : first + b;
  }
  PN_TEAM T x(std::int32_t b, std::int32_t input) const { return rows.x[row(b) * inputs + input]; }
  PN_TEAM double y(std::int32_t b) const { return static_cast<double>(rows.y[row(b)]); }
};

// Loss and gradient of a weight-shared network; residual: (count,) is scratch. Returns the mean squared error. Begins
// and ends with a sync.
template <class Team, class T>
PN_TEAM double local_gradient(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                              const PieceWorkspace<T>& w, const RowSlice<T>& batch, double* residual,
                              const Tensors<T>& gradient) {
  const piecewise::Range range = batch.rows.ranges[0];
  if (!TableBuilder<Team, T>(team, shape, p, range, w.table, w.scratch).run(kCells)) {
    fill_nan(team, shape, gradient);
    team.sync();
    return quiet_nan();
  }
  const Lookup<T> lookup(w.table, range, kCells);
  clear_moments(team, w.table, moments_of(w.moments, w.table));
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

// Sum of squared errors of a weight-shared network over all rows, and its units' counts (added to report.units).
template <class Team, class T>
PN_TEAM double local_validation(const Team& team, const BlockShape& shape, const Tensors<const T>& p,
                                const PieceWorkspace<T>& w, const DeviceRows<T>& rows, std::int32_t inputs,
                                UnitCounts* units) {
  const piecewise::Range range = rows.ranges[0];
  if (!TableBuilder<Team, T>(team, shape, p, range, w.table, w.scratch).run(kCells)) {
    team.one([&] {
      for (std::int32_t layer = 0; layer < shape.hidden_layers; ++layer) units[layer].dead += shape.width;
    });
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
  PieceWorkspace<T> pieces;
  PathVectors path;
};

template <class T>
PN_INLINE LocalWorkspace<T> take_local(Arena& arena, const BlockShape& b, std::int64_t batch_size) {
  const std::int64_t size = block_size(b);
  LocalWorkspace<T> w;
  w.step = arena.take<AdamStep<T>>(1);
  w.p = arena.take<T>(size);
  w.residual = arena.take<double>(batch_size);
  w.pieces = take_pieces<T>(arena, b);
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
