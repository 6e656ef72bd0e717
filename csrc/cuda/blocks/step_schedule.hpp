// The order of the phases in an epoch, as data: launches on the device and tests on the host run the same calls.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/blocks/step_phases.hpp"

namespace pn::cuda {

enum class Phase : std::int32_t {
  begin,
  values,
  residuals,
  update,
  gradient,
  adam,
  advance,
  sum,
  units,
  predict,
  evaluate_columns,
  evaluate_parts
};

struct PhaseCall {
  Phase phase;
  std::int32_t teams;  // of each member: the grid's x
  bool fast;           // needs fast memory
  Source source;
  std::int64_t index;  // of the piece; of the step, counted from the clock
  bool ahead;          // an update goes on to the values of the next step
};

template <class Team, class T>
PN_TEAM void run_phase(const Team& team, const StepView<T>& v, const Place& place, const PhaseCall& call) {
  if (call.phase == Phase::advance) {  // the one that writes the clock: no other thread may read it meanwhile
    if (place.y == 0) team.one([&] { *v.clock += call.index; });
    return;
  }
  const std::int64_t index = call.source == Source::train ? *v.clock + call.index : call.index;
  switch (call.phase) {
    case Phase::begin: return phase_begin(team, v, place);
    case Phase::values: break;
    case Phase::residuals: return phase_residuals(team, v, place, call.source, index);
    case Phase::update:
      phase_update(team, v, place, index);
      if (!call.ahead) return;
      break;
    case Phase::gradient: return phase_gradient(team, v, place, index);
    case Phase::adam: return phase_adam(team, v, place, index);
    case Phase::sum: return phase_sum(team, v, place, index);
    case Phase::units: return phase_units(team, v, place);
    case Phase::predict: return phase_predict(team, v, place, index);
    case Phase::evaluate_columns: return phase_evaluate_columns(team, v, place);
    case Phase::evaluate_parts: return phase_evaluate_parts(team, v, place);
    case Phase::advance: return;
  }
  phase_values(team, v, place, call.source, call.phase == Phase::update ? index + 1 : index);
}

template <class T>
inline std::int32_t value_teams(const StepView<T>& v) {
  return v.piecewise ? v.blocks : v.blocks * v.chunks;
}

inline PhaseCall begin_call() { return {Phase::begin, 1, false, Source::validation, 0, false}; }

// An epoch as equal launches of some steps each, at most `most`; the last ones may lie beyond the epoch's end, where
// phases do nothing. As few launches as there can be, and less than one step too many in each.
struct StepSplit {
  std::int64_t launches, steps;  // steps: of each launch

  static StepSplit of(std::int64_t epoch_steps, std::int64_t most) {
    const std::int64_t launches = (epoch_steps + most - 1) / most;
    return {launches, (epoch_steps + launches - 1) / launches};
  }
};

// `count` steps from the clock's on, which goes on to the one after them.
template <class T>
inline std::vector<PhaseCall> step_calls(const StepView<T>& v, std::int64_t count) {
  const auto stretches = static_cast<std::int32_t>(stretches_of(v.batch_size));
  std::vector<PhaseCall> calls;
  for (std::int64_t s = 0; s < count; ++s) {
    if (!v.piecewise || s == 0) calls.push_back({Phase::values, value_teams(v), true, Source::train, s, false});
    calls.push_back({Phase::residuals, stretches, false, Source::train, s, false});
    if (v.piecewise) {
      calls.push_back({Phase::update, v.blocks, true, Source::train, s, s + 1 < count});
    } else {
      calls.push_back({Phase::gradient, v.groups * v.chunks, true, Source::train, s, false});
      calls.push_back({Phase::adam, v.groups, true, Source::train, s, false});
    }
  }
  calls.push_back({Phase::advance, 1, false, Source::train, count, false});
  return calls;
}

template <class T>
inline std::vector<PhaseCall> validation_calls(const StepView<T>& v, std::int64_t rows) {
  const auto stretches = static_cast<std::int32_t>(stretches_of(v.piece_rows));
  std::vector<PhaseCall> calls;
  for (std::int64_t piece = 0; piece * v.piece_rows < rows; ++piece) {
    calls.push_back({Phase::values, value_teams(v), true, Source::validation, piece, false});
    calls.push_back({Phase::residuals, stretches, false, Source::validation, piece, false});
    calls.push_back({Phase::sum, 1, false, Source::validation, piece, false});
  }
  calls.push_back({Phase::units, v.groups, true, Source::validation, 0, false});
  return calls;
}

// Of single evaluations, whose one member has the rows: predictions of all, or loss and gradient, whose batch they are.
template <class T>
inline std::vector<PhaseCall> forward_calls(const StepView<T>& v, std::int64_t rows) {
  const auto stretches = static_cast<std::int32_t>(stretches_of(v.piece_rows));
  std::vector<PhaseCall> calls{begin_call()};
  for (std::int64_t piece = 0; piece * v.piece_rows < rows; ++piece) {
    calls.push_back({Phase::values, value_teams(v), true, Source::validation, piece, false});
    calls.push_back({Phase::predict, stretches, false, Source::validation, piece, false});
  }
  return calls;
}

template <class T>
inline std::vector<PhaseCall> gradient_calls(const StepView<T>& v) {
  const auto stretches = static_cast<std::int32_t>(stretches_of(v.batch_size));
  std::vector<PhaseCall> calls{{Phase::values, value_teams(v), true, Source::train, 0, false},
                               {Phase::residuals, stretches, false, Source::train, 0, false}};
  if (v.piecewise) {
    calls.push_back({Phase::evaluate_columns, v.blocks, true, Source::train, 0, false});
  } else {
    calls.push_back({Phase::gradient, v.groups * v.chunks, true, Source::train, 0, false});
    calls.push_back({Phase::evaluate_parts, v.groups, false, Source::train, 0, false});
  }
  return calls;
}

// available: fast memory of a team. Which rows of a network's step go to which team must not depend on how many members
// there are.
template <class T>
inline StepView<T> step_view(const NetworkShape& shape, bool piecewise, std::int64_t batch_size,
                             std::int64_t train_rows, std::int64_t validation_rows, std::int64_t available) {
  constexpr std::int64_t kMostTeams = 64, kLeastPiece = 1024;
  StepView<T> v{};
  v.shape = block_shape(shape);
  v.offsets = tensor_offsets(parameter_layout(shape));
  v.inputs = static_cast<std::int32_t>(shape.inputs);
  v.blocks = static_cast<std::int32_t>(shape.blocks());
  v.groups = static_cast<std::int32_t>(shape.groups());
  v.piecewise = piecewise;
  const std::int64_t tiles = (batch_size + kTilePoints - 1) / kTilePoints, most = kMostTeams / v.groups;
  v.chunks = static_cast<std::int32_t>(piecewise || most < 1 ? 1 : (tiles < most ? tiles : most));
  v.batch_size = batch_size;
  v.steps = (train_rows + batch_size - 1) / batch_size;
  const std::int64_t piece = validation_rows < kLeastPiece ? validation_rows : kLeastPiece;
  v.piece_rows = piece > batch_size ? piece : batch_size;
  measure(v, available);
  return v;
}

}  // namespace pn::cuda
