// A training step and an evaluation allocate nothing once they have run once: every allocation of the program is
// counted here, the BLAS's too.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <vector>

#include "check.hpp"
#include "core/network.hpp"
#include "core/random.hpp"
#include "cpu/blas.hpp"
#include "cpu/engine.hpp"
#include "cpu/kernel_choice.hpp"

#if defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)
#define PN_COUNTS_ALLOCATIONS 0  // the sanitizer's allocator must not be replaced; other C libraries have other names
#else
#define PN_COUNTS_ALLOCATIONS 1
#endif

namespace {

std::atomic<std::int64_t> allocations{0};

}  // namespace

#if PN_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) {
  ++allocations;
  return __libc_realloc(old, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  *out = memalign(alignment, size);
  return *out == nullptr ? 12 : 0;
}
}
#endif

namespace {

// OpenBLAS packs products of fewer than 100^3 multiplications in memory of its own, step by step; a protocol's are
// larger.
constexpr std::int64_t kGlobalWidth = 200;
constexpr std::int64_t kInputs = 4, kRows = 350, kBatch = 100;

pn::NetworkShape shape_of(const char* network, std::int32_t layers) {
  const bool global = network[0] == 'G';
  return {kInputs, global ? kInputs : 1, global ? kGlobalWidth : 10, network[1] == 'N' && !global,
          layers,  pn::Activation::relu};
}

void trains_without_allocating(const pn::NetworkShape& shape, const pn::Penalty& penalty, const char* kernel,
                               int threads) {
  std::vector<float> x(kRows * kInputs), y(kRows), initial(static_cast<std::size_t>(pn::parameter_layout(shape).size));
  pn::uniform({1, pn::Purpose::data, 0, 0}, 0, static_cast<std::int64_t>(x.size()), x.data());
  pn::uniform({2, pn::Purpose::data, 0, 0}, 0, kRows, y.data());
  pn::uniform({3, pn::Purpose::initialization, 0, 0}, 0, static_cast<std::int64_t>(initial.size()), initial.data());
  for (float& w : initial) w = 0.4f * (w - 0.5f);
  pn::cpu::CpuEngine<float> engine({shape, {}, penalty, kernel, kBatch, threads}, pn::cpu::active_level(),
                                   {x.data(), y.data(), kRows, x.data(), y.data(), kRows}, initial.data());
  pn::Shuffler shuffler(kRows);
  std::vector<std::uint32_t> order(kRows);
  std::int64_t t = 0;
  const pn::ShouldStop never = [] { return false; };
  for (std::uint32_t epoch = 0; epoch < 4; ++epoch) {
    const std::int64_t before = allocations;
    shuffler.draw(9, epoch, order.data());
    engine.begin_epoch(order.data());
    for (std::int64_t first = 0; first < kRows; first += kBatch) {
      engine.step(first, std::min(kBatch, kRows - first), ++t);
    }
    engine.evaluate(pn::Split::validation, never);
    engine.keep_best();
    if (epoch > 0) CHECK_EQ(allocations - before, 0);
  }
}

}  // namespace

int main() {
  if (PN_COUNTS_ALLOCATIONS == 0) {
    std::cout << "allocations can't be counted in this build\n";
    return 0;
  }
  const std::int64_t before = allocations;
  std::vector<int> counted(100);
  CHECK(counted.size() == 100 && allocations > before);  // the counter works
  if (const char* library = std::getenv("PYNEEDLE_TEST_BLAS")) pn::cpu::blas::load(library);
  for (const char* network : {"LN", "LCN", "GN"}) {
    for (const std::int32_t layers : {1, 2}) {
      const pn::NetworkShape shape = shape_of(network, layers);
      if (pn::cpu::needs_blas(shape) && !pn::cpu::blas::loaded()) continue;
      for (const std::string& kernel : pn::cpu::kernels_of(shape)) {
        for (const pn::PenaltyKind kind : {pn::PenaltyKind::none, pn::PenaltyKind::l1, pn::PenaltyKind::path_norm}) {
          for (const int threads : {1, 2}) trains_without_allocating(shape, {kind, 1e-5}, kernel.c_str(), threads);
        }
      }
    }
  }
  return pn::test::report();
}
