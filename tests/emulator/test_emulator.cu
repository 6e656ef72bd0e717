// That the emulated GPU does what it promises, and that it finds the mistakes that it is there for.
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdint>

#include "native/check.hpp"

namespace pn::cuda {

// Not in the unnamed namespace, of which what they declare extern would be.
static __global__ void write_behind(std::int64_t bytes) {
  extern __shared__ char fast[];
  fast[bytes] = 1;
}
static __global__ void new_memory(const double* global, std::int32_t* fresh) {
  extern __shared__ char fast[];
  *fresh = std::isnan(*reinterpret_cast<double*>(fast)) && std::isnan(*global) ? 1 : 0;
  *reinterpret_cast<double*>(fast) = 0.0;
}

namespace {

constexpr int kThreads = 64;

template <class... Parameters, class... Arguments>
cudaError_t launch(cudaStream_t stream, dim3 blocks, unsigned threads, std::size_t fast_bytes,
                   void (*kernel)(Parameters...), Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = fast_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

// How a program ends that does this: the number of its signal, or 0.
template <class Body>
int signal_of(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    std::fclose(stderr);  // what it says on its way out is not this test's
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

template <class T>
T* device_memory(std::size_t count) {
  void* data = nullptr;
  CHECK_EQ(cudaMalloc(&data, count * sizeof(T)), cudaSuccess);
  return static_cast<T*>(data);
}
template <class T>
T read(const T* data) {
  T value{};
  CHECK_EQ(cudaMemcpyAsync(&value, data, sizeof value, cudaMemcpyDeviceToHost, nullptr), cudaSuccess);
  return value;
}
cudaStream_t new_stream() {
  cudaStream_t stream = nullptr;
  CHECK_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  return stream;
}

__global__ void set(std::int32_t* to, std::int32_t value) { *to = value; }
__global__ void append(std::int32_t* to, std::int32_t digit) { *to = 10 * *to + digit; }
__global__ void append_block(std::int32_t* to) {
  if (threadIdx.x == 0) *to = 10 * *to + static_cast<std::int32_t>(blockIdx.x);
}

// Every thread passes its number through shared memory to its mirror image, and the warps sum what arrives.
__global__ void mirror(std::int32_t* sum) {
  __shared__ std::int32_t numbers[kThreads];
  numbers[threadIdx.x] = static_cast<std::int32_t>(threadIdx.x);
  __syncthreads();
  std::int32_t value = numbers[kThreads - 1 - threadIdx.x];
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  if (threadIdx.x % 32 == 0) atomicAdd(sum, value);
  if (__syncthreads_or(threadIdx.x == 40 ? 1 : 0) == 0) *sum = -1;
  if (__syncthreads_or(0) != 0) *sum = -2;
}

void test_threads_work_together() {
  auto* sum = device_memory<std::int32_t>(1);
  CHECK_EQ(launch(nullptr, 1, 1, 0, set, sum, 0), cudaSuccess);
  CHECK_EQ(launch(nullptr, 3, kThreads, 0, mirror, sum), cudaSuccess);
  CHECK_EQ(read(sum), 3 * kThreads * (kThreads - 1) / 2);
  CHECK_EQ(launch(nullptr, 1, 1, 0, set, sum, 0), cudaSuccess);
  CHECK_EQ(launch(nullptr, 4, kThreads, 0, append_block, sum), cudaSuccess);
  const char* order = std::getenv("EMULATOR_ORDER");
  CHECK_EQ(read(sum), order != nullptr && std::string_view(order) == "backward" ? 3210 : 123);
  CHECK_EQ(cudaFree(sum), cudaSuccess);
}

__global__ void barrier_in_a_branch() {
  if (threadIdx.x < 40) __syncthreads();
  __shfl_xor_sync(0xffffffffu, 1, 1);
}
__global__ void part_of_a_warp() {
  if (threadIdx.x % 32 != 7) __shfl_xor_sync(0xffffffffu, 1, 1);
}
__global__ void write_at(std::int32_t* to, std::int64_t at) { to[at] = 1; }

void test_mistakes_of_kernels() {
  CHECK_EQ(signal_of([] { launch(nullptr, 1, kThreads, 0, barrier_in_a_branch); }), SIGABRT);
  CHECK_EQ(signal_of([] { launch(nullptr, 1, kThreads, 0, part_of_a_warp); }), SIGABRT);
  CHECK_EQ(signal_of([] { launch(nullptr, 1, 1, 100, write_behind, std::int64_t{99}); }), 0);
  CHECK_EQ(signal_of([] { launch(nullptr, 1, 1, 100, write_behind, std::int64_t{100}); }), SIGABRT);
  auto* data = device_memory<std::int32_t>(64);
  CHECK_EQ(signal_of([data] { launch(nullptr, 1, 1, 0, write_at, data, std::int64_t{63}); }), 0);
  CHECK_EQ(signal_of([data] { launch(nullptr, 1, 1, 0, write_at, data, std::int64_t{64}); }), SIGSEGV);
  CHECK_EQ(cudaFree(data), cudaSuccess);
  CHECK_EQ(signal_of([data] { launch(nullptr, 1, 1, 0, write_at, data, std::int64_t{0}); }), SIGSEGV);
}

void test_memory() {
  auto* global = device_memory<double>(1);
  auto* fresh = device_memory<std::int32_t>(1);
  for (int i = 0; i < 2; ++i) {
    CHECK_EQ(launch(nullptr, 1, 1, 8, new_memory, global, fresh), cudaSuccess);
    CHECK_EQ(read(fresh), 1);
  }
  CHECK_EQ(signal_of([global] { *global = 1.0; }), SIGSEGV);
  CHECK_EQ(cudaMemcpyAsync(global, fresh, 4, cudaMemcpyDeviceToHost, nullptr), cudaErrorInvalidValue);
  CHECK_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  CHECK_EQ(cudaGetLastError(), cudaSuccess);
  std::size_t free_bytes = 0, all = 0, left = 0;
  void* more = nullptr;
  cudaMemGetInfo(&free_bytes, &all);
  CHECK_EQ(cudaMalloc(&more, 1 << 20), cudaSuccess);
  cudaMemGetInfo(&left, &all);
  CHECK_EQ(free_bytes - left, std::size_t{1} << 20);
  CHECK_EQ(cudaFree(more), cudaSuccess);
  CHECK_EQ(cudaFree(more), cudaErrorInvalidValue);
  CHECK_EQ(cudaMalloc(&more, all + 1), cudaErrorMemoryAllocation);
  CHECK_EQ(cudaFree(global), cudaSuccess);
  CHECK_EQ(cudaFree(fresh), cudaSuccess);
}

void test_streams_wait_to_be_waited_for() {
  const cudaStream_t stream = new_stream();
  auto* data = device_memory<std::int32_t>(1);
  void* pinned = nullptr;
  CHECK_EQ(cudaMallocHost(&pinned, 2 * sizeof(std::int32_t)), cudaSuccess);
  auto* host = static_cast<std::int32_t*>(pinned);
  host[0] = host[1] = 0;
  cudaEvent_t first = nullptr;
  cudaEventCreateWithFlags(&first, cudaEventDisableTiming);
  launch(stream, 1, 1, 0, set, data, 1);
  cudaMemcpyAsync(host, data, 4, cudaMemcpyDefault, stream);
  cudaEventRecord(first, stream);
  launch(stream, 1, 1, 0, set, data, 2);
  cudaMemcpyAsync(host + 1, data, 4, cudaMemcpyDefault, stream);
  CHECK_EQ(host[0], 0);
  cudaEventSynchronize(first);
  CHECK_EQ(host[0], 1);
  CHECK_EQ(host[1], 0);
  cudaStreamSynchronize(stream);
  CHECK_EQ(host[1], 2);
  // A copy from pageable memory has read it when it returns; one from pinned memory has not.
  std::int32_t pageable = 3;
  cudaMemcpyAsync(data, &pageable, 4, cudaMemcpyHostToDevice, stream);
  pageable = 4;
  cudaMemcpyAsync(&pageable, data, 4, cudaMemcpyDeviceToHost, stream);
  CHECK_EQ(pageable, 3);
  host[0] = 5;
  cudaMemcpyAsync(data, host, 4, cudaMemcpyHostToDevice, stream);
  host[0] = 6;
  cudaStreamSynchronize(stream);
  CHECK_EQ(read(data), 6);
  cudaEventDestroy(first);
  cudaStreamDestroy(stream);
  cudaFreeHost(pinned);
  cudaFree(data);
}

void test_launches_that_ask_for_too_much() {
  auto* data = device_memory<std::int32_t>(1);
  constexpr std::size_t kPlain = 48 << 10, kMost = 232448;
  CHECK_EQ(launch(nullptr, 0, 1, 0, set, data, 1), cudaErrorInvalidConfiguration);
  CHECK_EQ(launch(nullptr, dim3(1, 65536), 1, 0, set, data, 1), cudaErrorInvalidConfiguration);
  CHECK_EQ(launch(nullptr, 1, 1025, 0, set, data, 1), cudaErrorInvalidConfiguration);
  CHECK_EQ(launch(nullptr, 1, 1, kPlain + 1, set, data, 1), cudaErrorInvalidValue);
  const auto allow = [](std::size_t bytes) {
    return cudaFuncSetAttribute(reinterpret_cast<const void*>(&set), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(bytes));
  };
  CHECK_EQ(allow(kMost + 1), cudaErrorInvalidValue);
  CHECK_EQ(allow(kMost), cudaSuccess);
  CHECK_EQ(launch(nullptr, 1, 1, kMost, set, data, 1), cudaSuccess);
  cudaFree(data);
}

__global__ void choose(cudaGraphConditionalHandle handle, const std::int32_t* which) {
  cudaGraphSetConditional(handle, static_cast<unsigned>(*which));
}

// Appends 1, then 2 or 3 where *which is 0 or 1, then 4.
cudaGraph_t capture_choice(cudaStream_t stream, std::int32_t* digits, const std::int32_t* which) {
  const cudaStream_t branch = new_stream();
  cudaGraph_t graph = nullptr;
  cudaStreamCaptureStatus status{};
  const cudaGraphNode_t* last = nullptr;
  std::size_t count = 0;
  CHECK_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  launch(stream, 1, 1, 0, append, digits, 1);
  cudaStreamGetCaptureInfo(stream, &status, nullptr, &graph, nullptr, nullptr, nullptr);
  cudaGraphNodeParams parameters{};
  parameters.type = cudaGraphNodeTypeConditional;
  parameters.conditional.type = cudaGraphCondTypeSwitch;
  parameters.conditional.size = 2;
  CHECK_EQ(cudaGraphConditionalHandleCreate(&parameters.conditional.handle, graph, 0, 0), cudaSuccess);
  launch(stream, 1, 1, 0, choose, parameters.conditional.handle, which);
  CHECK_EQ(cudaStreamGetCaptureInfo(stream, &status, nullptr, &graph, &last, nullptr, &count), cudaSuccess);
  cudaGraphNode_t node = nullptr;
  CHECK_EQ(cudaGraphAddNode(&node, graph, last, nullptr, count, &parameters), cudaSuccess);
  CHECK_EQ(cudaStreamUpdateCaptureDependencies(stream, &node, nullptr, 1, cudaStreamSetCaptureDependencies),
           cudaSuccess);
  for (int i = 0; i < 2; ++i) {
    cudaGraph_t body = parameters.conditional.phGraph_out[i], same = nullptr;
    cudaStreamBeginCaptureToGraph(branch, body, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal);
    launch(branch, 1, 1, 0, append, digits, 2 + i);
    CHECK_EQ(cudaStreamEndCapture(branch, &same), cudaSuccess);
    CHECK_EQ(same, body);
  }
  launch(stream, 1, 1, 0, append, digits, 4);
  CHECK_EQ(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  void* more = nullptr;
  CHECK_EQ(cudaMalloc(&more, 8), cudaErrorStreamCaptureUnsupported);
  CHECK_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  cudaStreamDestroy(branch);
  return graph;
}

void test_graphs() {
  const cudaStream_t stream = new_stream();
  auto* digits = device_memory<std::int32_t>(1);
  auto* which = device_memory<std::int32_t>(1);
  CHECK_EQ(signal_of([=] {
             cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
             launch(stream, 1, 1, 0, append, digits, 1);  // which has not been loaded
           }),
           SIGABRT);
  cudaFuncAttributes attributes{};
  cudaFuncGetAttributes(&attributes, append);
  cudaFuncGetAttributes(&attributes, choose);
  const cudaGraph_t graph = capture_choice(stream, digits, which);
  cudaGraphExec_t executable = nullptr;
  CHECK_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  const std::int32_t expected[] = {124, 134, 14};
  for (std::int32_t i = 0; i < 3; ++i) {
    launch(nullptr, 1, 1, 0, set, digits, 0);
    launch(nullptr, 1, 1, 0, set, which, i);
    cudaGraphLaunch(executable, stream);
    CHECK_EQ(read(digits), 0);
    cudaStreamSynchronize(stream);
    CHECK_EQ(read(digits), expected[i]);
  }
  cudaGraphDestroy(graph);
  CHECK_EQ(signal_of([=] {
             cudaGraphLaunch(executable, stream);
             cudaStreamSynchronize(stream);  // its condition is gone
           }),
           SIGABRT);
  cudaGraphExecDestroy(executable);
  cudaStreamDestroy(stream);
  cudaFree(digits);
  cudaFree(which);
}

}  // namespace
}  // namespace pn::cuda

int main() {
  pn::cuda::test_mistakes_of_kernels();
  pn::cuda::test_threads_work_together();
  pn::cuda::test_memory();
  pn::cuda::test_streams_wait_to_be_waited_for();
  pn::cuda::test_launches_that_ask_for_too_much();
  pn::cuda::test_graphs();
  return pn::test::report();
}
