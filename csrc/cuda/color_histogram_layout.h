// How the work of color_histogram is cut into blocks, and what of it lies in shared memory.
#pragma once

#include "core/histogram.h"
#include "ops/color_histogram.h"

namespace iuscore {

// A task is a band of rows of an image. Shared memory, in words: edges, keys, `copies` histograms.
struct ColorHistogramLayout {
  std::int32_t threads;
  std::int32_t blocks;
  std::int32_t bands;  // of an image; more than one add to counts that were cleared
  std::int32_t band_rows;
  std::int32_t edge_words;
  std::int32_t key_words;
  std::int32_t histogram_words;  // of one copy
  std::int32_t copies;           // warps add to them in turn; 0: the histogram is too large and lies in global memory
  std::int64_t shared_bytes;
};

IUSCORE_HD bool counts_bytes(PixelType type, ColorSpace space, bool joint) {
  return type == PixelType::u8 && !joint && (space == ColorSpace::rgb || space == ColorSpace::gray);
}

IUSCORE_HD bool adds_keys(PixelType type, ColorSpace space, bool joint) {
  return type == PixelType::u8 && joint && space == ColorSpace::rgb;
}

IUSCORE_HD std::int64_t histogram_size(const BinAxis (&axes)[3], ColorSpace space, bool joint) {
  if (joint) return std::int64_t{axes[0].bins} * axes[1].bins * axes[2].bins;
  std::int64_t size = 0;
  for (int c = 0; c < histogram_channels(space); ++c) size += axes[c].bins;
  return size;
}

constexpr std::int64_t kFewestPixelsOfABlock = 1 << 14;

// shared_limit: the most bytes of shared memory a block may have.
inline ColorHistogramLayout color_histogram_layout(const ColorHistogramCudaArgs& args, std::int64_t shared_limit,
                                                   std::int32_t multiprocessors) {
  const auto smaller = [](std::int64_t x, std::int64_t y) { return x < y ? x : y; };
  const auto larger = [](std::int64_t x, std::int64_t y) { return x > y ? x : y; };
  const std::int32_t channels = histogram_channels(args.space);
  ColorHistogramLayout layout{};
  layout.threads = args.threads > 0 ? args.threads : 256;
  for (int c = 0; c < channels; ++c) layout.edge_words += args.axes[c].bins + 1;
  layout.key_words = adds_keys(args.pixel_type, args.space, args.joint) ? 3 * 256 : 0;
  const std::int64_t slots =
      histogram_size(args.axes, args.space, args.joint) + (args.joint ? 1 : channels) * kOutsideSlots;
  layout.histogram_words =
      static_cast<std::int32_t>(counts_bytes(args.pixel_type, args.space, args.joint) ? channels * 256 : slots);
  const std::int64_t room = shared_limit / 4 - layout.edge_words - layout.key_words;
  layout.copies = layout.histogram_words > room ? 0 : 4 * layout.histogram_words <= smaller(room, 4096) ? 4 : 1;
  layout.shared_bytes =
      4 * (std::int64_t{layout.edge_words} + layout.key_words + std::int64_t{layout.copies} * layout.histogram_words);
  const std::int64_t pixels = args.image.height * args.image.width;
  const std::int64_t wanted = (2 * std::int64_t{multiprocessors} + args.batch - 1) / larger(args.batch, 1);
  const std::int64_t bands = larger(1, smaller(smaller(wanted, pixels / kFewestPixelsOfABlock), args.image.height));
  layout.band_rows = static_cast<std::int32_t>((args.image.height + bands - 1) / bands);
  layout.bands = static_cast<std::int32_t>((args.image.height + layout.band_rows - 1) / layout.band_rows);
  layout.blocks = static_cast<std::int32_t>(smaller(args.batch * layout.bands, 8 * std::int64_t{multiprocessors}));
  return layout;
}

// Whether blocks add to counts, which are to be cleared before.
inline bool adds_to_counts(const ColorHistogramLayout& layout) { return layout.bands > 1 || layout.copies == 0; }

}  // namespace iuscore
