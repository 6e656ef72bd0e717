#include "cuda/dense/dense_ensemble.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <tuple>
#include <type_traits>

#include "cuda/dense/dense_run.hpp"
#include "cuda/dense/device_launcher.cuh"
#include "cuda/device/runtime.hpp"

namespace pn::cuda {
namespace {

// Steps of a graph: enough that the host has little to launch, few enough that it is soon made.
constexpr std::int64_t kGraphSteps = 16;
constexpr std::int64_t kGraphsAhead = 4;  // launched and not yet done, so that a request to stop is soon obeyed

DenseRunShape run_shape(const EnsembleSettings& s, PenaltyKind penalty, bool active) {
  return {s.shape, penalty, active, s.batch_size, s.train_rows, s.validation_rows};
}

template <class T>
std::int64_t run_memory(const DenseRunShape& shape) {
  Carver measure;
  DenseRunMemory<T>::of(shape, measure);
  return measure.bytes();
}

// The rows of one data set, on the device.
template <class T>
struct DenseRows {
  DeviceBuffer<T> train_x, train_y, validation_x, validation_y;

  DenseRows(const EnsembleSettings& s, const MemberSettings<T>& member, cudaStream_t stream)
      : train_x(s.train_rows * s.shape.inputs), train_y(s.train_rows), validation_x(s.validation_rows * s.shape.inputs),
        validation_y(s.validation_rows) {
    train_x.upload(member.train_x, 0, train_x.size(), stream);
    train_y.upload(member.train_y, 0, train_y.size(), stream);
    validation_x.upload(member.validation_x, 0, validation_x.size(), stream);
    validation_y.upload(member.validation_y, 0, validation_y.size(), stream);
  }
  DenseData<T> view() const { return {train_x.data(), train_y.data(), validation_x.data(), validation_y.data()}; }
};

template <class T>
class DenseMember {
 public:
  DenseMember(const DenseRunShape& shape, const MemberSettings<T>& settings, const DenseData<T>& data,
              cublas::Context& blas, bool tf32)
      : shape_(shape), adam_(settings.adam), seed_(settings.seed), shuffle_(settings.shuffle),
        size_(parameter_layout(shape.network).size), storage_(run_memory<T>(shape)),
        workspace_(cublas::kWorkspaceBytes), memory_(cut(storage_)),
        launcher_(&blas, workspace_.data(), tf32, stream_.get()),
        run_(shape, settings.adam, settings.penalty, data, memory_, launcher_),
        graphs_(EpochGraphs::of(shape.train_rows, shape.batch_size, kGraphSteps)), scalars_(shape.steps()),
        may_rest_(1), result_(1) {
    storage_.zero(stream_.get());
    warm_up();
    record();
    start(settings);
  }

  // Uploads what the epoch needs and launches its beginning.
  void begin_epoch(const MemberEpoch& epoch) {
    run_.draw_order(seed_, epoch.epoch, shuffle_);
    for (std::int64_t s = 0; s < shape_.steps(); ++s) scalars_[s] = adam_step<T>(adam_, epoch.steps + s + 1);
    may_rest_[0] = idle_rows_may_rest(adam_, epoch.steps + 1) ? 1 : 0;
    copy(memory_.scalars, scalars_.data(), scalars_.size());
    copy(memory_.may_rest, may_rest_.data(), 1);
    begin_.launch(stream_.get());
  }

  // The next of the epoch's graphs, of which there are graphs().launches and then a last one.
  void next_steps(bool last) { (last ? last_steps_ : steps_).launch(stream_.get()); }
  const EpochGraphs& graphs() const { return graphs_; }

  void begin_lap(std::int64_t lap) { laps_.begin(lap, stream_.get()); }

  void end_epoch() {
    evaluate_.launch(stream_.get());
    copy(result_.data(), memory_.result, 1);
  }

  void read(MemberResult& result) {
    stream_.wait();
    result.train_sum = result_[0].train_sum;
    result.validation.mse = result_[0].validation_mse;
    result.validation.units = result_[0].units;
  }

  void wait() const { stream_.wait(); }
  void keep_best() { copy(memory_.best, memory_.p, size_); }

  void copy_out(MemberArray array, T* out) {
    const T* from = array == MemberArray::parameters ? memory_.p
                    : array == MemberArray::best     ? memory_.best
                    : array == MemberArray::m        ? memory_.m
                                                     : memory_.v;
    copy(out, from, size_);
    stream_.wait();
  }

 private:
  DenseRunMemory<T> cut(const DeviceBuffer<char>& storage) const {
    Carver carver(storage.data());
    return DenseRunMemory<T>::of(shape_, carver);
  }

  template <class Item>
  void copy(Item* to, const Item* from, std::int64_t count) {
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(Item), cudaMemcpyDefault, stream_.get()),
          "copying");
  }

  // Everything once, on parameters of zero and outside a capture, because kernels are loaded when they are first
  // launched, and loading is not allowed in a capture.
  void warm_up() {
    launcher_.set_choice(DeviceLauncher::Choice::all);
    run_.draw_order(seed_, 0, true);
    run_.begin_epoch();
    run_.steps(1, graphs_.last_rows);
    run_.evaluate();
    stream_.wait();
  }

  void record() {
    launcher_.set_choice(DeviceLauncher::Choice::capture);
    const cudaStream_t stream = stream_.get();
    begin_.capture(stream, [&] { run_.begin_epoch(); });
    if (graphs_.launches > 0) steps_.capture(stream, [&] { run_.steps(graphs_.steps, 0); });
    last_steps_.capture(stream, [&] { run_.steps(graphs_.last_steps, graphs_.last_rows); });
    evaluate_.capture(stream, [&] { run_.evaluate(); });
  }

  void start(const MemberSettings<T>& settings) {
    storage_.zero(stream_.get());  // moments that are not given; and nothing is left of the warming up
    copy(memory_.p, settings.initial, size_);
    if (settings.m != nullptr) copy(memory_.m, settings.m, size_);
    if (settings.v != nullptr) copy(memory_.v, settings.v, size_);
    if (settings.best != nullptr) copy(memory_.best, settings.best, size_);
    stream_.wait();  // the caller's arrays may go
  }

  DenseRunShape shape_;
  AdamSettings adam_;
  std::uint64_t seed_;
  bool shuffle_;
  std::int64_t size_;
  Stream stream_;
  DeviceBuffer<char> storage_, workspace_;
  DenseRunMemory<T> memory_;
  DeviceLauncher launcher_;
  DenseRun<T, DeviceLauncher> run_;
  EpochGraphs graphs_;
  Graph begin_, steps_, last_steps_, evaluate_;
  PinnedBuffer<AdamStep<T>> scalars_;
  PinnedBuffer<std::int32_t> may_rest_;
  PinnedBuffer<EpochResult> result_;
  Laps laps_;
};

template <class T>
class DenseEnsemble final : public DeviceEnsemble<T> {
 public:
  DenseEnsemble(const EnsembleSettings& settings, const std::vector<MemberSettings<T>>& members)
      : settings_(settings), guard_(settings.device), active_(settings.kernel == "active") {
    cublas::Context& blas = cublas::Context::of_device(settings.device);
    std::map<std::tuple<const T*, const T*, const T*, const T*>, const DenseRows<T>*> known;
    const auto data_of = [](const MemberSettings<T>& m) {
      return std::tuple(m.train_x, m.train_y, m.validation_x, m.validation_y);
    };
    const Stream stream;
    for (const MemberSettings<T>& member : members) {
      const DenseRows<T>*& rows = known[data_of(member)];
      if (rows == nullptr) {
        rows = rows_.emplace_back(std::make_unique<DenseRows<T>>(settings, member, stream.get())).get();
      }
    }
    stream.wait();
    for (const MemberSettings<T>& member : members) {
      members_.push_back(std::make_unique<DenseMember<T>>(run_shape(settings, member.penalty.kind, active_), member,
                                                          known[data_of(member)]->view(), blas, settings.tf32));
    }
  }

  void run_epoch(const std::vector<MemberEpoch>& epochs, std::vector<MemberResult>& results,
                 const ShouldStop& stop) override {
    const DeviceGuard guard(settings_.device);
    for (const MemberEpoch& e : epochs) member(e.member).begin_epoch(e);
    const std::int64_t launches = members_.front()->graphs().launches;
    for (std::int64_t l = 0; l <= launches; ++l) {
      if (l % kGraphsAhead == 0 && !go_on(epochs, l / kGraphsAhead, stop)) return;
      for (const MemberEpoch& e : epochs) member(e.member).next_steps(l == launches);
    }
    for (const MemberEpoch& e : epochs) member(e.member).end_epoch();
    for (std::size_t i = 0; i < epochs.size(); ++i) member(epochs[i].member).read(results[i]);
  }

  void keep_best(const std::vector<std::int64_t>& members) override {
    const DeviceGuard guard(settings_.device);
    for (const std::int64_t m : members) member(m).keep_best();
  }

  std::string_view kernel_name() const override { return settings_.kernel; }

  void copy_out(std::int64_t m, MemberArray array, T* out) override {
    const DeviceGuard guard(settings_.device);
    member(m).copy_out(array, out);
  }

 private:
  DenseMember<T>& member(std::int64_t m) { return *members_[static_cast<std::size_t>(m)]; }

  // Between laps of graphs. False: stop was asked for, and the device has come to rest.
  bool go_on(const std::vector<MemberEpoch>& epochs, std::int64_t lap, const ShouldStop& stop) {
    for (const MemberEpoch& e : epochs) member(e.member).begin_lap(lap);
    if (!stop()) return true;
    for (const MemberEpoch& e : epochs) member(e.member).wait();
    return false;
  }

  EnsembleSettings settings_;
  DeviceGuard guard_;  // while the constructor runs
  bool active_;
  std::vector<std::unique_ptr<DenseRows<T>>> rows_;
  std::vector<std::unique_ptr<DenseMember<T>>> members_;
};

}  // namespace

bool is_dense(const NetworkShape& shape) { return shape.blocks() == 1 && shape.block_in > 1; }

std::vector<std::string> dense_kernels(const NetworkShape& shape) {
  if (shape.hidden_layers == 2 && shape.activation == Activation::relu) return {"active", "direct"};
  return {"direct"};
}

template <class T>
std::unique_ptr<DeviceEnsemble<T>> make_dense_ensemble(const EnsembleSettings& settings,
                                                       const std::vector<MemberSettings<T>>& members) {
  return std::make_unique<DenseEnsemble<T>>(settings, members);
}

RunBytes dense_run_bytes(const EnsembleSettings& s, std::int64_t item_bytes) {
  const DenseRunShape shape = run_shape(s, PenaltyKind::path_norm, s.kernel == "active");  // which needs the most
  const std::int64_t memory = item_bytes == sizeof(float) ? run_memory<float>(shape) : run_memory<double>(shape);
  return {memory + cublas::kWorkspaceBytes, (s.train_rows + s.validation_rows) * (s.shape.inputs + 1) * item_bytes};
}

template std::unique_ptr<DeviceEnsemble<float>> make_dense_ensemble(const EnsembleSettings&,
                                                                    const std::vector<MemberSettings<float>>&);
template std::unique_ptr<DeviceEnsemble<double>> make_dense_ensemble(const EnsembleSettings&,
                                                                     const std::vector<MemberSettings<double>>&);

}  // namespace pn::cuda
