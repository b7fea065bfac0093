// Launcher: where things live.
#include "cuda/launch.h"
#include "cuda/perceptual_maps.cuh"

namespace iuscore {
namespace {

Launcher launcher_for(const PerceptualMapsCudaArgs& args) { return {"perceptual_maps", args.device}; }

PerceptualMapsLayout layout_on(const Launcher& launcher, const PerceptualMapsCudaArgs& args) {
  return perceptual_maps_layout(args, launcher.shared_limit(), launcher.multiprocessors());
}

std::int64_t workspace_bytes(const PerceptualMapsLayout& layout) {
  return layout.blocks * layout.workspace_floats * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace

std::int64_t perceptual_maps_cuda_workspace(const PerceptualMapsCudaArgs& args) {
  return workspace_bytes(layout_on(launcher_for(args), args));
}

void perceptual_maps_cuda(const PerceptualMapsCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher = launcher_for(args);
  const CurrentDevice current = launcher.use_device();
  const PerceptualMapsLayout layout = layout_on(launcher, args);
  launcher.check_workspace(workspace_bytes(layout), args.workspace_bytes);
  launcher.launch(perceptual_maps_kernel_of(args), layout.blocks, layout.threads, layout.shared_bytes, stream, args,
                  layout);
}

}  // namespace iuscore
