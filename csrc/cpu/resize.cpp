#include "ops/resize.h"

#include <vector>

#include "cpu/parallel_for.h"
#include "cpu/resize_zone.h"
#include "cpu/zone.h"

namespace iuscore {
namespace {

struct Kernels {
  void (*prepare)(const ResizeArgs&, const ResizeMemory&, std::uint8_t*);
  void (*image)(const ResizeArgs&, std::int64_t, const ResizeMemory&, std::uint8_t*);
};

Kernels kernels_of(Zone zone) {
#if defined(IUSCORE_HAS_ZONES)
  if (zone == Zone::avx512) return {avx512::resize_prepare, avx512::resize_image};
  if (zone == Zone::avx2) return {avx2::resize_prepare, avx2::resize_image};
#endif
  static_cast<void>(zone);
  return {baseline::resize_prepare, baseline::resize_image};
}

}  // namespace

void resize_cpu(const ResizeArgs& args) {
  const Kernels kernels = kernels_of(current_zone());
  const ResizeMemory at = resize_memory(args);
  std::vector<std::vector<std::uint64_t>> memory(static_cast<std::size_t>(args.threads));
  parallel_for(args.batch, args.threads, [&](std::int32_t worker, std::int64_t i) {
    std::vector<std::uint64_t>& own = memory[static_cast<std::size_t>(worker)];
    const bool first = own.empty();
    if (first) own.resize(static_cast<std::size_t>(at.bytes / 8));
    auto* bytes = reinterpret_cast<std::uint8_t*>(own.data());
    if (first) kernels.prepare(args, at, bytes);
    kernels.image(args, i, at, bytes);
  });
}

}  // namespace iuscore
