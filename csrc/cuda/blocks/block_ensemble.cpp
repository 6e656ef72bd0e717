#include "cuda/blocks/block_ensemble.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "cuda/blocks/block_launch.hpp"
#include "cuda/blocks/member_store.hpp"

namespace pn::cuda {
namespace {

constexpr std::int64_t kGraphSteps = 64;                       // of one graph, at most
constexpr std::int64_t kLaunchPoints = std::int64_t{1} << 26;  // of one launch: well under a second
constexpr std::size_t kMostMembers = 65535;                    // the most of a grid's second extent

bool piecewise_applies(const NetworkShape& shape) {
  return shape.block_in == 1 && shape.activation == Activation::relu;
}

std::int64_t steps_of(const EnsembleSettings& s) { return (s.train_rows + s.batch_size - 1) / s.batch_size; }

// Runs whose state a store holds; how an epoch goes is for others to say.
template <class T>
class StoredEnsemble : public DeviceEnsemble<T> {
 public:
  std::string_view kernel_name() const override { return settings_.kernel; }
  void keep_best(const std::vector<std::int64_t>& members) override {
    const DeviceGuard guard(settings_.device);
    store_.keep_best(members);
  }
  void copy_out(std::int64_t member, MemberArray array, T* out) override {
    const DeviceGuard guard(settings_.device);
    store_.copy_out(member, array, out);
  }

 protected:
  StoredEnsemble(const EnsembleSettings& settings, const std::vector<MemberSettings<T>>& members)
      : settings_(settings), piecewise_(settings.kernel == "piecewise_linear"),
        store_(settings, members, piecewise_, stream_.get()) {}

  // False: stop was asked for, and the device has come to rest.
  bool next_lap(std::int64_t lap, const ShouldStop& stop) {
    laps_.begin(lap, stream_.get());
    if (!stop()) return true;
    stream_.wait();
    return false;
  }

  EnsembleSettings settings_;
  bool piecewise_;
  Stream stream_;
  MemberStore<T> store_;
  Laps laps_;
};

// LN with the piecewise-linear kernel: an epoch is one launch.
template <class T>
class LocalEnsemble final : public StoredEnsemble<T> {
 public:
  LocalEnsemble(const EnsembleSettings& settings, const std::vector<MemberSettings<T>>& members)
      : StoredEnsemble<T>(settings, members), launch_{} {
    launch_.shape = block_shape(settings.shape);
    launch_.inputs = static_cast<std::int32_t>(settings.shape.inputs);
    launch_.members = store_.members();
    launch_.turns = store_.turns();
    launch_.reports = store_.reports();
    launch_.steps.batch_size = settings.batch_size;
    measure(launch_, fast_bytes_here());
    memory_ = DeviceBuffer<char>(store_.size() * launch_.slow_bytes);
    launch_.memory = memory_.data();
  }

  void run_epoch(const std::vector<MemberEpoch>& epochs, std::vector<MemberResult>& results,
                 const ShouldStop& stop) override {
    const DeviceGuard guard(settings_.device);
    store_.begin_epoch(epochs);
    const std::int64_t steps = steps_of(settings_), points = settings_.batch_size * settings_.shape.inputs;
    const std::int64_t stretch = std::max<std::int64_t>(1, kLaunchPoints / points);
    for (std::int64_t first = 0; first < steps; first += stretch) {
      if (!this->next_lap(first / stretch, stop)) return;
      launch_.steps.first = first;
      launch_.steps.end = std::min(first + stretch, steps);
      launch_.steps.validate = launch_.steps.end == steps;
      launch_local_epoch(launch_, static_cast<std::int64_t>(epochs.size()), stream_.get());
    }
    store_.end_epoch(results);
  }

 private:
  using StoredEnsemble<T>::settings_, StoredEnsemble<T>::stream_, StoredEnsemble<T>::store_;
  LocalLaunch<T> launch_;
  DeviceBuffer<char> memory_;
};

// LCN, and the direct kernels: an epoch is a few graphs of launches.
template <class T>
class PhasedEnsemble final : public StoredEnsemble<T> {
 public:
  PhasedEnsemble(const EnsembleSettings& settings, const std::vector<MemberSettings<T>>& members)
      : StoredEnsemble<T>(settings, members), clock_(1),
        view_(step_view<T>(settings.shape, piecewise_, settings.batch_size, settings.train_rows,
                           settings.validation_rows, fast_bytes_here())) {
    memory_ = DeviceBuffer<char>(store_.size() * view_.member_bytes);
    view_.members = store_.members();
    view_.turns = store_.turns();
    view_.turn_count = store_.turn_count();
    view_.reports = store_.reports();
    view_.clock = clock_.data();
    view_.memory = memory_.data();
    prepare_calls<T>();
    split_ = StepSplit::of(view_.steps, kGraphSteps);
    steps_graph_.capture(stream_.get(), [&] { launch(step_calls(view_, split_.steps)); });
    validation_graph_.capture(stream_.get(), [&] { launch(validation_calls(view_, settings.validation_rows)); });
  }

  void run_epoch(const std::vector<MemberEpoch>& epochs, std::vector<MemberResult>& results,
                 const ShouldStop& stop) override {
    const DeviceGuard guard(settings_.device);
    store_.begin_epoch(epochs);
    clock_.zero(stream_.get());
    launch({begin_call()});
    for (std::int64_t lap = 0; lap < split_.launches; ++lap) {
      if (!this->next_lap(lap, stop)) return;
      steps_graph_.launch(stream_.get());
    }
    validation_graph_.launch(stream_.get());
    store_.end_epoch(results);
  }

 private:
  void launch(const std::vector<PhaseCall>& calls) const { launch_calls(view_, calls, store_.size(), stream_.get()); }

  using StoredEnsemble<T>::settings_, StoredEnsemble<T>::piecewise_, StoredEnsemble<T>::stream_,
      StoredEnsemble<T>::store_;
  DeviceBuffer<std::int64_t> clock_;
  StepView<T> view_;
  StepSplit split_{};
  DeviceBuffer<char> memory_;
  Graph steps_graph_, validation_graph_;
};

void require(bool good, const std::string& message) {
  if (!good) throw std::invalid_argument(message);
}

}  // namespace

std::vector<std::string> block_kernels(const NetworkShape& shape) {
  if (piecewise_applies(shape)) return {"piecewise_linear", "direct"};
  return {"direct"};
}

void require_block_sizes(const NetworkShape& shape, std::int64_t rows) {
  constexpr std::int64_t kMostWidth = 4096, kMostPoints = std::numeric_limits<std::int32_t>::max() / 2;
  require(shape.width <= kMostWidth,
          "the GPU's kernels take at most 4096 units per block, got " + std::to_string(shape.width));
  require(rows <= kMostPoints && shape.inputs <= kMostPoints / rows,
          "the GPU's kernels take batches of at most " + std::to_string(kMostPoints) + " inputs in all, got " +
              std::to_string(rows) + " rows of " + std::to_string(shape.inputs));
  require(shape.block_in <= kMostPoints / shape.width,
          "the GPU's kernels take at most " + std::to_string(kMostPoints) + " weights per layer of a block");
  require(shape.groups() <= kMostPoints / (4 * shape.width),
          "the GPU's kernels take at most " + std::to_string(kMostPoints / 4) + " units per layer, got " +
              std::to_string(shape.groups()) + " blocks of " + std::to_string(shape.width));
}

template <class T>
std::unique_ptr<DeviceEnsemble<T>> make_block_ensemble(const EnsembleSettings& settings,
                                                       const std::vector<MemberSettings<T>>& members) {
  require_block_sizes(settings.shape, settings.batch_size);
  require(members.size() <= kMostMembers,
          "an ensemble on the GPU has at most 65535 members, got " + std::to_string(members.size()));
  const DeviceGuard guard(settings.device);
  if (settings.shape.shared && settings.kernel == "piecewise_linear") {
    return std::make_unique<LocalEnsemble<T>>(settings, members);
  }
  return std::make_unique<PhasedEnsemble<T>>(settings, members);
}

template <class T>
RunBytes block_run_bytes(const EnsembleSettings& s) {
  require_block_sizes(s.shape, s.batch_size);
  RunBytes bytes = MemberStore<T>::bytes(s);
  const bool piecewise = s.kernel == "piecewise_linear";
  if (s.shape.shared && piecewise) {
    LocalLaunch<T> launch{};
    launch.shape = block_shape(s.shape);
    launch.steps.batch_size = s.batch_size;
    measure(launch, 0);
    bytes.member += launch.slow_bytes;
  } else {
    bytes.member += step_view<T>(s.shape, piecewise, s.batch_size, s.train_rows, s.validation_rows, 0).member_bytes;
  }
  return bytes;
}

template std::unique_ptr<DeviceEnsemble<float>> make_block_ensemble(const EnsembleSettings&,
                                                                    const std::vector<MemberSettings<float>>&);
template std::unique_ptr<DeviceEnsemble<double>> make_block_ensemble(const EnsembleSettings&,
                                                                     const std::vector<MemberSettings<double>>&);
template RunBytes block_run_bytes<float>(const EnsembleSettings&);
template RunBytes block_run_bytes<double>(const EnsembleSettings&);

}  // namespace pn::cuda
