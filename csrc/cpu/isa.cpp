#include "cpu/isa.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace iuscore {
namespace {

Isa best_isa() {
#if defined(IUSCORE_HAS_ISAS)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::baseline;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return Isa::avx512;
  return Isa::avx2;
#else
  return Isa::baseline;
#endif
}

}  // namespace

const char* isa_name(Isa isa) { return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "baseline"; }

Isa current_isa() {
  const Isa best = best_isa();
  const char* wish = std::getenv("IUSCORE_CPU_ISA");
  if (wish == nullptr) return best;
  for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512})
    if (std::strcmp(wish, isa_name(isa)) == 0) return std::min(isa, best);
  return best;
}

}  // namespace iuscore
