#include "cuda/functions.hpp"

#include <algorithm>

#include "cuda/blocks/block_ensemble.hpp"
#include "cuda/blocks/block_functions.hpp"
#include "cuda/dense/adam_pass.hpp"
#include "cuda/dense/dense_ensemble.hpp"
#include "cuda/dense/dense_pass.hpp"
#include "cuda/dense/device_launcher.cuh"
#include "cuda/device/runtime.hpp"
#include "cuda/device/stream_memory.hpp"

namespace pn::cuda {
namespace {

constexpr std::int64_t kForwardRows = 8192;  // of one forward pass

cudaStream_t stream_of(const Call& call) { return static_cast<cudaStream_t>(call.stream); }

// The memory of one call, cut by take(carver): measured first.
template <class Take>
class CallMemory {
 public:
  CallMemory(cudaStream_t stream, Take take) : storage_(measure(take), stream), parts_(cut(storage_, take)) {}
  auto& parts() { return parts_; }

 private:
  static std::int64_t measure(Take take) {
    Carver carver;
    take(carver);
    return carver.bytes();
  }
  static auto cut(const StreamMemory& storage, Take take) {
    Carver carver(storage.data());
    return take(carver);
  }

  StreamMemory storage_;
  decltype(cut(std::declval<const StreamMemory&>(), std::declval<Take>())) parts_;
};

double read(const double* value, cudaStream_t stream) {
  double result = 0.0;
  check(cudaMemcpyAsync(&result, value, sizeof result, cudaMemcpyDeviceToHost, stream), "reading a result");
  check(cudaStreamSynchronize(stream), "waiting for the device");
  return result;
}

void clear(double* value, cudaStream_t stream) {
  check(cudaMemsetAsync(value, 0, sizeof *value, stream), "clearing memory");
}

template <class T>
void dense_forward(const NetworkShape& network, const Tensors<const T>& p, const T* x, std::int64_t rows, T* prediction,
                   const Call& call) {
  struct Parts {
    DenseMemory<T> passes;
    char* workspace;
  };
  const DenseShape shape = DenseShape::of(network, false);
  const std::int64_t most = std::min(rows, kForwardRows);
  CallMemory memory(stream_of(call), [&](Carver& carver) {
    return Parts{DenseMemory<T>::forward(shape, most, carver), carver.take<char>(cublas::kWorkspaceBytes)};
  });
  DeviceLauncher launcher(&cublas::Context::of_device(call.device), memory.parts().workspace, call.tf32,
                          stream_of(call));
  DensePass<T, DeviceLauncher> pass(shape, memory.parts().passes, launcher);
  for (std::int64_t first = 0; first < rows; first += most) {
    const std::int64_t n = std::min(most, rows - first);
    pass.forward(p, x + first * shape.inputs, n);
    launcher.launch(Elements<DivideOutput<T>>{{memory.parts().passes.output, shape.inputs, prediction + first}, n});
  }
}

// *loss += the mean squared error.
template <class T>
void dense_gradient(const NetworkShape& network, const Tensors<const T>& p, const T* x, const T* y, std::int64_t rows,
                    const Tensors<T>& gradient, double* loss, bool active, const Call& call) {
  struct Parts {
    DenseMemory<T> passes;
    char* workspace;
  };
  const DenseShape shape = DenseShape::of(network, active);
  CallMemory memory(stream_of(call), [&](Carver& carver) {
    return Parts{DenseMemory<T>::backward(shape, rows, rows, carver), carver.take<char>(cublas::kWorkspaceBytes)};
  });
  DeviceLauncher launcher(&cublas::Context::of_device(call.device), memory.parts().workspace, call.tf32,
                          stream_of(call));
  DensePass<T, DeviceLauncher> pass(shape, memory.parts().passes, launcher);
  pass.forward(p, x, rows);
  launcher.launch(SquaredError<T>{memory.parts().passes.output, y, rows, shape.inputs, rows, false, loss});
  const HiddenGradient<T> hidden = pass.backward(p, x, rows, gradient);
  if (hidden.slot != nullptr) {
    launcher.launch(Elements<ExpandGradient<T>>{{hidden, gradient.w2}, shape.width * shape.width});
  }
}

// Runs body(call) with working memory that is given back in the stream's order.
template <class T, class Body>
void with_block_memory(BlockCall<T> block, cudaStream_t stream, Body body) {
  const StreamMemory memory(block_call_bytes(block), stream);
  block.memory = static_cast<char*>(memory.data());
  block.stream = stream;
  body(block);
}

DeviceLauncher plain_launcher(const Call& call) { return {nullptr, nullptr, false, stream_of(call)}; }

}  // namespace

template <class T>
std::string forward(const NetworkShape& shape, const Tensors<const T>& p, const T* x, std::int64_t rows, T* prediction,
                    const Call& call) {
  const DeviceGuard guard(call.device);
  const std::string kernel = choose_kernel(shape, call.kernel);
  if (is_dense(shape)) {
    dense_forward(shape, p, x, rows, prediction, call);
  } else {
    with_block_memory(BlockCall<T>{shape, kernel, p, x, nullptr, rows, nullptr, nullptr}, stream_of(call),
                      [&](const BlockCall<T>& block) { block_forward(block, prediction); });
  }
  return kernel;
}

template <class T>
std::pair<double, std::string> loss_and_gradient(const NetworkShape& shape, const Tensors<const T>& p, const T* x,
                                                 const T* y, std::int64_t rows, const Penalty& penalty,
                                                 const Tensors<T>& gradient, const Call& call) {
  const DeviceGuard guard(call.device);
  struct Parts {
    double* loss;
    PenaltyMemory penalty;
  };
  CallMemory memory(stream_of(call), [&](Carver& carver) {
    return Parts{carver.take<double>(1), PenaltyMemory::of<T>(shape, penalty.kind, carver)};
  });
  clear(memory.parts().loss, stream_of(call));
  const std::string kernel = choose_kernel(shape, call.kernel);
  if (is_dense(shape)) {
    dense_gradient(shape, p, x, y, rows, gradient, memory.parts().loss, kernel == "active", call);
  } else {
    with_block_memory(BlockCall<T>{shape, kernel, p, x, y, rows, nullptr, nullptr}, stream_of(call),
                      [&](const BlockCall<T>& block) { block_gradient(block, gradient, memory.parts().loss); });
  }
  DeviceLauncher launcher = plain_launcher(call);
  add_penalty(launcher, shape, penalty, memory.parts().penalty, p, gradient, memory.parts().loss);
  return {read(memory.parts().loss, stream_of(call)), kernel};
}

template <class T>
double path_norm(const NetworkShape& shape, const Tensors<const T>& p, const Call& call) {
  const DeviceGuard guard(call.device);
  struct Parts {
    double* value;
    PathMemory path;
  };
  CallMemory memory(stream_of(call), [&](Carver& carver) {
    return Parts{carver.take<double>(1), PathMemory::of(UnitShape::of(shape), carver)};
  });
  clear(memory.parts().value, stream_of(call));
  DeviceLauncher launcher = plain_launcher(call);
  add_path_norm(launcher, shape, memory.parts().path, p, path_norm_factor(shape), memory.parts().value);
  return read(memory.parts().value, stream_of(call));
}

template <class T>
void adam_step(const NetworkShape& shape, const AdamCall<T>& step, const Call& call) {
  const DeviceGuard guard(call.device);
  CallMemory memory(stream_of(call), [&](Carver& carver) {
    return step.penalty.kind == PenaltyKind::path_norm ? PathMemory::of(UnitShape::of(shape), carver) : PathMemory{};
  });
  DeviceLauncher launcher = plain_launcher(call);
  const AdamPass<T, DeviceLauncher> pass(shape, step.penalty, memory.parts());
  pass.prepare(launcher, as_const(step.p));
  HiddenGradient<T> hidden;
  hidden.whole = step.gradient.w2;
  hidden.width = shape.width;
  pass.step(launcher, {step.p, step.m, step.v}, step.gradient, hidden,
            {pn::adam_step<T>(step.settings, step.t), nullptr, nullptr});
}

template <class T>
void adam_step(std::int64_t count, const AdamCall<T>& step, const Call& call) {
  const DeviceGuard guard(call.device);
  PenaltyFactors<T> factors;
  if (step.penalty.kind == PenaltyKind::l1) factors.l1 = static_cast<T>(step.penalty.strength);
  if (step.penalty.kind == PenaltyKind::l2) factors.twice_l2 = static_cast<T>(2 * step.penalty.strength);
  const AdamElements<T> elements{
      step.p.w1, step.m.w1, step.v.w1, step.gradient.w1, {pn::adam_step<T>(step.settings, step.t), nullptr, nullptr},
      factors};
  plain_launcher(call).launch(Elements<AdamElements<T>>{elements, count});
}

template std::string forward(const NetworkShape&, const Tensors<const float>&, const float*, std::int64_t, float*,
                             const Call&);
template std::string forward(const NetworkShape&, const Tensors<const double>&, const double*, std::int64_t, double*,
                             const Call&);
template std::pair<double, std::string> loss_and_gradient(const NetworkShape&, const Tensors<const float>&,
                                                          const float*, const float*, std::int64_t, const Penalty&,
                                                          const Tensors<float>&, const Call&);
template std::pair<double, std::string> loss_and_gradient(const NetworkShape&, const Tensors<const double>&,
                                                          const double*, const double*, std::int64_t, const Penalty&,
                                                          const Tensors<double>&, const Call&);
template double path_norm(const NetworkShape&, const Tensors<const float>&, const Call&);
template double path_norm(const NetworkShape&, const Tensors<const double>&, const Call&);
template void adam_step(const NetworkShape&, const AdamCall<float>&, const Call&);
template void adam_step(const NetworkShape&, const AdamCall<double>&, const Call&);
template void adam_step(std::int64_t, const AdamCall<float>&, const Call&);
template void adam_step(std::int64_t, const AdamCall<double>&, const Call&);

}  // namespace pn::cuda
