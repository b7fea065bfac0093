// Launcher: where things live.
#include "cuda/launch.h"
#include "cuda/texture_stats.cuh"

namespace iuscore {
namespace {

TextureStatsLayout layout_on(const Launcher& launcher, const TextureStatsCudaArgs& args) {
  return texture_stats_layout(args, launcher.shared_limit(), launcher.multiprocessors());
}

}  // namespace

std::int64_t texture_stats_cuda_workspace(const TextureStatsCudaArgs& args) {
  const TextureStatsLayout layout = layout_on(Launcher("texture_stats", args.device), args);
  return layout.ring == 0 ? -1 : layout.blocks * layout.workspace_bytes;
}

void texture_stats_cuda(const TextureStatsCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher("texture_stats", args.device);
  const CurrentDevice current = launcher.use_device();
  const TextureStatsLayout layout = layout_on(launcher, args);
  if (layout.ring == 0) throw std::runtime_error("texture_stats: rows and distances too large for shared memory");
  launcher.check_workspace(layout.blocks * layout.workspace_bytes, args.workspace_bytes);
  launcher.launch(texture_stats_kernel_of(args), layout.blocks, layout.threads, layout.shared_bytes, stream, args,
                  layout);
}

}  // namespace iuscore
