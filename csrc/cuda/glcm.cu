// Launcher of `glcm`.
#include "cuda/glcm.cuh"
#include "cuda/launch.h"

namespace iuscore {

void glcm_cuda(const GlcmCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher("glcm", args.device);
  const CurrentDevice current = launcher.use_device();
  const GlcmLayout layout = glcm_layout(glcm_task(args), launcher.shared_limit(), launcher.multiprocessors());
  const auto kernel = has_few_levels(args.quantization.levels) ? glcm_kernel<true> : glcm_kernel<false>;
  launcher.launch(kernel, layout.blocks, layout.threads, layout.shared_bytes, stream, glcm_images(args), layout,
                  args.symmetric, args.counts);
}

}  // namespace iuscore
