#include "cpu/isa.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace pn::cpu {
namespace {

bool can_run(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::scalar: return true;
    case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && can_run(Isa::avx2);
  }
  return false;
#else
  return isa == Isa::scalar;
#endif
}

std::string list(const std::vector<Isa>& levels) {
  std::string text;
  for (const Isa isa : levels) text.append(text.empty() ? "" : ", ").append(name(isa));
  return text;
}

}  // namespace

std::string_view name(Isa isa) {
  switch (isa) {
    case Isa::scalar: return "scalar";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
  }
  return "unknown";
}

std::vector<Isa> compiled_levels() {
#if defined(PYNEEDLE_X86_LEVELS)
  return {Isa::scalar, Isa::avx2, Isa::avx512};
#else
  return {Isa::scalar};
#endif
}

std::vector<Isa> supported_levels() {
  std::vector<Isa> levels = compiled_levels();
  std::erase_if(levels, [](Isa isa) { return !can_run(isa); });
  return levels;
}

Isa active_level() {
  const std::vector<Isa> supported = supported_levels();
  const char* wanted = std::getenv("PYNEEDLE_ISA");
  if (wanted == nullptr || *wanted == '\0') return supported.back();
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (name(isa) != wanted) continue;
    if (std::find(supported.begin(), supported.end(), isa) != supported.end()) return isa;
    throw std::invalid_argument("PYNEEDLE_ISA=" + std::string(wanted) +
                                " can't run here; supported levels: " + list(supported));
  }
  throw std::invalid_argument("PYNEEDLE_ISA must be one of scalar, avx2, avx512, got '" + std::string(wanted) + "'");
}

}  // namespace pn::cpu
