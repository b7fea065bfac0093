#include "cpu/zone.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace iuscore {
namespace {

Zone best_zone() {
#if defined(IUSCORE_HAS_ZONES)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Zone::baseline;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return Zone::avx512;
  return Zone::avx2;
#else
  return Zone::baseline;
#endif
}

}  // namespace

const char* zone_name(Zone zone) { return zone == Zone::avx512 ? "avx512" : zone == Zone::avx2 ? "avx2" : "baseline"; }

Zone current_zone() {
  const Zone best = best_zone();
  const char* wish = std::getenv("IUSCORE_CPU_ZONE");
  if (wish == nullptr) return best;
  for (const Zone zone : {Zone::baseline, Zone::avx2, Zone::avx512})
    if (std::strcmp(wish, zone_name(zone)) == 0) return std::min(zone, best);
  return best;
}

}  // namespace iuscore
