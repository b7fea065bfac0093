// Co-occurrence matrices. A block counts an image, or some of its offsets, in shared memory, then writes the matrices.
#include "cuda/glcm.cuh"
#include "cuda/launch.h"

namespace iuscore {

inline GlcmTask glcm_task(const GlcmCudaArgs& args) {
  return {args.image.height,
          args.image.width,
          args.batch,
          args.quantization.levels,
          args.offsets,
          args.offset_count,
          args.symmetric,
          false,
          true,
          args.threads};
}

// Writes the band of this pass, of the matrices of `count` offsets. counts: matrix of the first one.
template <bool kFew>
__device__ void write_glcm(const GlcmMatrix<kFew>& matrix, std::int32_t count, std::int32_t levels, bool symmetric,
                           std::int32_t* counts) {
  const auto n = static_cast<std::uint32_t>(levels);
  IUSCORE_ROLLED
  for (std::int32_t k = 0; k < count; ++k) {
    std::int32_t* out = counts + k * n * n;
    IUSCORE_UNROLLED_BY_2
    for (std::uint32_t i = threadIdx.x; i < n * n; i += blockDim.x) {
      const std::uint32_t row = i / n;
      const std::uint32_t column = i - row * n;
      if (matrix.has(row, column)) out[i] = static_cast<std::int32_t>(matrix.joint(k, row, column, symmetric));
    }
  }
}

template <bool kFew>
__global__ void __launch_bounds__(kMaxGlcmBlock, 2)
    glcm_kernel(const __grid_constant__ GlcmImages images, const __grid_constant__ GlcmLayout layout, bool symmetric,
                std::int32_t* counts) {
  const std::int32_t levels = images.quantization.levels;
  GlcmCodes<GlcmCode<kFew>> codes(images, layout);
  GlcmMatrix<kFew> matrix(layout, levels, symmetric);
  codes.clear();
  for (std::int64_t work = blockIdx.x; work < images.batch * layout.jobs; work += gridDim.x) {
    const std::int64_t index = work / layout.jobs;
    const auto begin = static_cast<std::int32_t>(work - index * layout.jobs) * layout.job_offsets;
    const std::int32_t end =
        begin + layout.job_offsets < layout.offset_count ? begin + layout.job_offsets : layout.offset_count;
    codes.begin(index);
    for (std::int32_t offset = begin; offset < end; offset += layout.pass_offsets) {
      const std::int32_t count = layout.pass_offsets < end - offset ? layout.pass_offsets : end - offset;
      for (std::int32_t band = 0; band < layout.bands; ++band) {
        matrix.begin(offset, count, band);
        codes.count(offset, count, matrix);
        __syncthreads();
        const std::int64_t at = (index * layout.offset_count + offset) * levels * levels;
        write_glcm<kFew>(matrix, count, levels, symmetric, counts + at);
        __syncthreads();
      }
    }
  }
}

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
