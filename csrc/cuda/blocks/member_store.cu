#include "cuda/blocks/member_store.hpp"

#include "core/penalty_gradient.hpp"
#include "cuda/device/shuffle.hpp"

namespace pn::cuda {
namespace {

constexpr int kOrderThreads = 512, kRangeThreads = 256;
constexpr double kMost = 1.7976931348623157e308;

std::int64_t order_items(std::int64_t rows) { return Stretches::of(rows, kOrderThreads).items(); }

// Of the members that take part: those that do not shuffle keep their rows in order.
template <class T>
__global__ void __launch_bounds__(kOrderThreads)
    draw_orders(const Member<T>* members, const Turn* turns, std::uint64_t* items) {
  __shared__ double scratch[DeviceTeam::kScratch];
  __shared__ std::uint32_t counts[kDigits * kOrderThreads];
  const DeviceTeam team(scratch);
  const Turn turn = turns[blockIdx.x];
  const Member<T>& member = members[turn.member];
  const std::int64_t rows = member.train.count;
  if (member.shuffle == 0) {
    team.for_each(rows, [&](std::int64_t i) { member.order[i] = static_cast<std::uint32_t>(i); });
    return;
  }
  const std::int64_t count = Stretches::of(rows, kOrderThreads).items();
  std::uint64_t* const own = items + turn.member * 2 * count;
  draw_order(team, member.seed, turn.epoch, rows, own, own + count, counts, member.order);
}

// One block a group of columns. Exact, whatever the order.
template <class T>
__global__ void __launch_bounds__(kRangeThreads)
    range_kernel(const T* x, std::int64_t rows, std::int32_t inputs, std::int32_t groups, piecewise::Range* ranges) {
  __shared__ double lows[kRangeThreads], highs[kRangeThreads];
  const std::int32_t group = static_cast<std::int32_t>(blockIdx.x);
  const std::int64_t count = groups == 1 ? rows * inputs : rows, stride = groups == 1 ? 1 : inputs;
  double low = kMost, high = -kMost;
  for (std::int64_t i = threadIdx.x; i < count; i += kRangeThreads) {
    const auto value = static_cast<double>(x[i * stride + group]);
    if (!(value - value == 0.0)) continue;
    low = value < low ? value : low;
    high = value > high ? value : high;
  }
  lows[threadIdx.x] = low;
  highs[threadIdx.x] = high;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int t = 1; t < kRangeThreads; ++t) {
    low = lows[t] < low ? lows[t] : low;
    high = highs[t] > high ? highs[t] : high;
  }
  ranges[group] = piecewise::range_around(low, high);
}

template <class T>
__global__ void copy_best(const Member<T>* members, const Turn* turns, std::int64_t parameters) {
  const Member<T>& member = members[turns[blockIdx.y].member];
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < parameters) member.best[i] = member.parameters[i];
}

}  // namespace

template <class T>
void find_ranges(const T* x, std::int64_t rows, std::int32_t inputs, std::int32_t groups, piecewise::Range* ranges,
                 cudaStream_t stream) {
  launch_kernel("launching the search for the data's range", stream, {static_cast<unsigned>(groups), kRangeThreads},
                range_kernel<T>, x, rows, inputs, groups, ranges);
}

template <class T>
MemberStore<T>::MemberStore(const EnsembleSettings& settings, const std::vector<MemberSettings<T>>& members,
                            bool ranges, cudaStream_t stream)
    : settings_(settings), stream_(stream), parameters_(parameter_layout(settings.shape).size) {
  const auto count = static_cast<std::int64_t>(members.size());
  members_ = DeviceBuffer<Member<T>>(count);
  arrays_ = DeviceBuffer<T>(count * 4 * parameters_);
  orders_ = DeviceBuffer<std::uint32_t>(count * settings.train_rows);
  items_ = DeviceBuffer<std::uint64_t>(count * 2 * order_items(settings.train_rows));
  turns_ = DeviceBuffer<Turn>(count);
  turn_count_ = DeviceBuffer<std::int32_t>(1);
  reports_ = DeviceBuffer<EpochReport>(count);
  host_turns_ = PinnedBuffer<Turn>(count);
  host_turn_count_ = PinnedBuffer<std::int32_t>(1);
  host_reports_ = PinnedBuffer<EpochReport>(count);
  fill_members(members, ranges);
}

template <class T>
void MemberStore<T>::fill_members(const std::vector<MemberSettings<T>>& members, bool ranges) {
  arrays_.zero(stream_);
  for (std::size_t i = 0; i < members.size(); ++i) {
    const MemberSettings<T>& s = members[i];
    const std::int64_t first = static_cast<std::int64_t>(i) * 4 * parameters_;
    const T* const sources[] = {s.initial, s.best != nullptr ? s.best : s.initial, s.m, s.v};
    for (std::int64_t array = 0; array < 4; ++array) {
      if (sources[array] != nullptr) arrays_.upload(sources[array], first + array * parameters_, parameters_, stream_);
    }
    T* const own = arrays_.data() + first;
    host_.push_back({own, own + parameters_, own + 2 * parameters_, own + 3 * parameters_,
                     rows(s.train_x, s.train_y, settings_.train_rows, ranges),
                     rows(s.validation_x, s.validation_y, settings_.validation_rows, ranges), s.adam,
                     penalty_strengths<T>(s.penalty, path_norm_factor(settings_.shape)), s.seed, s.shuffle ? 1 : 0,
                     orders_.data() + static_cast<std::int64_t>(i) * settings_.train_rows});
  }
  members_.upload(host_.data(), 0, size(), stream_);
  check(cudaStreamSynchronize(stream_), "copying the data to the device");
}

template <class T>
DeviceRows<T> MemberStore<T>::rows(const T* x, const T* y, std::int64_t count, bool ranges) {
  const auto known = known_.find({x, y, count});
  if (known != known_.end()) return known->second;
  const std::int64_t inputs = settings_.shape.inputs, groups = settings_.shape.groups();
  DeviceBuffer<T> buffer(count * (inputs + 1));
  buffer.upload(x, 0, count * inputs, stream_);
  buffer.upload(y, count * inputs, count, stream_);
  DeviceRows<T> rows{buffer.data(), buffer.data() + count * inputs, nullptr, count};
  data_.push_back(std::move(buffer));
  if (ranges) {
    ranges_.emplace_back(groups);
    rows.ranges = ranges_.back().data();
    find_ranges(rows.x, count, static_cast<std::int32_t>(inputs), static_cast<std::int32_t>(groups),
                ranges_.back().data(), stream_);
  }
  known_.emplace(std::tuple(x, y, count), rows);
  return rows;
}

template <class T>
void MemberStore<T>::begin_epoch(const std::vector<MemberEpoch>& epochs) {
  const auto count = static_cast<std::int64_t>(epochs.size());
  for (std::int64_t i = 0; i < count; ++i) {
    const MemberEpoch& e = epochs[static_cast<std::size_t>(i)];
    host_turns_[i] = {static_cast<std::int32_t>(e.member), e.epoch, e.steps};
  }
  host_turn_count_[0] = static_cast<std::int32_t>(count);
  turns_.upload(host_turns_.data(), 0, count, stream_);
  turn_count_.upload(host_turn_count_.data(), 0, 1, stream_);
  launch_kernel("launching the shuffling", stream_, {static_cast<unsigned>(count), kOrderThreads}, draw_orders<T>,
                members_.data(), turns_.data(), items_.data());
}

template <class T>
void MemberStore<T>::end_epoch(std::vector<MemberResult>& results) {
  const auto count = static_cast<std::int64_t>(results.size());
  reports_.download(host_reports_.data(), 0, count, stream_);
  check(cudaStreamSynchronize(stream_), "waiting for an epoch");
  for (std::int64_t i = 0; i < count; ++i) {
    const EpochReport& report = host_reports_[i];
    MemberResult& result = results[static_cast<std::size_t>(i)];
    result.train_sum = report.train_sum;
    result.validation.mse = report.validation_sum / static_cast<double>(settings_.validation_rows);
    for (std::size_t layer = 0; layer < kMaxHiddenLayers; ++layer) result.validation.units[layer] = report.units[layer];
  }
}

template <class T>
void MemberStore<T>::keep_best(const std::vector<std::int64_t>& members) {
  const auto count = static_cast<std::int64_t>(members.size());
  check(cudaStreamSynchronize(stream_), "waiting for the device");  // the list's memory may be in use
  for (std::int64_t i = 0; i < count; ++i) {
    host_turns_[i] = {static_cast<std::int32_t>(members[static_cast<std::size_t>(i)]), 0, 0};
  }
  turns_.upload(host_turns_.data(), 0, count, stream_);
  const dim3 grid(static_cast<unsigned>((parameters_ + 255) / 256), static_cast<unsigned>(count));
  launch_kernel("launching the copy of the best parameters", stream_, {grid, 256}, copy_best<T>, members_.data(),
                turns_.data(), parameters_);
  check(cudaStreamSynchronize(stream_), "keeping the best parameters");
}

template <class T>
void MemberStore<T>::copy_out(std::int64_t member, MemberArray array, T* out) {
  const auto number = static_cast<std::int64_t>(array);
  arrays_.download(out, (member * 4 + number) * parameters_, parameters_, stream_);
  check(cudaStreamSynchronize(stream_), "copying parameters from the device");
}

template <class T>
RunBytes MemberStore<T>::bytes(const EnsembleSettings& s) {
  const std::int64_t item = sizeof(T), rows = s.train_rows + s.validation_rows;
  const std::int64_t member = 4 * item * parameter_layout(s.shape).size + 4 * s.train_rows +
                              16 * order_items(s.train_rows) +
                              static_cast<std::int64_t>(sizeof(Member<T>) + sizeof(Turn) + sizeof(EpochReport));
  return {member, item * rows * (s.shape.inputs + 1)};
}

template class MemberStore<float>;
template class MemberStore<double>;
template void find_ranges(const float*, std::int64_t, std::int32_t, std::int32_t, piecewise::Range*, cudaStream_t);
template void find_ranges(const double*, std::int64_t, std::int32_t, std::int32_t, piecewise::Range*, cudaStream_t);

}  // namespace pn::cuda
