// What the kernels know of one run of an ensemble.
#pragma once

#include <cstdint>

#include "core/adam.hpp"
#include "core/piecewise_linear.hpp"
#include "core/trainer.hpp"
#include "cuda/blocks/adam_block.hpp"

namespace pn::cuda {

// Rows of a data set on the device.
template <class T>
struct DeviceRows {
  const T* x;                      // x: (count, inputs)
  const T* y;                      // y: (count,) scaled target
  const piecewise::Range* ranges;  // (groups,) of the inputs; null where no kernel asks for them
  std::int64_t count;
};

// Lies in device memory, one a member; its arrays too.
template <class T>
struct Member {
  T *parameters, *best, *m, *v;  // (layout.size,)
  DeviceRows<T> train, validation;
  AdamSettings adam;
  PenaltyStrengths<T> penalty;
  std::uint64_t seed;
  std::int32_t shuffle;
  std::uint32_t* order;  // order: (train.count,) of the epoch
};

// An entry of the list of the members that take part in an epoch.
struct Turn {
  std::int32_t member;
  std::uint32_t epoch;
  std::int64_t steps;  // taken before the epoch
};

// What an epoch reports of a member.
struct EpochReport {
  double train_sum;       // as MemberResult's
  double validation_sum;  // of squared errors
  UnitCounts units[kMaxHiddenLayers];
};

}  // namespace pn::cuda
