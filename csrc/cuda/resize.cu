// Launcher: where things live.
#include "cuda/launch.h"
#include "cuda/resize.cuh"

namespace iuscore {

bool resize_cuda_fits(const ResizeCudaArgs& args) {
  return resize_layout(args, Launcher("resize", args.device).shared_limit()).band > 0;
}

void resize_cuda(const ResizeCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher("resize", args.device);
  const CurrentDevice current = launcher.use_device();
  const ResizeLayout layout = resize_layout(args, launcher.shared_limit());
  if (layout.band == 0) throw std::runtime_error("resize: the rows that one row is made of do not fit on the chip");
  launcher.launch(resize_kernel_of(args), layout.blocks, layout.threads, layout.shared_bytes, stream, args, layout);
}

}  // namespace iuscore
