// Runs the CUDA kernel body of texture_stats on the host against the CPU op: equal in every bit.
// Usage: run_texture_stats CASES LARGEST_BLOCK SEED. 240 consecutive cases cover pixel types x channels x color or gray
// x masks x memory layouts; everything else is drawn. Exits 1 and names the first difference.

// clang-format off
#include "host_cuda.h"  // must come first: it defines the CUDA keywords used in the .cu
// clang-format on

#include <cstdio>

#include "cuda/texture_stats.cu"
#include "drawn_images.h"

using namespace iuscore;

namespace {

struct Case {
  ImagesCase images;
  Masked masked;
  bool spread_masks, color;
  std::int32_t bins, levels;
  std::vector<PixelOffset> offsets;
  std::int32_t threads;
  std::int64_t most_shared;

  std::string text() const {
    std::string pairs;
    for (const PixelOffset& o : offsets) pairs += " " + std::to_string(o.rows) + "," + std::to_string(o.columns);
    return images.text() + ", masks " + std::to_string(static_cast<int>(masked)) + (color ? ", color" : ", gray") +
           ", bins " + std::to_string(bins) + ", levels " + std::to_string(levels) + ", offsets" + pairs +
           ", threads " + std::to_string(threads) + ", shared " + std::to_string(most_shared);
  }
};

struct Results {
  std::vector<std::int32_t> histograms, counted;
  std::vector<float> statistics, properties, blocks;

  Results(const Case& c, std::size_t batch) {
    const std::size_t planes = c.color ? kColorPlanes : kGrayPlanes;
    histograms.assign(batch * planes * static_cast<std::size_t>(c.bins), -1);
    counted.assign(batch * planes, -1);
    statistics.assign(batch * planes * kStatistics, -1.0f);
    properties.assign(batch * c.offsets.size() * kTextureProperties, -1.0f);
    blocks.assign(batch * kGridCells, -1.0f);
  }
};

Size image_size(Random& random) {
  const auto some = [&](std::int64_t least, std::int64_t n) { return least + static_cast<std::int64_t>(random()) % n; };
  switch (random() % 6) {
    case 0:
      return {1, 1};
    case 1:
      return {1, some(2, 20)};
    case 2:
      return {some(2, 20), 1};
    case 3:
      return {some(1, 40), 4 * some(1, 8)};
    default:
      return {some(2, 40), some(2, 30)};
  }
}

Case draw(unsigned number, int largest_block, Random& random) {
  Digits digits{number};
  Case c{};
  c.images.pixel_type = static_cast<PixelType>(digits.next(5));
  c.images.channels = digits.next(2) == 0 ? 3 : 1;
  c.color = digits.next(2) == 0;
  c.masked = static_cast<Masked>(digits.next(3));
  c.images.memory = static_cast<Memory>(digits.next(4));
  c.spread_masks = random() % 2 == 0;
  c.images.misaligned = random() % 3 == 0;
  const Size size = image_size(random);
  for (unsigned n = 1 + random() % 3; n > 0; --n) {
    c.images.sizes.push_back(size);
    c.images.contents.push_back(draw_content(random, c.images.pixel_type));
  }
  c.bins = pick(random, {2, 8, 32, 64, 256});
  c.levels = pick(random, {2, 7, 16, 32, 64});
  for (unsigned n = random() % 6; n > 0; --n) {
    const auto rows = static_cast<std::int32_t>(random() % (n == 1 ? 50 : 5));
    c.offsets.push_back({rows, static_cast<std::int32_t>(random() % 9) - (rows > 0 ? 4 : 0)});
  }
  const auto widest = static_cast<unsigned>(std::min(largest_block, kMaxTextureBlock));
  c.threads = 64 + 32 * static_cast<std::int32_t>(random() % ((widest - 32) / 32));
  // Shared memory for everything, for strips of a few rows, or for no matrix.
  c.most_shared = pick(random, {std::int64_t{220000}, std::int64_t{0}, std::int64_t{1}});
  return c;
}

template <class T>
bool same(const char* name, const std::vector<T>& got, const std::vector<T>& expected, const Case& c) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::memcmp(&got[i], &expected[i], sizeof(T)) == 0) continue;
    std::printf("FAILED %s\n%s[%zu]: %.9g instead of %.9g\n", c.text().c_str(), name, i, static_cast<double>(got[i]),
                static_cast<double>(expected[i]));
    return false;
  }
  return true;
}

bool equal_bits(const Case& c, Random& random) {
  const DrawnImages images(c.images, random);
  const DrawnMasks masks(c.masked, c.spread_masks, c.images.sizes, random);
  const auto batch = static_cast<std::int64_t>(images.views.size());
  Results expected(c, images.views.size());
  Results got = expected;
  texture_stats_cpu({images.views.data(), masks.views.empty() ? nullptr : masks.views.data(), batch, c.images.channels,
                     c.images.pixel_type, c.color, c.bins, c.levels, c.offsets.data(),
                     static_cast<std::int32_t>(c.offsets.size()), expected.histograms.data(),
                     expected.statistics.data(), expected.counted.data(), expected.properties.data(),
                     expected.blocks.data(), 1});
  TextureStatsCudaArgs args{};
  args.image = images.views[0];
  args.batch_stride = images.batch_stride;
  if (!masks.views.empty()) args.mask = masks.views[0];
  args.mask_batch_stride = masks.batch_stride;
  args.batch = batch;
  args.channels = c.images.channels;
  args.pixel_type = c.images.pixel_type;
  args.color = c.color;
  args.bins = c.bins;
  args.levels = c.levels;
  for (const PixelOffset& offset : c.offsets) args.offsets[args.n_offsets++] = offset;
  args.histograms = got.histograms.data();
  args.statistics = got.statistics.data();
  args.counted = got.counted.data();
  args.properties = got.properties.data();
  args.blocks = got.blocks.data();
  args.threads = c.threads;
  // The smallest shared memory in which the kernel runs: without matrices and, for odd cases, with one row more than
  // the halo.
  TextureStatsLayout layout = texture_stats_layout(args, c.most_shared > 1 ? c.most_shared : 0, 2);
  for (std::int64_t most = 0; layout.ring == 0; most += 64)
    layout = texture_stats_layout(args, most + (c.most_shared == 1 ? 200 : 0), 2);
  std::vector<std::uint64_t> workspace(static_cast<std::size_t>(layout.blocks * layout.workspace_bytes / 8 + 1));
  args.workspace = workspace.data();
  host_cuda::launch(texture_stats_kernel_of(args), {static_cast<unsigned>(layout.blocks)},
                    {static_cast<unsigned>(layout.threads)}, static_cast<std::size_t>(layout.shared_bytes), args,
                    layout);
  return same("histograms", got.histograms, expected.histograms, c) &&
         same("counted", got.counted, expected.counted, c) &&
         same("statistics", got.statistics, expected.statistics, c) &&
         same("properties", got.properties, expected.properties, c) && same("blocks", got.blocks, expected.blocks, c);
}

}  // namespace

IUSCORE_MAIN main(int count, char** values) {
  if (count != 4) return std::puts("usage: run_texture_stats CASES LARGEST_BLOCK SEED"), 2;
  const unsigned cases = static_cast<unsigned>(std::atoi(values[1]));
  Random random(static_cast<unsigned>(std::atoi(values[3])));
  for (unsigned i = 0; i < cases; ++i)
    if (!equal_bits(draw(i, std::atoi(values[2]), random), random)) return 1;
  std::printf("%u cases equal\n", cases);
  return 0;
}
