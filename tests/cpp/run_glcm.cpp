// Runs the CUDA kernel body of glcm on the host against the CPU op: equal in every count.
// Usage: run_glcm CASES LARGEST_BLOCK SEED. What consecutive cases cover: drawn_pairs.h. Exits 1 and names the first
// difference.

// clang-format off
#include "host_cuda.h"  // must come first: it defines the CUDA keywords used in the .cu
// clang-format on

#include "cuda/glcm.cu"
#include "drawn_pairs.h"

using namespace iuscore;

namespace {

bool equal_counts(const PairsCase& c, Random& random) {
  const DrawnImages images(c.images, random);
  const DrawnMasks masks(c.masked, c.spread_mask, c.images.sizes, random);
  const auto batch = static_cast<std::int64_t>(c.images.sizes.size());
  const auto offset_count = static_cast<std::int32_t>(c.offsets.size());
  const std::int32_t levels = c.quantization.levels;
  const auto size = static_cast<std::size_t>(batch * offset_count * levels * levels);
  std::vector<std::int32_t> expected(size, -1);
  std::vector<std::int32_t> got(size, -2);
  glcm_cpu({images.views.data(), masks.views.empty() ? nullptr : masks.views.data(), batch, c.images.channels,
            c.images.pixel_type, c.quantization, c.offsets.data(), offset_count, c.symmetric, expected.data(), nullptr,
            1});
  GlcmCudaArgs args{};
  args.image = images.views[0];
  args.batch_stride = images.batch_stride;
  if (!masks.views.empty()) args.mask = masks.views[0];
  args.mask_batch_stride = masks.batch_stride;
  args.batch = batch;
  args.channels = c.images.channels;
  args.pixel_type = c.images.pixel_type;
  args.quantization = c.quantization;
  args.offsets = c.offsets.data();
  args.offset_count = offset_count;
  args.symmetric = c.symmetric;
  args.counts = got.data();
  args.threads = c.threads;
  GlcmLayout layout = glcm_layout(glcm_task(args), c.shared_limit, c.multiprocessors, c.most_code_bytes);
  layout.blocks = std::min<std::int64_t>(layout.blocks, 2);  // one block works on several images
  host_cuda::launch(has_few_levels(levels) ? glcm_kernel<true> : glcm_kernel<false>,
                    {static_cast<unsigned>(layout.blocks)}, {static_cast<unsigned>(layout.threads)},
                    static_cast<std::size_t>(layout.shared_bytes), glcm_images(args), layout, args.symmetric,
                    args.counts);
  for (std::size_t i = 0; i < size; ++i) {
    if (got[i] == expected[i]) continue;
    std::printf("FAILED %s\ncount %zu of %zu: %d instead of %d\n", c.text().c_str(), i, size, got[i], expected[i]);
    return false;
  }
  return true;
}

}  // namespace

IUSCORE_MAIN main(int count, char** values) {
  if (count != 4) return std::puts("usage: run_glcm CASES LARGEST_BLOCK SEED"), 2;
  const unsigned cases = static_cast<unsigned>(std::atoi(values[1]));
  Random random(static_cast<unsigned>(std::atoi(values[3])));
  for (unsigned i = 0; i < cases; ++i)
    if (!equal_counts(draw_pairs(i, std::atoi(values[2]), random), random)) return 1;
  std::printf("%u cases equal\n", cases);
  return 0;
}
