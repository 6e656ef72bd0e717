// The Launcher of the device: kernels as thread blocks, products by cuBLASLt, choices as a graph's conditional nodes.
#pragma once

#include <cstdint>
#include <memory>

#include "cuda/dense/cublas.hpp"
#include "cuda/dense/launcher.hpp"
#include "cuda/device/runtime.hpp"
#include "cuda/device/team.hpp"

namespace pn::cuda {

template <class Kernel>
__global__ void __launch_bounds__(Kernel::threads()) run_kernel(const __grid_constant__ Kernel kernel) {
  __shared__ double scratch[DeviceTeam::kScratch];
  kernel(DeviceTeam(scratch), static_cast<std::int64_t>(blockIdx.x));
}

template <class Kernel>
void launch_on(cudaStream_t stream, const Kernel& kernel) {
  const std::int64_t blocks = kernel.blocks();
  if (blocks == 0) return;
  if (blocks > 0x7fffffff) throw std::runtime_error("an array is too large for one kernel on the GPU");
  launch_kernel("launching a kernel", stream, {static_cast<unsigned>(blocks), Kernel::threads()}, run_kernel<Kernel>,
                kernel);
}

// Tells a graph's conditional node which of its bodies to run.
static __global__ void choose_body(cudaGraphConditionalHandle handle, const std::int32_t* which) {
  cudaGraphSetConditional(handle, static_cast<unsigned>(*which));
}

class DeviceLauncher {
 public:
  // What choose does: asks the device and waits for its answer; adds a conditional node to the graph that the stream is
  // captured into; or runs every body, one after the other, so that all of their kernels are loaded.
  enum class Choice { ask, capture, all };

  // blas: may be null where no product is asked for; workspace: cublas::kWorkspaceBytes of device memory, or null.
  DeviceLauncher(cublas::Context* blas, void* workspace, bool tf32, cudaStream_t stream)
      : blas_(blas), workspace_(workspace), tf32_(tf32), stream_(stream) {}

  // To be called outside a capture: capture takes a second stream, for what the bodies launch.
  void set_choice(Choice choice) {
    choice_ = choice;
    if (choice == Choice::capture && branch_ == nullptr) branch_ = std::make_unique<Stream>();
  }

  template <class Kernel>
  void launch(const Kernel& kernel) {
    launch_on(stream_, kernel);
  }

  template <class In, class Out>
  void multiply(const Product<In, Out>& product) {
    cublas::multiply(*blas_, product, tf32_, workspace_, stream_);
  }

  template <class Body>
  void choose(const std::int32_t* which, int n, Body body) {
    switch (choice_) {
      case Choice::ask: {
        std::int32_t chosen = 0;
        check(cudaMemcpyAsync(&chosen, which, sizeof chosen, cudaMemcpyDeviceToHost, stream_), "reading a choice");
        check(cudaStreamSynchronize(stream_), "waiting for the device");
        if (chosen >= 0 && chosen < n) body(chosen);
        return;
      }
      case Choice::capture: return capture_bodies(which, n, body);
      case Choice::all: {
        cudaFuncAttributes attributes = {};  // asking for them loads the kernel, which runs in graphs only
        check(cudaFuncGetAttributes(&attributes, choose_body), "loading a kernel");
        for (int i = 0; i < n; ++i) body(i);
      }
    }
  }

 private:
  template <class Body>
  void capture_bodies(const std::int32_t* which, int n, Body body) {
    cudaGraphConditionalHandle handle{};
    check(cudaGraphConditionalHandleCreate(&handle, graph_of_capture(stream_), 0, 0), "making a conditional handle");
    launch_kernel("launching a kernel", stream_, {1, 1}, choose_body, handle, which);

    cudaGraphNodeParams parameters = {};
    parameters.type = cudaGraphNodeTypeConditional;
    parameters.conditional.handle = handle;
    parameters.conditional.type = cudaGraphCondTypeSwitch;
    parameters.conditional.size = static_cast<unsigned>(n);
    add_conditional_node(stream_, parameters);
    for (int i = 0; i < n; ++i) capture_body(parameters.conditional.phGraph_out[i], i, body);
  }

  template <class Body>
  void capture_body(cudaGraph_t graph, int i, Body body) {
    const cudaStream_t trunk = stream_, branch = branch_->get();
    check(cudaStreamBeginCaptureToGraph(branch, graph, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal),
          "beginning a capture");
    stream_ = branch;
    cudaGraph_t same = nullptr;
    try {
      body(i);
    } catch (...) {
      stream_ = trunk;
      cudaStreamEndCapture(branch, &same);
      throw;
    }
    stream_ = trunk;
    check(cudaStreamEndCapture(branch, &same), "ending a capture");
  }

  cublas::Context* blas_;
  void* workspace_;
  bool tf32_;
  cudaStream_t stream_;
  Choice choice_ = Choice::ask;
  std::unique_ptr<Stream> branch_;
};

}  // namespace pn::cuda
