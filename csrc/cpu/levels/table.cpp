#include "cpu/levels/table.hpp"

namespace pn::cpu {

template <class T>
const Table<T>& table_scalar();
template <class T>
const Table<T>& table_avx2();
template <class T>
const Table<T>& table_avx512();

template <class T>
const Table<T>& table(Isa isa) {
#if defined(PYNEEDLE_X86_LEVELS)
  if (isa == Isa::avx512) return table_avx512<T>();
  if (isa == Isa::avx2) return table_avx2<T>();
#endif
  (void)isa;
  return table_scalar<T>();
}

const ScreenFunctions& screen_avx2();
const ScreenFunctions& screen_avx512();
const ScreenFunctions& screen_avx512vnni();

bool has_vnni() {
#if defined(PYNEEDLE_X86_LEVELS)
  return __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

const ScreenFunctions* screen_functions(Isa isa, bool vnni) {
#if defined(PYNEEDLE_X86_LEVELS)
  if (isa == Isa::avx512) return vnni ? &screen_avx512vnni() : &screen_avx512();
  if (isa == Isa::avx2) return &screen_avx2();
#endif
  (void)isa, (void)vnni;
  return nullptr;
}

template const Table<float>& table<float>(Isa);
template const Table<double>& table<double>(Isa);

}  // namespace pn::cpu
