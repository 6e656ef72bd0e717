// The phases of a step as the launches see them: which member, block and rows a team has, and where its memory lies.
// A launch is a grid of teams (x, y): y counts the members that take part in the epoch, x is the phase's own.
#pragma once

#include <cstdint>

#include "cuda/blocks/block_step.hpp"
#include "cuda/blocks/direct_block.hpp"
#include "cuda/tensors.hpp"

namespace pn::cuda {

enum class Source : std::int32_t { train, validation };

// Where single evaluations leave what they find.
template <class T>
struct EvaluationResult {
  T* prediction;  // (rows,)
  Tensors<T> gradient;
  double* loss;  // += the mean squared error
};

// Everything that the phases need to know, passed by value.
template <class T>
struct StepView {
  BlockShape shape;
  TensorOffsets offsets;
  std::int32_t inputs, blocks, groups;
  bool piecewise;                  // else direct
  std::int32_t chunks;             // of the rows, in the direct kernel's phases
  std::int64_t batch_size, steps;  // of an epoch
  std::int64_t piece_rows;         // of the validation; at least batch_size
  const Member<T>* members;        // (members,)
  const Turn* turns;               // (turn_count,)
  const std::int32_t* turn_count;
  EpochReport* reports;  // (turns,)
  std::int64_t* clock;   // the first step of the launches in hand
  char* memory;          // (members, member_bytes)
  std::int64_t member_bytes, block_bytes, lasting_bytes, team_bytes, fast_bytes;
  EvaluationResult<T> result;  // of single evaluations
};

// A member's working memory, but for that of blocks and teams, which follows it.
template <class T>
struct StepMemory {
  StepExchange exchange;
  std::int32_t* finite;  // (blocks,) piecewise: whether a block's parameters are
  std::int32_t* seen;    // (groups, 2, layers, width) direct: which units were seen active, inactive
  T* gradient;           // (groups, chunks, block_size) direct
  char* blocks;          // (blocks, block_bytes) piecewise
  char* teams;           // (blocks * chunks, team_bytes) direct
};

template <class T>
PN_INLINE StepMemory<T> take_step(Arena& arena, const StepView<T>& v) {
  StepMemory<T> m{};
  m.exchange.stride = v.piece_rows;
  m.exchange.outputs = arena.take<double>(v.blocks * v.piece_rows);
  m.exchange.residual = arena.take<double>(v.piece_rows);
  m.exchange.squares = arena.take<double>(stretches_of(v.piece_rows));
  m.exchange.largest = arena.take<double>(stretches_of(v.piece_rows));
  if (v.piecewise) {
    m.finite = arena.take<std::int32_t>(v.blocks);
    m.blocks = arena.take<char>(v.blocks * v.block_bytes);
  } else {
    m.seen = arena.take<std::int32_t>(2 * static_cast<std::int64_t>(v.groups) * v.shape.hidden_layers * v.shape.width);
    m.gradient = arena.take<T>(v.groups * v.chunks * block_size(v.shape));
    m.teams = arena.take<char>(static_cast<std::int64_t>(v.blocks) * v.chunks * v.team_bytes);
  }
  return m;
}

// What a team that updates a block uses.
template <class T>
struct UpdateWorkspace {
  AdamStep<T>* step;
  T* gradient;  // (block_size,) piecewise
  PathVectors path;
};

template <class T>
PN_INLINE UpdateWorkspace<T> take_update(Arena& arena, const StepView<T>& v) {
  UpdateWorkspace<T> w{};
  w.step = arena.take<AdamStep<T>>(1);
  if (v.piecewise) w.gradient = arena.take<T>(block_size(v.shape));
  w.path = take_path_vectors(arena, v.shape);
  return w;
}

// All that a team of the piecewise-linear kernel uses.
template <class T>
struct ColumnWorkspace {
  PieceWorkspace pieces;
  UpdateWorkspace<T> update;
};

template <class T>
PN_INLINE ColumnWorkspace<T> take_column(Arena& lasting, Arena& arena, const StepView<T>& v) {
  ColumnWorkspace<T> w{};
  w.pieces = take_pieces(lasting, arena, v.shape);
  w.update = take_update(arena, v);
  return w;
}

template <class T>
struct TileUpdateWorkspace {
  TileWorkspace<T> tile;
  UpdateWorkspace<T> update;
};

template <class T>
PN_INLINE TileUpdateWorkspace<T> take_tile_update(Arena& arena, const StepView<T>& v) {
  TileUpdateWorkspace<T> w{};
  w.tile = take_tile<T>(arena, v.shape);
  w.update = take_update(arena, v);
  return w;
}

// Fills the sizes of the view's memory. available: the most that may be fast.
template <class T>
inline void measure(StepView<T>& v, std::int64_t available) {
  v.block_bytes = v.lasting_bytes = v.team_bytes = 0;
  Arena lasting(nullptr, 0, nullptr), arena(nullptr, available, nullptr);
  if (v.piecewise) {
    take_column(lasting, arena, v);
    v.lasting_bytes = lasting.slow_used();
    v.block_bytes = v.lasting_bytes + arena.slow_used();
  } else {
    take_tile_update(arena, v);
    v.team_bytes = arena.slow_used();
  }
  v.fast_bytes = arena.fast_used();  // with no more than this, everything falls to the same place
  Arena member(nullptr, 0, nullptr);
  take_step(member, v);
  v.member_bytes = (member.slow_used() + 255) / 256 * 256;
}

// A team's place in the grid, and its fast memory.
struct Place {
  std::int32_t x, y;
  char* fast;
};

// What a team finds there.
template <class T>
struct Seat {
  Turn turn;
  const Member<T>& member;
  StepMemory<T> memory;
  EpochReport& report;

  PN_TEAM Seat(const StepView<T>& v, const Place& place)
      : turn(v.turns[place.y]), member(v.members[turn.member]), report(v.reports[place.y]) {
    Arena arena(nullptr, 0, v.memory + turn.member * v.member_bytes);
    memory = take_step(arena, v);
  }

  PN_TEAM Tensors<T> tensors(const StepView<T>& v, T* flat, std::int32_t group) const {
    return group_tensors(tensors_at(flat, v.offsets), v.shape, group);
  }
  PN_TEAM Tensors<const T> parameters(const StepView<T>& v, std::int32_t group) const {
    return as_const(tensors(v, member.parameters, group));
  }
  PN_TEAM ColumnWorkspace<T> column(const StepView<T>& v, const Place& place) const {
    char* const own = memory.blocks + place.x * v.block_bytes;
    Arena lasting(nullptr, 0, own), arena(place.fast, v.fast_bytes, own + v.lasting_bytes);
    return take_column(lasting, arena, v);
  }
  PN_TEAM TileUpdateWorkspace<T> tile(const StepView<T>& v, const Place& place) const {
    Arena arena(place.fast, v.fast_bytes, memory.teams + place.x * v.team_bytes);
    return take_tile_update(arena, v);
  }
};

// Step number `index` of the epoch, or piece number `index` of the validation rows. No rows: nothing is left to do.
template <class T>
PN_TEAM RowSlice<T> slice(const StepView<T>& v, const Member<T>& member, Source source, std::int64_t index) {
  const bool train = source == Source::train;
  const DeviceRows<T>& rows = train ? member.train : member.validation;
  const std::int64_t size = train ? v.batch_size : v.piece_rows, first = index * size, left = rows.count - first;
  const std::int64_t count = left < size ? left : size;
  return {rows, train ? member.order : nullptr, first, static_cast<std::int32_t>(count > 0 ? count : 0), v.inputs};
}

PN_INLINE RowSpan chunk_span(std::int32_t rows, std::int32_t chunk, std::int32_t chunks) {
  const std::int64_t all = rows;
  return {static_cast<std::int32_t>(all * chunk / chunks), static_cast<std::int32_t>(all * (chunk + 1) / chunks)};
}

template <class T>
PN_TEAM SeenUnits seen_of(const StepView<T>& v, const StepMemory<T>& memory, std::int32_t group) {
  const std::int32_t size = v.shape.hidden_layers * v.shape.width;
  std::int32_t* const positive = memory.seen + static_cast<std::int64_t>(group) * 2 * size;
  return {positive, positive + size};
}

// x: block (piecewise), or block * chunks + chunk (direct).
template <class Team, class T>
PN_TEAM void phase_values(const Team& team, const StepView<T>& v, const Place& place, Source source,
                          std::int64_t index) {
  const Seat<T> seat(v, place);
  const RowSlice<T> rows = slice(v, seat.member, source, index);
  if (rows.count == 0) return;
  const bool validation = source == Source::validation;
  if (v.piecewise) {
    const std::int32_t block = place.x;
    const ColumnWorkspace<T> w = seat.column(v, place);
    column_values(team, v.shape, seat.parameters(v, block), w.pieces, rows, block, !validation || index == 0,
                  validation, seat.memory.finite + block,
                  seat.memory.exchange.outputs + block * seat.memory.exchange.stride);
    return;
  }
  const std::int32_t block = place.x / v.chunks, group = v.groups == 1 ? 0 : block;
  const TileUpdateWorkspace<T> w = seat.tile(v, place);
  direct_values(team, v.shape, seat.parameters(v, group), w.tile, rows,
                chunk_span(rows.count, place.x % v.chunks, v.chunks), block * v.shape.inputs,
                validation ? seen_of(v, seat.memory, group) : SeenUnits{nullptr, nullptr},
                seat.memory.exchange.outputs + block * seat.memory.exchange.stride);
}

// x: stretch of rows.
template <class Team, class T>
PN_TEAM void phase_residuals(const Team& team, const StepView<T>& v, const Place& place, Source source,
                             std::int64_t index) {
  const Seat<T> seat(v, place);
  const RowSlice<T> rows = slice(v, seat.member, source, index);
  if (place.x >= stretches_of(rows.count)) return;
  join_outputs(team, rows, v.blocks, place.x, seat.memory.exchange);
}

template <class Team, class T>
PN_TEAM void adam_of_group(const Team& team, const StepView<T>& v, const Seat<T>& seat, std::int32_t group,
                           std::int64_t step, const UpdateWorkspace<T>& w, T* gradient) {
  team.one([&] { *w.step = adam_step<T>(seat.member.adam, seat.turn.steps + step + 1); });
  const AdamBlock<T> a{seat.tensors(v, seat.member.parameters, group), seat.tensors(v, seat.member.m, group),
                       seat.tensors(v, seat.member.v, group), as_const(packed_tensors(gradient, v.shape))};
  team.sync();
  adam_block(team, v.shape, a, *w.step, seat.member.penalty, w.path);
}

template <class Team, class T>
PN_TEAM void add_batch_loss(const Team& team, const Seat<T>& seat, std::int32_t rows) {
  team.one([&] { seat.report.train_sum += sum_of_squares(seat.memory.exchange, rows) / rows; });
}

// Piecewise. x: block. Ends with a sync.
template <class Team, class T>
PN_TEAM void phase_update(const Team& team, const StepView<T>& v, const Place& place, std::int64_t step) {
  const Seat<T> seat(v, place);
  const RowSlice<T> rows = slice(v, seat.member, Source::train, step);
  if (rows.count == 0) return;
  const std::int32_t block = place.x;
  const ColumnWorkspace<T> w = seat.column(v, place);
  const Tensors<const T> p = seat.parameters(v, block);
  column_gradient(team, v.shape, p, w.pieces, rows, block, seat.memory.finite + block, seat.memory.exchange,
                  packed_tensors(w.update.gradient, v.shape));
  adam_of_group(team, v, seat, block, step, w.update, w.update.gradient);
  if (block == 0) add_batch_loss(team, seat, rows.count);
}

// Direct. x: group * chunks + chunk.
template <class Team, class T>
PN_TEAM void phase_gradient(const Team& team, const StepView<T>& v, const Place& place, std::int64_t step) {
  const Seat<T> seat(v, place);
  const RowSlice<T> rows = slice(v, seat.member, Source::train, step);
  if (rows.count == 0) return;
  const std::int32_t group = place.x / v.chunks;
  const BlockSpan blocks = v.groups == 1 ? BlockSpan{0, v.blocks} : BlockSpan{group, group + 1};
  const TileUpdateWorkspace<T> w = seat.tile(v, place);
  direct_gradient(team, v.shape, seat.parameters(v, group), w.tile, rows,
                  chunk_span(rows.count, place.x % v.chunks, v.chunks), blocks, seat.memory.exchange.residual,
                  packed_tensors(seat.memory.gradient + place.x * block_size(v.shape), v.shape));
}

// Direct. x: group.
template <class Team, class T>
PN_TEAM void phase_adam(const Team& team, const StepView<T>& v, const Place& place, std::int64_t step) {
  const Seat<T> seat(v, place);
  const RowSlice<T> rows = slice(v, seat.member, Source::train, step);
  if (rows.count == 0) return;
  const std::int32_t group = place.x;
  T* const gradient = seat.memory.gradient + group * v.chunks * block_size(v.shape);
  const TileUpdateWorkspace<T> w = seat.tile(v, place);
  join_parts(team, v.shape, v.chunks, gradient);
  adam_of_group(team, v, seat, group, step, w.update, gradient);
  if (group == 0) add_batch_loss(team, seat, rows.count);
}

template <class Team, class T>
PN_TEAM void add_evaluation_loss(const Team& team, const StepView<T>& v, const Seat<T>& seat, std::int32_t rows) {
  team.one([&] { *v.result.loss += sum_of_squares(seat.memory.exchange, rows) / rows; });
}

// An evaluation's predictions. x: stretch of rows.
template <class Team, class T>
PN_TEAM void phase_predict(const Team& team, const StepView<T>& v, const Place& place, std::int64_t piece) {
  const Seat<T> seat(v, place);
  const RowSlice<T> rows = slice(v, seat.member, Source::validation, piece);
  const std::int32_t first = place.x * kStretchRows, left = rows.count - first;
  const StepExchange& e = seat.memory.exchange;
  team.for_each(left < kStretchRows ? left : kStretchRows, [&](std::int32_t i) {
    double sum = 0.0;
    for (std::int32_t block = 0; block < v.blocks; ++block) sum += e.outputs[block * e.stride + first + i];
    v.result.prediction[rows.first + first + i] = static_cast<T>(sum / v.inputs);
  });
}

// An evaluation's gradient. Piecewise. x: block.
template <class Team, class T>
PN_TEAM void phase_evaluate_columns(const Team& team, const StepView<T>& v, const Place& place) {
  const Seat<T> seat(v, place);
  const RowSlice<T> rows = slice(v, seat.member, Source::train, 0);
  const ColumnWorkspace<T> w = seat.column(v, place);
  column_gradient(team, v.shape, seat.parameters(v, place.x), w.pieces, rows, place.x, seat.memory.finite + place.x,
                  seat.memory.exchange, group_tensors(v.result.gradient, v.shape, place.x));
  if (place.x == 0) add_evaluation_loss(team, v, seat, rows.count);
}

// The same, after phase_gradient. Direct. x: group.
template <class Team, class T>
PN_TEAM void phase_evaluate_parts(const Team& team, const StepView<T>& v, const Place& place) {
  const Seat<T> seat(v, place);
  T* const sum = seat.memory.gradient + place.x * v.chunks * block_size(v.shape);
  join_parts(team, v.shape, v.chunks, sum);
  const Tensors<T> from = packed_tensors(sum, v.shape), to = group_tensors(v.result.gradient, v.shape, place.x);
  const auto copy = [&](const T* source, T* target, std::int32_t count) {
    team.for_each(count, [&](std::int32_t i) { target[i] = source[i]; });
  };
  copy(from.w1, to.w1, v.shape.width * v.shape.inputs);
  copy(from.b1, to.b1, v.shape.width);
  if (v.shape.hidden_layers == 2) copy(from.w2, to.w2, v.shape.width * v.shape.width);
  if (v.shape.hidden_layers == 2) copy(from.b2, to.b2, v.shape.width);
  copy(from.w3, to.w3, v.shape.width);
  const std::int32_t rows = slice(v, seat.member, Source::train, 0).count;
  if (place.x == 0) add_evaluation_loss(team, v, seat, rows);
}

// Before an epoch. x: 0.
template <class Team, class T>
PN_TEAM void phase_begin(const Team& team, const StepView<T>& v, const Place& place) {
  const Seat<T> seat(v, place);
  team.one([&] { seat.report = EpochReport{}; });
  if (v.piecewise) return;
  team.for_each(2 * v.groups * v.shape.hidden_layers * v.shape.width, [&](std::int32_t i) { seat.memory.seen[i] = 0; });
}

// After a piece of the validation. x: 0.
template <class Team, class T>
PN_TEAM void phase_sum(const Team& team, const StepView<T>& v, const Place& place, std::int64_t piece) {
  const Seat<T> seat(v, place);
  const RowSlice<T> rows = slice(v, seat.member, Source::validation, piece);
  team.one([&] { seat.report.validation_sum += sum_of_squares(seat.memory.exchange, rows.count); });
}

// After the validation. x: group.
template <class Team, class T>
PN_TEAM void phase_units(const Team& team, const StepView<T>& v, const Place& place) {
  const Seat<T> seat(v, place);
  if (!v.piecewise) {
    count_seen(team, v.shape, seen_of(v, seat.memory, place.x), seat.report.units);
    return;
  }
  const ColumnWorkspace<T> w = seat.column(v, place);
  if (seat.memory.finite[place.x] != 0) {
    count_units(team, v.shape, w.pieces.table, hits_of(w.pieces), seat.report.units);
  } else {
    count_all_dead(team, v.shape, seat.report.units);
  }
}

}  // namespace pn::cuda
