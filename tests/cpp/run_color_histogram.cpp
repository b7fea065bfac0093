// Runs the CUDA kernel body of color_histogram on the host against the CPU op: equal counts.
// Usage: run_color_histogram CASES LARGEST_BLOCK SEED. 280 consecutive cases cover pixel types x channels x spaces,
// each per channel and joint, x memory layouts; everything else is drawn. Exits 1 and names the first difference.

// clang-format off
#include "host_cuda.h"  // must come first: it defines the CUDA keywords used in the .cu
// clang-format on

#include <cstdio>

#include "cuda/color_histogram.cu"
#include "drawn_images.h"

using namespace iuscore;

namespace {

struct Case {
  ImagesCase images;
  ColorSpace space;
  bool joint;
  std::int32_t bins[3];
  double low[3], high[3];
  Masked masked;
  bool spread_mask;
  std::int32_t threads;
  std::int32_t band_rows;  // 0: one band per image
  bool in_shared;

  int channels() const { return histogram_channels(space); }
  std::int64_t size() const {
    if (joint) return std::int64_t{bins[0]} * bins[1] * bins[2];
    return std::int64_t{bins[0]} + (channels() == 3 ? bins[1] + bins[2] : 0);
  }
  std::int64_t out_of_range_size() const { return (joint ? 1 : channels()) * kOutOfRangeSlots; }

  std::string text() const {
    char line[300];
    std::snprintf(line, sizeof line, ", space %d%s, bins %d %d %d from %g to %g, mask %d%s, %d threads, bands of %d%s",
                  static_cast<int>(space), joint ? " joint" : "", bins[0], bins[1], bins[2], low[0], high[0],
                  static_cast<int>(masked), spread_mask ? " spread" : "", threads, band_rows,
                  in_shared ? "" : ", off chip");
    return images.text() + line;
  }
};

void draw_axes(Case& c, Random& random) {
  const PixelType type = c.images.pixel_type;
  for (int k = 0; k < 3; ++k) {
    c.bins[k] = k > 0 && random() % 2 == 0 ? c.bins[0]
                : c.joint                  ? pick(random, {1, 2, 3, 8, 16, 32})
                                           : pick(random, {1, 2, 7, 64, 256, 300, 1024});
    c.low[k] = c.space == ColorSpace::lab && k > 0 ? -110.0 : 0.0;
    c.high[k] = c.space == ColorSpace::lab ? (k > 0 ? 110.0 : 100.0) : 1.0;
    const bool stored = c.space == ColorSpace::rgb || c.space == ColorSpace::gray;
    if (stored && !is_floating(type)) c.high[k] = type == PixelType::u8 ? 256.0 : 65536.0;
    const double width = c.high[k] - c.low[k];
    if (random() % 3 == 0) {
      c.low[k] += width * (0.1 * static_cast<double>(random() % 8) - 0.2);
      // The last range is so small that float32 hardly separates its edges: the bin of a value is found by a search.
      c.high[k] = c.low[k] + width * pick(random, {0.31, 0.5, 0.77, 1e-7});
    }
  }
}

Case draw(unsigned index, std::int32_t largest_block, Random& random) {
  Case c{};
  ImagesCase& images = c.images;
  Digits digits{index};
  images.pixel_type = static_cast<PixelType>(digits.next(5));
  images.channels = digits.next(2) == 0 ? 1 : 3;
  const unsigned which = digits.next(7);
  c.space = static_cast<ColorSpace>(which / 2);
  c.joint = which % 2 == 1;
  images.memory = static_cast<Memory>(digits.next(4));
  images.ragged = false;
  images.misaligned = random() % 4 == 0;
  draw_axes(c, random);
  c.masked = pick(random, {Masked::nothing, Masked::nothing, Masked::half, Masked::everything});
  c.spread_mask = random() % 2 == 0;
  // Blocks of few threads are far more frequent, as the images are small.
  c.threads = std::min(pick(random, {32, 32, 32, 64, 64, 64, 96, 160, 256}), largest_block);
  const Size size =
      pick(random, {Size{1, 1}, Size{1, 16}, Size{5, 3}, Size{13, 17}, Size{16, 16}, Size{3, 80}, Size{48, 70}});
  c.band_rows = random() % 2 == 0 ? 0 : 1 + static_cast<std::int32_t>(random() % 4);
  c.in_shared = !c.joint || random() % 3 != 0;
  for (unsigned i = 0, n = 1 + random() % 3; i < n; ++i) {
    images.sizes.push_back(size);
    images.contents.push_back(draw_content(random, images.pixel_type));
  }
  return c;
}

// The same edges as in python/iuscore/ops/_edges.py.
std::vector<float> edges_of(double low, double high, std::int32_t bins) {
  std::vector<float> edges;
  for (std::int32_t i = 0; i <= bins; ++i) {
    const double exact = i == bins ? high : low + i * ((high - low) / bins);
    auto edge = static_cast<float>(exact);
    if (i == bins ? edge <= exact : edge < exact) edge = std::nextafterf(edge, INFINITY);
    edges.push_back(edge);
  }
  return edges;
}

struct Output {
  std::vector<std::int32_t> counts, out_of_range;
  explicit Output(const Case& c)
      : counts(c.images.sizes.size() * static_cast<std::size_t>(c.size()), -7),
        out_of_range(c.images.sizes.size() * static_cast<std::size_t>(c.out_of_range_size()), -7) {}
  bool operator==(const Output&) const = default;
};

void run_on_host(const Case& c, const ColorHistogramCudaArgs& args, Output& got) {
  const ColorHistogramLayout everything = color_histogram_layout(args, 227 * 1024, 2);
  // The shared memory that is used when the histogram itself is not in it.
  const std::int64_t least = 4 * std::int64_t{everything.edge_words + everything.key_words};
  ColorHistogramLayout layout = color_histogram_layout(args, c.in_shared ? 227 * 1024 : least, 2);
  if (c.band_rows > 0) {
    const auto height = static_cast<std::int32_t>(args.image.height);
    layout.band_rows = c.band_rows;
    layout.bands = (height + c.band_rows - 1) / c.band_rows;
  }
  layout.blocks = 2;  // one block works on several tasks
  if (adds_to_counts(layout)) {
    std::fill(got.counts.begin(), got.counts.end(), 0);
    std::fill(got.out_of_range.begin(), got.out_of_range.end(), 0);
  }
  host_cuda::launch(color_histogram_kernel_of(args), {static_cast<unsigned>(layout.blocks)},
                    {static_cast<unsigned>(layout.threads)}, static_cast<std::size_t>(layout.shared_bytes), args,
                    layout);
}

bool equal_counts(const Case& c, Random& random) {
  const DrawnImages pixels(c.images, random);
  const DrawnMasks masks(c.masked, c.spread_mask, c.images.sizes, random);
  Output expected(c);
  Output got(c);
  const auto batch = static_cast<std::int64_t>(c.images.sizes.size());
  std::vector<float> edges[3];
  ColorHistogramArgs on_cpu{};
  ColorHistogramCudaArgs args{};
  for (int k = 0; k < c.channels(); ++k) {
    edges[k] = edges_of(c.low[k], c.high[k], c.bins[k]);
    on_cpu.edges[k] = edges[k].data();
    on_cpu.bins[k] = c.bins[k];
    args.axes[k] = bin_axis(edges[k].data(), c.bins[k]);
  }
  on_cpu.images = pixels.views.data();
  on_cpu.masks = masks.views.empty() ? nullptr : masks.views.data();
  on_cpu.batch = args.batch = batch;
  on_cpu.channels = args.channels = c.images.channels;
  on_cpu.pixel_type = args.pixel_type = c.images.pixel_type;
  on_cpu.space = args.space = c.space;
  on_cpu.joint = args.joint = c.joint;
  on_cpu.counts = expected.counts.data();
  on_cpu.out_of_range = expected.out_of_range.data();
  on_cpu.threads = 1;
  color_histogram_cpu(on_cpu);
  args.image = pixels.views[0];
  args.batch_stride = pixels.batch_stride;
  if (!masks.views.empty()) args.mask = masks.views[0];
  args.mask_batch_stride = masks.batch_stride;
  args.counts = got.counts.data();
  args.out_of_range = got.out_of_range.data();
  args.threads = c.threads;
  run_on_host(c, args, got);
  if (got == expected) return true;
  std::printf("FAILED %s\n", c.text().c_str());
  for (std::size_t i = 0; i < got.counts.size(); ++i)
    if (got.counts[i] != expected.counts[i]) {
      std::printf("count %zu of %zu: %d instead of %d\n", i, got.counts.size(), got.counts[i], expected.counts[i]);
      break;
    }
  for (std::size_t i = 0; i < got.out_of_range.size(); ++i)
    if (got.out_of_range[i] != expected.out_of_range[i])
      std::printf("out_of_range %zu: %d instead of %d\n", i, got.out_of_range[i], expected.out_of_range[i]);
  return false;
}

}  // namespace

IUSCORE_MAIN main(int count, char** values) {
  if (count != 4) return std::puts("usage: run_color_histogram CASES LARGEST_BLOCK SEED"), 2;
  const unsigned cases = static_cast<unsigned>(std::atoi(values[1]));
  Random random(static_cast<unsigned>(std::atoi(values[3])));
  for (unsigned i = 0; i < cases; ++i)
    if (!equal_counts(draw(i, std::atoi(values[2]), random), random)) return 1;
  std::printf("%u cases equal\n", cases);
  return 0;
}
