// The members' arrays in device memory: parameters, best ones, moments, data, orders of rows; and what every engine
// does with them.
#pragma once

#include <map>
#include <tuple>
#include <vector>

#include "core/ensemble.hpp"
#include "cuda/blocks/member.hpp"
#include "cuda/device/runtime.hpp"
#include "cuda/engine.hpp"

namespace pn::cuda {

template <class T>
class MemberStore {
 public:
  // On the current device. ranges: whether kernels ask for those of the inputs.
  MemberStore(const EnsembleSettings& settings, const std::vector<MemberSettings<T>>& members, bool ranges,
              cudaStream_t stream);

  std::int64_t size() const { return static_cast<std::int64_t>(host_.size()); }
  const Member<T>* members() const { return members_.data(); }                                  // on the device
  const Member<T>& member(std::int64_t m) const { return host_[static_cast<std::size_t>(m)]; }  // its pointers
  const Turn* turns() const { return turns_.data(); }                                           // (size,) on the device
  const std::int32_t* turn_count() const { return turn_count_.data(); }                         // on the device
  EpochReport* reports() const { return reports_.data(); }                                      // (size,) on the device

  // Uploads the list of the members that take part and draws their orders of rows.
  void begin_epoch(const std::vector<MemberEpoch>& epochs);
  // Downloads the reports; waits for the device.
  void end_epoch(std::vector<MemberResult>& results);
  void keep_best(const std::vector<std::int64_t>& members);
  void copy_out(std::int64_t member, MemberArray array, T* out);

  // Of a member, and of its data.
  static RunBytes bytes(const EnsembleSettings& settings);

 private:
  DeviceRows<T> rows(const T* x, const T* y, std::int64_t count, bool ranges);
  void fill_members(const std::vector<MemberSettings<T>>& members, bool ranges);

  EnsembleSettings settings_;
  cudaStream_t stream_;
  std::int64_t parameters_;  // of one member
  std::vector<Member<T>> host_;
  DeviceBuffer<Member<T>> members_;
  DeviceBuffer<T> arrays_;  // (members, 4, parameters)
  std::vector<DeviceBuffer<T>> data_;
  std::vector<DeviceBuffer<piecewise::Range>> ranges_;
  // By host pointers and number of rows: the first rows of a larger array are another data set.
  std::map<std::tuple<const T*, const T*, std::int64_t>, DeviceRows<T>> known_;
  DeviceBuffer<std::uint32_t> orders_;  // (members, train_rows)
  DeviceBuffer<std::uint64_t> items_;   // (members, 2, items of an order)
  DeviceBuffer<Turn> turns_;
  DeviceBuffer<std::int32_t> turn_count_;
  DeviceBuffer<EpochReport> reports_;
  PinnedBuffer<Turn> host_turns_;
  PinnedBuffer<std::int32_t> host_turn_count_;
  PinnedBuffer<EpochReport> host_reports_;
};

// ranges: (groups,) of columns x: (rows, inputs); groups is 1, for all columns together, or inputs.
template <class T>
void find_ranges(const T* x, std::int64_t rows, std::int32_t inputs, std::int32_t groups, piecewise::Range* ranges,
                 cudaStream_t stream);

}  // namespace pn::cuda
