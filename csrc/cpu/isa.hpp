// Instruction-set levels of the hot kernels. Detection is lazy; PYNEEDLE_ISA overrides it.
#pragma once

#include <string_view>
#include <vector>

namespace pn::cpu {

enum class Isa { scalar, avx2, avx512 };

std::string_view name(Isa isa);
std::vector<Isa> compiled_levels();   // ascending
std::vector<Isa> supported_levels();  // compiled, and this processor and operating system can run them; ascending

// PYNEEDLE_ISA where it is set, else the highest supported level. Throws std::invalid_argument where the variable names
// no level, or one that was not compiled or can't run here. Read anew at each call, so that tests can switch.
Isa active_level();

}  // namespace pn::cpu
