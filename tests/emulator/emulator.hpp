// What the parts of the emulated runtime share. All its functions hold one lock while they work.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace emulator {

using Operation = std::function<void()>;

std::recursive_mutex& lock();

// Remembers an error for cudaGetLastError and returns it.
cudaError_t fail(cudaError_t error);

// What no program may do and a device would not report by itself: prints the sentence and aborts.
[[noreturn]] void die(const std::string& what);

// --- memory -------------------------------------------------------------------------------------------------------

enum class Place { device, pinned, pageable };
Place place_of(const void* data);

// While one lives, the device's memory can be read and written.
class Access {
 public:
  Access();
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

// --- streams ------------------------------------------------------------------------------------------------------

bool is_default(cudaStream_t stream);
bool captures(cudaStream_t stream);
// Whether a stream captures that this thread has told to.
bool thread_captures();
// Puts an operation behind the stream's others, or into the graph that it captures.
void enqueue(cudaStream_t stream, Operation operation);
// Does what the stream has waiting.
void finish(cudaStream_t stream);
void finish_all();

// --- thread blocks ------------------------------------------------------------------------------------------------

constexpr int kMostThreads = 1024, kWarp = 32;
constexpr std::size_t kFastBytes = 232448;      // shared memory of a block, at most: that of compute capability 9.0
constexpr std::size_t kPlainFastBytes = 49152;  // what a launch may ask for by itself

void run_grid(const dim3& grid, const dim3& block, std::size_t fast_bytes, const std::function<void()>& thread);

}  // namespace emulator

struct CUgraphNode_st {
  emulator::Operation run;
};

struct CUgraph_st {
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;  // in the order in which they run: each after the one before
  std::vector<std::unique_ptr<CUgraph_st>> bodies;     // of conditional nodes
  std::vector<std::unique_ptr<std::vector<cudaGraph_t>>> body_lists;
};

struct CUstream_st {
  std::deque<emulator::Operation> waiting;
  cudaGraph_t graph = nullptr;  // that it captures
  bool owns_graph = false;
  cudaGraphNode_t last = nullptr;  // node that the next one comes after
};
