// Where the kernel's floats live and how many threads work on them.
#pragma once

#include "core/macros.h"
#include "core/perceptual.h"
#include "ops/perceptual_maps.h"

namespace iuscore {

// How a launch is cut and where its floats live, in this order: scratch, strip, planes. Parts that do not fit into
// shared memory lie in the workspace, one piece of `workspace_floats` a block.
struct PerceptualMapsLayout {
  std::int32_t threads;
  std::int32_t blocks;
  bool strip_on_chip;
  bool planes_on_chip;
  std::int64_t strip_floats;
  std::int64_t plane_floats;
  std::int64_t shared_bytes;
  std::int64_t workspace_floats;
};

constexpr std::int64_t kScratchFloats = 2 * 3 * 32;  // widen_over_block of up to three ranges
constexpr std::int64_t kStripFloats = 8192;          // enough rows to keep a block busy between barriers

IUSCORE_HD std::int64_t round_up(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

// Floats of one strip row; a multiple of four, for stores of four.
IUSCORE_HD std::int64_t strip_pitch(std::int32_t kept, std::int64_t width) { return round_up(kept * width, 4); }

// shared_limit: the most bytes of shared memory a block may have.
inline PerceptualMapsLayout perceptual_maps_layout(const PerceptualMapsCudaArgs& args, std::int64_t shared_limit,
                                                   std::int32_t multiprocessors) {
  const auto smaller = [](std::int64_t x, std::int64_t y) { return x < y ? x : y; };
  const std::int32_t kept = kept_channels(args.color, args.channels);
  const std::int64_t pixels = std::int64_t{args.height} * args.width;
  const std::int64_t pitch = strip_pitch(kept, args.strip_width);
  PerceptualMapsLayout layout{};
  layout.plane_floats = pixels * (args.clean && kept == 1 ? 2 : 3);
  std::int64_t chip = shared_limit / static_cast<std::int64_t>(sizeof(float)) - kScratchFloats;
  layout.planes_on_chip = layout.plane_floats <= chip;
  if (layout.planes_on_chip) chip -= layout.plane_floats;
  if (pitch > 0) {
    const std::int64_t wanted = smaller(args.height, pitch < kStripFloats ? kStripFloats / pitch : 1) * pitch;
    layout.strip_on_chip = pitch <= chip;
    layout.strip_floats = layout.strip_on_chip ? smaller(wanted, chip / pitch * pitch) : wanted;
  }
  const std::int64_t strip_here = layout.strip_on_chip ? layout.strip_floats : 0;
  const std::int64_t planes_here = layout.planes_on_chip ? layout.plane_floats : 0;
  layout.shared_bytes = static_cast<std::int64_t>(sizeof(float)) * (kScratchFloats + strip_here + planes_here);
  layout.workspace_floats = round_up(layout.strip_floats - strip_here + layout.plane_floats - planes_here, 4);
  // As many threads on a multiprocessor as registers allow, shared among the blocks whose planes fit beside each other.
  std::int64_t neighbors = layout.planes_on_chip ? shared_limit / layout.shared_bytes : 1;
  layout.threads = kLargestCudaBlock;
  for (; neighbors > 1 && layout.threads > 192; neighbors /= 2) layout.threads /= 2;
  layout.threads = static_cast<std::int32_t>(smaller(layout.threads, round_up(pixels, 32)));
  if (args.threads > 0) layout.threads = args.threads;
  const std::int64_t most = layout.workspace_floats > 0 ? multiprocessors : 0x7fffffff;
  layout.blocks = static_cast<std::int32_t>(smaller(args.batch, most));
  return layout;
}

}  // namespace iuscore
