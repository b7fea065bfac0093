#include "ops/color_histogram.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/color_histogram_isa.h"
#include "cpu/isa.h"
#include "cpu/parallel_for.h"

namespace iuscore {
namespace {

// If there are 2, 4, 8 or 16 bins of equally many neighboring bytes, how many leading bits of a byte are its bin; else
// 0.
int leading_bits(const std::uint16_t (&slots)[256], std::int32_t bins) {
  for (int bits = 1; bits <= 4; ++bits) {
    if (bins != 1 << bits) continue;
    for (int v = 0; v < 256; ++v)
      if (slots[v] != v >> (8 - bits)) return 0;
    return bits;
  }
  return 0;
}

ByteTables byte_tables(const BinAxis* axes, int channels) {
  ByteTables tables{};
  tables.by_fours = true;
  std::int32_t cells_of_bin = 1;  // of channel c
  for (int c = channels - 1; c >= 0; --c) {
    const std::int32_t bins = axes[c].bins;
    for (int v = 0; v < 256; ++v) {
      const std::int32_t slot = slot_of(static_cast<float>(v), axes[c]);
      tables.slots[c][v] = static_cast<std::uint16_t>(slot);
      tables.keys[c][v] = key_of_slot(slot, bins, cells_of_bin);
      tables.by_fours &= slot == tables.slots[c][v & ~3];
    }
    cells_of_bin *= bins;
  }
  tables.leading_bits = leading_bits(tables.slots[0], axes[0].bins);
  for (int c = 1; c < channels; ++c)
    if (leading_bits(tables.slots[c], axes[c].bins) != tables.leading_bits) tables.leading_bits = 0;
  return tables;
}

// If there are more threads than images, large images are cut into bands of rows.
struct Bands {
  std::int64_t per_image;
  std::int64_t rows(const ImageView& image) const { return (image.height + per_image - 1) / per_image; }
};

constexpr std::int64_t kMinPixelsOfABand = 1 << 16;

Bands bands_of(const ColorHistogramArgs& args) {
  if (args.batch >= args.threads) return {1};
  std::int64_t largest = 0;
  for (std::int64_t i = 0; i < args.batch; ++i)
    largest = std::max(largest, args.images[i].height * args.images[i].width);
  const std::int64_t wanted = (args.threads + args.batch - 1) / args.batch;
  return {std::clamp<std::int64_t>(largest / kMinPixelsOfABand, 1, wanted)};
}

// parts: [batch, bands, size + out_of_range_size].
void add_bands(const std::vector<std::int32_t>& parts, std::int64_t bands, std::int64_t size,
               std::int64_t out_of_range_size, const ColorHistogramArgs& args) {
  const std::int64_t both = size + out_of_range_size;
  for (std::int64_t i = 0; i < args.batch; ++i)
    for (std::int64_t k = 0; k < both; ++k) {
      std::int32_t sum = 0;
      for (std::int64_t b = 0; b < bands; ++b) sum += parts[static_cast<std::size_t>((i * bands + b) * both + k)];
      (k < size ? args.counts[i * size + k] : args.out_of_range[i * out_of_range_size + k - size]) = sum;
    }
}

}  // namespace

void color_histogram_cpu(const ColorHistogramArgs& args) {
  if (args.batch == 0) return;
  const int channels = histogram_channels(args.space);
  BinAxis axes[3]{};
  std::int64_t size = args.joint ? 1 : 0;
  for (int c = 0; c < channels; ++c) {
    axes[c] = bin_axis(args.edges[c], args.bins[c]);
    size = args.joint ? size * args.bins[c] : size + args.bins[c];
  }
  const std::int64_t out_of_range_size = (args.joint ? 1 : channels) * kOutOfRangeSlots;
  const ByteTables bytes = args.pixel_type == PixelType::u8 ? byte_tables(axes, channels) : ByteTables{};
  const Bands bands = bands_of(args);
  const bool banded = bands.per_image > 1;
  std::vector<std::int32_t> parts(
      banded ? static_cast<std::size_t>(args.batch * bands.per_image * (size + out_of_range_size)) : 0);
  std::vector<std::unique_ptr<HistogramScratch>> scratch(static_cast<std::size_t>(args.threads));
  const auto kernel = IUSCORE_FOR_ISA(current_isa(), color_histogram_image);
  parallel_for(args.batch * bands.per_image, args.threads, [&](std::int32_t worker, std::int64_t task) {
    auto& own = scratch[static_cast<std::size_t>(worker)];
    if (!own) own.reset(new HistogramScratch);  // not cleared: each image clears what it uses
    const std::int64_t i = task / bands.per_image;
    ColorHistogramJob job{args.images[i],
                          args.masks ? args.masks[i] : MaskView{},
                          args.channels,
                          args.pixel_type,
                          args.space,
                          args.joint,
                          axes,
                          &bytes,
                          own.get(),
                          args.counts + i * size,
                          args.out_of_range + i * out_of_range_size};
    if (args.channels == 1) job.image.stride_c = 0;
    if (banded) {
      const std::int64_t rows = bands.rows(job.image);
      const std::int64_t first = task % bands.per_image * rows;
      const std::int64_t width = args.pixel_type == PixelType::u8 ? 1 : args.pixel_type == PixelType::f32 ? 4 : 2;
      job.counts = parts.data() + task * (size + out_of_range_size);
      job.out_of_range = job.counts + size;
      if (first >= job.image.height) return;
      job.image.data = static_cast<const std::uint8_t*>(job.image.data) + first * job.image.stride_h * width;
      job.image.height = std::min(rows, job.image.height - first);
      if (job.mask.data != nullptr) job.mask.data += first * job.mask.stride_h;
    }
    kernel(job);
  });
  if (banded) add_bands(parts, bands.per_image, size, out_of_range_size, args);
}

}  // namespace iuscore
