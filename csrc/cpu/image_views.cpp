#include "ops/image_views.h"

#include <algorithm>
#include <vector>

#include "cpu/image_views_isa.h"
#include "cpu/isa.h"
#include "cpu/parallel_for.h"
#include "cpu/thread_scratch.h"

namespace iuscore {

void image_views_cpu(const ImageViewsArgs& args) {
  const auto image = IUSCORE_FOR_ISA(current_isa(), image_views_image);
  std::int64_t width = 0;
  for (std::int64_t i = 0; i < args.batch; ++i) width = std::max(width, args.images[i].width);
  ThreadScratch floats(args.threads);
  std::vector<std::vector<std::int64_t>> words(static_cast<std::size_t>(args.threads));
  parallel_for(args.batch, args.threads, [&](std::int32_t worker, std::int64_t i) {
    std::vector<std::int64_t>& own = words[static_cast<std::size_t>(worker)];
    if (own.empty()) own.resize(static_cast<std::size_t>(views_words(width, args.channels)));
    image(args, i, views_scratch(floats.of(worker, kViewsFloats), own.data(), width, args.channels));
  });
}

}  // namespace iuscore
