// Streams, events, captures and graphs.
#include <map>
#include <set>
#include <utility>

#include "emulator.hpp"

struct CUevent_st {
  cudaStream_t stream = nullptr;
  bool done = true;
};

struct CUgraphExec_st {
  std::vector<emulator::Operation> operations;
};

namespace emulator {
namespace {

std::set<cudaStream_t>& streams() {
  static auto& all = *new std::set<cudaStream_t>;
  return all;
}
thread_local int captures_of_thread = 0;

constexpr unsigned kNobodyKnows = ~0u;  // a condition that no kernel has set in this launch
struct Condition {
  cudaGraph_t graph;
  unsigned value;
};
std::map<cudaGraphConditionalHandle, Condition>& conditions() {
  static auto& all = *new std::map<cudaGraphConditionalHandle, Condition>;
  return all;
}

void do_first(cudaStream_t stream) {
  const Operation operation = std::move(stream->waiting.front());
  stream->waiting.pop_front();
  const Access access;
  operation();
}

cudaGraphNode_t append(cudaGraph_t graph, Operation operation) {
  graph->nodes.push_back(std::make_unique<CUgraphNode_st>(CUgraphNode_st{std::move(operation)}));
  return graph->nodes.back().get();
}

cudaGraphNode_t last_of(cudaGraph_t graph) { return graph->nodes.empty() ? nullptr : graph->nodes.back().get(); }

cudaError_t begin_capture(cudaStream_t stream, cudaGraph_t graph, bool owns) {
  if (is_default(stream) || captures(stream)) return fail(cudaErrorStreamCaptureUnsupported);
  stream->graph = graph;
  stream->owns_graph = owns;
  stream->last = last_of(graph);
  ++captures_of_thread;
  return cudaSuccess;
}

std::vector<Operation> operations_of(const CUgraph_st& graph) {
  std::vector<Operation> operations;
  for (const auto& node : graph.nodes) operations.push_back(node->run);
  return operations;
}

void run_all(const std::vector<Operation>& operations) {
  for (const Operation& operation : operations) operation();
}

// Runs the body that the condition names, where there is one of that number. Bodies are captured after the node is
// made.
Operation switch_between(cudaGraphConditionalHandle handle, std::vector<cudaGraph_t> bodies) {
  return [handle, bodies = std::move(bodies)] {
    const auto condition = conditions().find(handle);
    if (condition == conditions().end()) die("a graph's condition is gone: its graph was destroyed before");
    const unsigned chosen = std::exchange(condition->second.value, kNobodyKnows);
    if (chosen < bodies.size()) run_all(operations_of(*bodies[chosen]));
  };
}

void forget_conditions(cudaGraph_t graph) {
  std::erase_if(conditions(), [graph](const auto& entry) { return entry.second.graph == graph; });
  for (const auto& body : graph->bodies) forget_conditions(body.get());
}

}  // namespace

bool is_default(cudaStream_t stream) {
  return reinterpret_cast<std::uintptr_t>(stream) <= 2;
}  // null, legacy, thread's
bool captures(cudaStream_t stream) { return !is_default(stream) && stream->graph != nullptr; }
bool thread_captures() { return captures_of_thread > 0; }

void enqueue(cudaStream_t stream, Operation operation) {
  if (is_default(stream)) {
    const Access access;
    operation();
  } else if (captures(stream)) {
    if (stream->last != last_of(stream->graph)) die("a capture forks: that is beyond the emulated runtime");
    stream->last = append(stream->graph, std::move(operation));
  } else {
    stream->waiting.push_back(std::move(operation));
  }
}

void finish(cudaStream_t stream) {
  if (is_default(stream)) return;
  const Access access;
  while (!stream->waiting.empty()) do_first(stream);
}

void finish_all() {
  for (const cudaStream_t stream : streams()) finish(stream);
}

}  // namespace emulator

using namespace emulator;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const std::lock_guard guard(lock());
  if (flags != cudaStreamNonBlocking) return fail(cudaErrorNotSupported);
  *stream = new CUstream_st;
  streams().insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard guard(lock());
  if (captures(stream)) return fail(cudaErrorStreamCaptureUnsupported);
  finish(stream);
  streams().erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::lock_guard guard(lock());
  if (captures(stream)) return fail(cudaErrorStreamCaptureUnsupported);
  finish(stream);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard guard(lock());
  while (!event->done && !event->stream->waiting.empty()) do_first(event->stream);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard guard(lock());
  if (captures(stream)) return fail(cudaErrorNotSupported);
  event->stream = stream;
  event->done = false;
  enqueue(stream, [event] { event->done = true; });
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard guard(lock());
  const Access access;
  while (!event->done) do_first(event->stream);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const std::lock_guard guard(lock());
  return begin_capture(stream, new CUgraph_st, true);
}

cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t graph, const cudaGraphNode_t*,
                                          const cudaGraphEdgeData*, std::size_t count, cudaStreamCaptureMode) {
  const std::lock_guard guard(lock());
  if (count != 0 || !graph->nodes.empty()) return fail(cudaErrorNotSupported);
  return begin_capture(stream, graph, false);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard guard(lock());
  if (!captures(stream)) return fail(cudaErrorInvalidValue);
  *graph = stream->graph;
  stream->graph = nullptr;
  stream->last = nullptr;
  --captures_of_thread;
  return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long*,
                                     cudaGraph_t* graph, const cudaGraphNode_t** dependencies,
                                     const cudaGraphEdgeData** edges, std::size_t* count) {
  const std::lock_guard guard(lock());
  *status = captures(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  if (!captures(stream)) return cudaSuccess;
  *graph = stream->graph;
  if (dependencies != nullptr) *dependencies = &stream->last;
  if (edges != nullptr) *edges = nullptr;
  if (count != nullptr) *count = stream->last == nullptr ? 0 : 1;
  return cudaSuccess;
}

cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t stream, cudaGraphNode_t* dependencies,
                                                const cudaGraphEdgeData*, std::size_t count, unsigned flags) {
  const std::lock_guard guard(lock());
  if (!captures(stream) || count != 1 || flags != cudaStreamSetCaptureDependencies) return fail(cudaErrorNotSupported);
  stream->last = *dependencies;
  return cudaSuccess;
}

cudaError_t cudaGraphConditionalHandleCreate(cudaGraphConditionalHandle* handle, cudaGraph_t graph, unsigned,
                                             unsigned flags) {
  const std::lock_guard guard(lock());
  static cudaGraphConditionalHandle next = 1;
  if (flags != 0) return fail(cudaErrorNotSupported);
  *handle = next++;
  conditions()[*handle] = {graph, kNobodyKnows};
  return cudaSuccess;
}

// On the device.
void cudaGraphSetConditional(cudaGraphConditionalHandle handle, unsigned value) {
  const auto condition = conditions().find(handle);
  if (condition == conditions().end()) die("a condition was set that no graph has");
  condition->second.value = value;
}

cudaError_t cudaGraphAddNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                             const cudaGraphEdgeData*, std::size_t count, cudaGraphNodeParams* parameters) {
  const std::lock_guard guard(lock());
  auto& conditional = parameters->conditional;
  const auto condition = conditions().find(conditional.handle);
  if (condition == conditions().end() || condition->second.graph != graph) return fail(cudaErrorInvalidValue);
  if (parameters->type != cudaGraphNodeTypeConditional || conditional.type != cudaGraphCondTypeSwitch) {
    return fail(cudaErrorNotSupported);
  }
  if (last_of(graph) != (count == 0 ? nullptr : dependencies[count - 1])) return fail(cudaErrorNotSupported);
  auto bodies = std::make_unique<std::vector<cudaGraph_t>>();
  for (unsigned i = 0; i < conditional.size; ++i) {
    graph->bodies.push_back(std::make_unique<CUgraph_st>());
    bodies->push_back(graph->bodies.back().get());
  }
  *node = append(graph, switch_between(conditional.handle, *bodies));
  conditional.phGraph_out = bodies->data();
  graph->body_lists.push_back(std::move(bodies));
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  const std::lock_guard guard(lock());
  *executable = new CUgraphExec_st{operations_of(*graph)};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const std::lock_guard guard(lock());
  if (captures(stream)) return fail(cudaErrorNotSupported);
  enqueue(stream, [executable] { run_all(executable->operations); });
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  const std::lock_guard guard(lock());
  finish_all();
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const std::lock_guard guard(lock());
  finish_all();
  forget_conditions(graph);
  delete graph;
  return cudaSuccess;
}
