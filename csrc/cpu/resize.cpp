#include "ops/resize.h"

#include <vector>

#include "cpu/isa.h"
#include "cpu/parallel_for.h"
#include "cpu/resize_isa.h"

namespace iuscore {
namespace {

struct Kernels {
  void (*prepare)(const ResizeArgs&, const ResizeScratch&, std::uint8_t*);
  void (*image)(const ResizeArgs&, std::int64_t, const ResizeScratch&, std::uint8_t*);
};

Kernels kernels_of(Isa isa) { return {IUSCORE_FOR_ISA(isa, resize_prepare), IUSCORE_FOR_ISA(isa, resize_image)}; }

}  // namespace

void resize_cpu(const ResizeArgs& args) {
  const Kernels kernels = kernels_of(current_isa());
  const ResizeScratch at = resize_scratch(args);
  std::vector<std::vector<std::uint64_t>> scratch(static_cast<std::size_t>(args.threads));
  parallel_for(args.batch, args.threads, [&](std::int32_t worker, std::int64_t i) {
    std::vector<std::uint64_t>& own = scratch[static_cast<std::size_t>(worker)];
    const bool first = own.empty();
    if (first) own.resize(static_cast<std::size_t>(at.bytes / 8));
    auto* bytes = reinterpret_cast<std::uint8_t*>(own.data());
    if (first) kernels.prepare(args, at, bytes);
    kernels.image(args, i, at, bytes);
  });
}

}  // namespace iuscore
