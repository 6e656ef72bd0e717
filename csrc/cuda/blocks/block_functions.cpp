#include "cuda/blocks/block_functions.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "cuda/blocks/block_ensemble.hpp"
#include "cuda/blocks/block_launch.hpp"
#include "cuda/blocks/member_store.hpp"

namespace pn::cuda {
namespace {

constexpr std::int64_t kForwardRows = 1024;  // of a piece of predictions
constexpr std::int64_t kForwardBlocks = 64;  // of the local kernel, at most, with that many rows each
constexpr std::int64_t kMostLocalRows = std::int64_t{1} << 30;

// Where the tensors lie from the first one on, as if they were parts of one vector: kernels want offsets.
template <class T>
TensorOffsets offsets_of(const Tensors<const T>& p) {
  const auto offset = [&p](const T* tensor) {
    return (reinterpret_cast<std::intptr_t>(tensor) - reinterpret_cast<std::intptr_t>(p.w1)) /
           static_cast<std::intptr_t>(sizeof(T));
  };
  return {0, offset(p.b1), offset(p.w2), offset(p.b2), offset(p.w3)};
}

template <class T>
class Evaluation {
 public:
  explicit Evaluation(const BlockCall<T>& call)
      : call_(call), stream_(static_cast<cudaStream_t>(call.stream)), piecewise_(call.kernel == "piecewise_linear"),
        local_(piecewise_ && call.shape.shared), predicts_(call.y == nullptr) {
    // Predictions go piece by piece, as a validation does; a gradient has all rows for its batch.
    const std::int64_t batch = predicts_ ? std::min(call.rows, kForwardRows) : call.rows;
    require_block_sizes(call.shape, batch);
    if (local_) {
      measure_local();
    } else {
      view_ = step_view<T>(call.shape, piecewise_, batch, call.rows, call.rows, fast_bytes_here());
      view_.offsets = offsets_of(call.p);
    }
    Arena arena(nullptr, 0, call.memory);
    ranges_ = arena.take_slow<piecewise::Range>(call.shape.groups());
    single_ = arena.take_slow<SingleMember<T>>(1);
    working_ = arena.take_slow<char>(local_ ? blocks_ * local_call_.slow_bytes : view_.member_bytes);
    bytes_ = arena.slow_used();
  }

  std::int64_t bytes() const { return bytes_; }

  void run(const EvaluationResult<T>& result) {
    if (piecewise_) {
      find_ranges(call_.x, call_.rows, static_cast<std::int32_t>(call_.shape.inputs),
                  static_cast<std::int32_t>(call_.shape.groups()), ranges_, stream_);
    }
    if (local_) {
      run_local(result);
    } else {
      run_phases(result);
    }
  }

 private:
  DeviceRows<T> rows() const { return {call_.x, call_.y, ranges_, call_.rows}; }

  void measure_local() {
    if (call_.rows > kMostLocalRows) {
      throw std::invalid_argument("the GPU's kernel takes at most " + std::to_string(kMostLocalRows) +
                                  " rows in a call, got " + std::to_string(call_.rows));
    }
    local_call_ = {};
    local_call_.shape = block_shape(call_.shape);
    local_call_.p = call_.p;
    local_call_.rows.count = static_cast<std::int32_t>(call_.rows);
    local_call_.predicts = predicts_;
    blocks_ = predicts_ ? std::clamp<std::int64_t>(call_.rows / kForwardRows, 1, kForwardBlocks) : 1;
    measure(local_call_, fast_bytes_here());
  }

  void run_local(const EvaluationResult<T>& result) {
    local_call_.rows = {rows(), nullptr, 0, static_cast<std::int32_t>(call_.rows),
                        static_cast<std::int32_t>(call_.shape.inputs)};
    local_call_.prediction = result.prediction;
    local_call_.gradient = result.gradient;
    local_call_.loss = result.loss;
    local_call_.memory = working_;
    launch_local_call(local_call_, static_cast<std::int32_t>(blocks_), stream_);
  }

  void run_phases(const EvaluationResult<T>& result) {
    SingleMember<T> single{};
    single.member.parameters = const_cast<T*>(call_.p.w1);  // is only read
    single.member.train = single.member.validation = rows();
    single.turn_count = 1;
    launch_single_member(single, single_, stream_);
    view_.members = &single_->member;
    view_.turns = &single_->turn;
    view_.turn_count = &single_->turn_count;
    view_.reports = &single_->report;
    view_.clock = &single_->clock;
    view_.memory = working_;
    view_.result = result;
    prepare_calls<T>();
    launch_calls(view_, predicts_ ? forward_calls(view_, call_.rows) : gradient_calls(view_), 1, stream_);
  }

  const BlockCall<T>& call_;
  cudaStream_t stream_;
  bool piecewise_, local_, predicts_;
  StepView<T> view_{};
  LocalCall<T> local_call_{};
  std::int64_t blocks_ = 0, bytes_ = 0;
  piecewise::Range* ranges_;
  SingleMember<T>* single_;
  char* working_;
};

}  // namespace

template <class T>
std::int64_t block_call_bytes(const BlockCall<T>& call) {
  return Evaluation<T>(call).bytes();
}

template <class T>
void block_forward(const BlockCall<T>& call, T* prediction) {
  Evaluation<T>(call).run({prediction, {}, nullptr});
}

template <class T>
void block_gradient(const BlockCall<T>& call, const Tensors<T>& gradient, double* loss) {
  Evaluation<T>(call).run({nullptr, gradient, loss});
}

template std::int64_t block_call_bytes(const BlockCall<float>&);
template std::int64_t block_call_bytes(const BlockCall<double>&);
template void block_forward(const BlockCall<float>&, float*);
template void block_forward(const BlockCall<double>&, double*);
template void block_gradient(const BlockCall<float>&, const Tensors<float>&, double*);
template void block_gradient(const BlockCall<double>&, const Tensors<double>&, double*);

}  // namespace pn::cuda
