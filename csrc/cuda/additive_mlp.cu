// Launchers: how many blocks, and what runs after what.
#include "cuda/additive_mlp.cuh"
#include "cuda/launch.h"

namespace iuscore {
namespace {

constexpr std::int64_t kFloat = sizeof(float);

Launcher launcher_for(const AdditiveMlpCudaArgs& args) { return {"additive_mlp", args.device}; }

AdditiveMlpLayout forward_layout(const Launcher& launcher, const AdditiveMlpCudaArgs& args) {
  return additive_mlp_layout(args, launcher.shared_limit(), launcher.multiprocessors());
}

AdditiveMlpLayout backward_layout(const Launcher& launcher, const AdditiveMlpCudaArgs& args) {
  return additive_mlp_backward_layout(args, launcher.shared_limit(), launcher.multiprocessors());
}

}  // namespace

std::int64_t additive_mlp_cuda_workspace(const AdditiveMlpCudaArgs& args) {
  return kFloat * additive_workspace(forward_layout(launcher_for(args), args));
}

std::int64_t additive_mlp_backward_cuda_workspace(const AdditiveMlpCudaArgs& args) {
  return kFloat * additive_workspace(backward_layout(launcher_for(args), args));
}

void additive_mlp_cuda(const AdditiveMlpCudaArgs& args, void* stream) {
  const AdditiveMlpArgs& mlp = args.mlp;
  if (mlp.rows == 0) return;
  const Launcher launcher = launcher_for(args);
  const CurrentDevice current = launcher.use_device();
  const AdditiveMlpLayout layout = forward_layout(launcher, args);
  launcher.check_workspace(kFloat * additive_workspace(layout), args.workspace_bytes);
  launcher.launch(additive_mlp_kernel_of(layout), layout.blocks, layout.threads, layout.shared_bytes, stream, mlp,
                  layout, args.workspace);
  if (layout.slices == 1) return;
  launcher.launch(additive_mlp_total_kernel, ceil_div(mlp.rows * mlp.outputs, kLargestAdditiveBlock),
                  kLargestAdditiveBlock, 0, stream, mlp);
}

void additive_mlp_backward_cuda(const AdditiveMlpCudaArgs& args, const AdditiveMlpGradients& gradients, void* stream) {
  const AdditiveMlpArgs& mlp = args.mlp;
  const Launcher launcher = launcher_for(args);
  const CurrentDevice current = launcher.use_device();
  const AdditiveMlpLayout layout = backward_layout(launcher, args);
  launcher.check_workspace(kFloat * additive_workspace(layout), args.workspace_bytes);
  const std::int64_t chunks = ceil_div(mlp.rows, kGradientRows);
  const std::int64_t adders = ceil_div(layout.sum_floats * mlp.groups, kLargestAdditiveBlock);
  for (std::int64_t chunk = 0; chunk == 0 || chunk < chunks; chunk += layout.chunks_at_once) {
    AdditiveMlpLayout some = layout;
    const std::int64_t here = least(layout.chunks_at_once, chunks - chunk);
    some.items = here * mlp.groups;
    if (here > 0)
      launcher.launch(additive_mlp_backward_kernel_of(layout), least(layout.blocks, some.items), layout.threads,
                      layout.shared_bytes, stream, mlp, gradients, some, chunk, args.workspace);
    launcher.launch(additive_mlp_add_kernel, adders, kLargestAdditiveBlock, 0, stream, mlp, gradients,
                    static_cast<const float*>(args.workspace), layout.sum_floats, here, chunk == 0);
    if (here == 0) return;
  }
}

}  // namespace iuscore
