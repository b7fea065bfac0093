#include "ops/glcm.h"

#include <algorithm>
#include <atomic>

#include "cpu/glcm_scratch.h"
#include "cpu/parallel_for.h"

namespace iuscore {
namespace {

// The first address, from this one on, that begins a cache line.
template <class T>
T* at_line(T* address) {
  return reinterpret_cast<T*>((reinterpret_cast<std::uintptr_t>(address) + 63) & ~std::uintptr_t{63});
}

}  // namespace

GlcmKernels glcm_kernels(Isa isa) {
  return {IUSCORE_FOR_ISA(isa, quantize_plane), IUSCORE_FOR_ISA(isa, count_plane), IUSCORE_FOR_ISA(isa, sum_plane),
          IUSCORE_FOR_ISA(isa, sum_matrix)};
}

GlcmScratch GlcmThreadScratch::scratch(std::int32_t levels, std::int64_t pixels) {
  // One cache line more for each part, so that it can begin at a line: vectors that cross lines are slow.
  const auto words = static_cast<std::size_t>(glcm_cell_bytes(glcm_shape(levels, pixels)) / 8 + 8);
  if (cells_.size() < words) cells_.resize(words);
  pairs_.resize(4 * kPairChunk + 32);  // four rows of pair cells, or two of triplet cells: cpu/glcm_pairs.h
  pair_weights_.resize(4 * kPairChunk + 64);
  return {at_line(cells_.data()), at_line(pairs_.data()), at_line(pair_weights_.data())};
}

QuantizeResult GlcmThreadScratch::plane(const ImageView& image, const MaskView* mask, std::int32_t channels,
                                        PixelType type, const Quantization& by) {
  const MaskView view = mask == nullptr ? MaskView{nullptr, 0, 0} : *mask;
  const auto bytes = static_cast<std::size_t>(image.height * image.width + kPlaneSlack);
  strip_.resize(std::max(strip_.size(), static_cast<std::size_t>(image.width)));
  levels_.resize(std::max(levels_.size(), bytes));
  if (can_be_uncounted(type, view)) valid_.resize(std::max(valid_.size(), bytes));
  return kernels_.quantize({image, view, channels, type, by, strip_.data(), levels_.data(), valid_.data()});
}

void glcm_cpu(const GlcmArgs& args) {
  const std::int32_t levels = args.quantization.levels;
  const std::int64_t size = std::int64_t{args.offset_count} * levels * levels;
  std::vector<GlcmThreadScratch> scratches(static_cast<std::size_t>(args.threads),
                                           GlcmThreadScratch(glcm_kernels(current_isa())));
  std::vector<std::int32_t> largest(static_cast<std::size_t>(args.threads), 0);
  parallel_for(args.batch, args.threads, [&](std::int32_t worker, std::int64_t i) {
    GlcmThreadScratch& own = scratches[static_cast<std::size_t>(worker)];
    const MaskView* mask = args.masks == nullptr ? nullptr : args.masks + i;
    const QuantizeResult image = own.plane(args.images[i], mask, args.channels, args.pixel_type, args.quantization);
    auto& most = largest[static_cast<std::size_t>(worker)];
    most = std::max(most, image.largest);
    const GlcmScratch scratch = own.scratch(levels, image.plane.height * image.plane.width);
    own.kernels().count(image.plane, args.offsets, args.offset_count, args.symmetric, scratch, args.counts + i * size);
  });
  if (args.largest != nullptr) *args.largest = *std::max_element(largest.begin(), largest.end());
}

}  // namespace iuscore
