#include "ops/additive_lookup.h"

#include <algorithm>
#include <vector>

#include "cpu/additive_lookup_zone.h"
#include "cpu/parallel_for.h"
#include "cpu/zone.h"

namespace iuscore {
namespace {

using RowsKernel = void (*)(const AdditiveLookupRows&);

RowsKernel kernel_of(Zone zone) {
#if defined(IUSCORE_HAS_ZONES)
  if (zone == Zone::avx512) return avx512::additive_lookup_rows;
  if (zone == Zone::avx2) return avx2::additive_lookup_rows;
#endif
  static_cast<void>(zone);
  return baseline::additive_lookup_rows;
}

}  // namespace

void additive_lookup_cpu(const AdditiveLookupArgs& args, std::int32_t threads) {
  constexpr std::int64_t kRows = 128;  // their contributions are still in cache when they are added up
  const RowsKernel kernel = kernel_of(current_zone());
  const auto groups = static_cast<std::size_t>(args.groups);
  std::vector<std::vector<float>> memory(static_cast<std::size_t>(threads));
  std::vector<std::vector<std::int32_t>> cells(static_cast<std::size_t>(threads));
  parallel_for((args.rows + kRows - 1) / kRows, threads, [&](std::int32_t worker, std::int64_t i) {
    const auto own = static_cast<std::size_t>(worker);
    memory[own].resize(2 * groups);
    cells[own].resize(groups);
    kernel({&args, i * kRows, std::min(kRows, args.rows - i * kRows), memory[own].data(), cells[own].data()});
  });
}

}  // namespace iuscore
