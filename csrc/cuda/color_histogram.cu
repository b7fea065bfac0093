// Launcher: where things live.
#include "cuda/color_histogram.cuh"
#include "cuda/launch.h"

namespace iuscore {

void color_histogram_cuda(const ColorHistogramCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher("color_histogram", args.device);
  const CurrentDevice current = launcher.use_device();
  const ColorHistogramLayout layout = color_histogram_layout(args, launcher.shared_limit(), launcher.multiprocessors());
  if (adds_to_counts(layout)) {
    const auto words = static_cast<std::size_t>(args.batch * histogram_size(args.axes, args.space, args.joint));
    const auto outside = static_cast<std::size_t>(args.batch * (args.joint ? 1 : histogram_channels(args.space)));
    auto* const on = static_cast<cudaStream_t>(stream);
    launcher.check(cudaMemsetAsync(args.counts, 0, words * sizeof(std::int32_t), on), "cannot clear the counts");
    launcher.check(cudaMemsetAsync(args.outside, 0, outside * kOutsideKinds * sizeof(std::int32_t), on),
                   "cannot clear the counts");
  }
  launcher.launch(color_histogram_kernel_of(args), layout.blocks, layout.threads, layout.shared_bytes, stream, args,
                  layout);
}

}  // namespace iuscore
