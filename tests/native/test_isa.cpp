// Choice of the instruction-set level: the best supported one, or what PYNEEDLE_ISA names, or an error that says why
// not.
#include "cpu/isa.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"

namespace {

using pn::cpu::Isa;

void set_override(const char* value) { setenv("PYNEEDLE_ISA", value, 1); }

bool contains(const std::vector<Isa>& levels, Isa isa) {
  return std::find(levels.begin(), levels.end(), isa) != levels.end();
}

void levels_are_in_order() {
  const std::vector<Isa> compiled = pn::cpu::compiled_levels(), supported = pn::cpu::supported_levels();
  CHECK(!supported.empty());
  CHECK(supported.front() == Isa::scalar);
  CHECK(std::is_sorted(compiled.begin(), compiled.end()));
  CHECK(std::is_sorted(supported.begin(), supported.end()));
  for (const Isa isa : supported) CHECK(contains(compiled, isa));
}

void names_are_those_of_the_variable() {
  CHECK_EQ(pn::cpu::name(Isa::scalar), "scalar");
  CHECK_EQ(pn::cpu::name(Isa::avx2), "avx2");
  CHECK_EQ(pn::cpu::name(Isa::avx512), "avx512");
}

void without_override_the_best_runs() {
  unsetenv("PYNEEDLE_ISA");
  CHECK(pn::cpu::active_level() == pn::cpu::supported_levels().back());
  set_override("");
  CHECK(pn::cpu::active_level() == pn::cpu::supported_levels().back());
}

void override_is_obeyed_or_refused() {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    const std::string wanted(pn::cpu::name(isa));
    set_override(wanted.c_str());
    if (contains(pn::cpu::supported_levels(), isa)) {
      CHECK(pn::cpu::active_level() == isa);
    } else {
      CHECK_THROWS(pn::cpu::active_level(), std::invalid_argument, "PYNEEDLE_ISA=" + wanted + " can't run here");
    }
  }
}

void misspelt_override_is_named() {
  for (const char* wrong : {"avx", "AVX2", "avx2 ", "avx-512", "best", "\xff"}) {
    set_override(wrong);
    CHECK_THROWS(pn::cpu::active_level(), std::invalid_argument, "PYNEEDLE_ISA must be one of scalar, avx2, avx512");
    CHECK_THROWS(pn::cpu::active_level(), std::invalid_argument, "'" + std::string(wrong) + "'");
  }
}

}  // namespace

int main() {
  levels_are_in_order();
  names_are_those_of_the_variable();
  without_override_the_best_runs();
  override_is_obeyed_or_refused();
  misspelt_override_is_named();
  return pn::test::report();
}
