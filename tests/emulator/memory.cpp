// The device's memory: pages that only what runs on the device may touch, with pages between them that nobody may.
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "emulator.hpp"

namespace emulator {
namespace {

constexpr std::size_t kPage = 4096, kTotalBytes = std::size_t{8} << 30, kAlignment = 256;

struct Allocation {
  char* pages;
  std::size_t page_bytes;  // that can be opened; a page that can't lies before and behind
};

std::map<const char*, Allocation>& device_memory() {
  static auto& memory = *new std::map<const char*, Allocation>;
  return memory;
}
std::map<const char*, std::size_t>& pinned_memory() {
  static auto& memory = *new std::map<const char*, std::size_t>;
  return memory;
}
std::size_t used_bytes = 0, most_bytes = 0;
std::int64_t allocations = 0;
int accesses = 0;

void protect(const Allocation& a, int protection) {
  if (mprotect(a.pages, a.page_bytes, protection) != 0) die("memory of the device can't be opened or closed");
}

// The end of what is asked for lies at the end of its pages, as far as the alignment lets it.
char* allocate(std::size_t bytes) {
  const std::size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::size_t page_bytes = (size + kPage - 1) / kPage * kPage;
  if (used_bytes + page_bytes > kTotalBytes) return nullptr;
  void* mapped = mmap(nullptr, page_bytes + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const Allocation a{static_cast<char*>(mapped) + kPage, page_bytes};
  protect(a, PROT_READ | PROT_WRITE);
  std::memset(a.pages, 0xff, page_bytes);
  if (accesses == 0) protect(a, PROT_NONE);
  char* data = a.pages + (page_bytes - size);
  device_memory().emplace(data, a);
  used_bytes += page_bytes;
  most_bytes = std::max(most_bytes, used_bytes);
  ++allocations;
  return data;
}

bool release(void* data) {
  const auto found = device_memory().find(static_cast<char*>(data));
  if (found == device_memory().end()) return false;
  used_bytes -= found->second.page_bytes;
  munmap(found->second.pages - kPage, found->second.page_bytes + 2 * kPage);
  device_memory().erase(found);
  return true;
}

template <class Map, class End>
bool within(const Map& map, const void* data, End end_of) {
  const char* address = static_cast<const char*>(data);
  auto after = map.upper_bound(address);
  return after != map.begin() && address < end_of(*--after);
}

bool is_host(Place place) { return place != Place::device; }

// Whether the places are those that the kind names.
bool fits(cudaMemcpyKind kind, Place to, Place from) {
  if (kind == cudaMemcpyHostToDevice) return !is_host(to) && is_host(from);
  if (kind == cudaMemcpyDeviceToHost) return is_host(to) && !is_host(from);
  return true;
}

}  // namespace

Place place_of(const void* data) {
  if (within(device_memory(), data, [](const auto& entry) { return entry.second.pages + entry.second.page_bytes; })) {
    return Place::device;
  }
  const bool pinned = within(pinned_memory(), data, [](const auto& entry) { return entry.first + entry.second; });
  return pinned ? Place::pinned : Place::pageable;
}

Access::Access() {
  if (accesses++ > 0) return;
  for (const auto& [data, allocation] : device_memory()) protect(allocation, PROT_READ | PROT_WRITE);
}
Access::~Access() {
  if (--accesses > 0) return;
  for (const auto& [data, allocation] : device_memory()) protect(allocation, PROT_NONE);
}

}  // namespace emulator

using namespace emulator;

// For tests, which find these by name: how often memory of the device was taken so far, and what was in use at most,
// beside what is in use now, since this was asked last.
extern "C" std::int64_t emulator_allocations() {
  const std::lock_guard guard(lock());
  return allocations;
}
extern "C" std::int64_t emulator_most_bytes() {
  const std::lock_guard guard(lock());
  return static_cast<std::int64_t>(std::exchange(most_bytes, used_bytes) - used_bytes);
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  const std::lock_guard guard(lock());
  if (thread_captures()) return fail(cudaErrorStreamCaptureUnsupported);
  *data = bytes > 0 ? allocate(bytes) : nullptr;
  return bytes > 0 && *data == nullptr ? fail(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaFree(void* data) {
  const std::lock_guard guard(lock());
  if (data == nullptr) return cudaSuccess;
  if (thread_captures()) return fail(cudaErrorStreamCaptureUnsupported);
  finish_all();
  return release(data) ? cudaSuccess : fail(cudaErrorInvalidValue);
}

cudaError_t cudaMallocHost(void** data, std::size_t bytes) {
  const std::lock_guard guard(lock());
  if (thread_captures()) return fail(cudaErrorStreamCaptureUnsupported);
  *data = std::malloc(bytes);
  if (*data == nullptr) return fail(cudaErrorMemoryAllocation);
  std::memset(*data, 0xff, bytes);
  pinned_memory().emplace(static_cast<char*>(*data), bytes);
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* data) {
  const std::lock_guard guard(lock());
  if (data == nullptr) return cudaSuccess;
  if (thread_captures()) return fail(cudaErrorStreamCaptureUnsupported);
  finish_all();
  if (pinned_memory().erase(static_cast<char*>(data)) == 0) return fail(cudaErrorInvalidValue);
  std::free(data);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  const std::lock_guard guard(lock());
  *free_bytes = kTotalBytes - used_bytes;
  *total_bytes = kTotalBytes;
  return cudaSuccess;
}

struct CUmemPoolHandle_st {};

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  if (properties->location.id != 0) return fail(cudaErrorInvalidDevice);
  *pool = new CUmemPoolHandle_st;
  return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }

cudaError_t cudaMallocFromPoolAsync(void** data, std::size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  const std::lock_guard guard(lock());
  if (captures(stream)) return fail(cudaErrorNotSupported);
  if (pool == nullptr) return fail(cudaErrorInvalidValue);
  *data = allocate(bytes);
  return *data == nullptr ? fail(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  const std::lock_guard guard(lock());
  if (captures(stream)) return fail(cudaErrorNotSupported);
  enqueue(stream, [data] {
    if (!release(data)) die("memory was given back twice, or is none of the device's");
  });
  return cudaSuccess;
}

// From pageable memory a copy is taken at once, and one to pageable memory is waited for; others wait for their turn.
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const std::lock_guard guard(lock());
  const Place target = place_of(to), source = place_of(from);
  if (!fits(kind, target, source)) return fail(cudaErrorInvalidValue);
  const bool pageable = target == Place::pageable || source == Place::pageable;
  if (pageable && captures(stream)) return fail(cudaErrorStreamCaptureUnsupported);
  if (source == Place::pageable) {
    const char* first = static_cast<const char*>(from);
    enqueue(stream,
            [to, staged = std::vector<char>(first, first + bytes)] { std::memcpy(to, staged.data(), staged.size()); });
  } else {
    enqueue(stream, [=] { std::memmove(to, from, bytes); });
  }
  if (target == Place::pageable) finish(stream);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t stream) {
  const std::lock_guard guard(lock());
  if (place_of(data) != Place::device) return fail(cudaErrorInvalidValue);
  enqueue(stream, [=] { std::memset(data, value, bytes); });
  return cudaSuccess;
}
