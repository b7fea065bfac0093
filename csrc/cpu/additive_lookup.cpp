#include "ops/additive_lookup.h"

#include <algorithm>
#include <vector>

#include "cpu/additive_lookup_isa.h"
#include "cpu/isa.h"
#include "cpu/parallel_for.h"

namespace iuscore {

void additive_lookup_cpu(const AdditiveLookupArgs& args, std::int32_t threads) {
  constexpr std::int64_t kRows = 128;  // few enough that contributions are still in cache when they are added
  const auto kernel = IUSCORE_FOR_ISA(current_isa(), additive_lookup_rows);
  const auto groups = static_cast<std::size_t>(args.groups);
  std::vector<std::vector<float>> scratch(static_cast<std::size_t>(threads));
  std::vector<std::vector<std::int32_t>> cells(static_cast<std::size_t>(threads));
  parallel_for((args.rows + kRows - 1) / kRows, threads, [&](std::int32_t worker, std::int64_t i) {
    const auto own = static_cast<std::size_t>(worker);
    scratch[own].resize(2 * groups);
    cells[own].resize(groups);
    kernel({&args, i * kRows, std::min(kRows, args.rows - i * kRows), scratch[own].data(), cells[own].data()});
  });
}

}  // namespace iuscore
