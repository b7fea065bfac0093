// Which instruction set the zone-compiled files run with on this machine.
#pragma once

namespace iuscore {

enum class Zone { baseline, avx2, avx512 };

// The best zone this CPU runs, at most what IUSCORE_CPU_ZONE (baseline, avx2, avx512) allows.
Zone current_zone();
const char* zone_name(Zone zone);

}  // namespace iuscore
