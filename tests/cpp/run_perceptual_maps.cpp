// Runs the CUDA kernel body of perceptual_maps on the host against the CPU op: equal in every bit.
// Usage: run_perceptual_maps CASES LARGEST_BLOCK SEED. 160 consecutive cases cover pixel types x channels x color or
// gray x modes x memory layouts; everything else is drawn. Exits 1 and names the first difference.

// clang-format off
#include "host_cuda.h"  // must come first: it defines the CUDA keywords used in the .cu
// clang-format on

#include <cstdio>

#include "cpu/tap_table.h"
#include "cuda/perceptual_maps.cu"
#include "drawn_images.h"

using namespace iuscore;

namespace {

enum class Chip { everything, few_rows, no_planes, nothing };

struct Case {
  ImagesCase images;
  bool color, clean;
  MapType map_type;
  std::int32_t height, width;
  std::int32_t threads;
  Chip chip;

  std::string text() const {
    char line[200];
    std::snprintf(line, sizeof line, ", %s, %s, map type %d, maps %dx%d, %d threads, chip %d", color ? "color" : "gray",
                  clean ? "clean" : "published", static_cast<int>(map_type), height, width, threads,
                  static_cast<int>(chip));
    return images.text() + line;
  }
};

Size image_size(Random& random, std::int32_t height, std::int32_t width) {
  switch (random() % 9) {
    case 0:
      return {1, 1};
    case 1:
      return {1, 2 + static_cast<std::int64_t>(random() % 30)};
    case 2:
      return {2 + static_cast<std::int64_t>(random() % 30), 1};
    case 3:
      return {height, width};
    case 4:
      return {2 * height, 2 * width};
    case 5:
      return {height, 3 * width + 1};
    case 6:
      return {(height + 1) / 2, (width + 2) / 3};
    case 7:
      return {8, 4 * (1 + static_cast<std::int64_t>(random() % 12))};
    default:
      return {3 + static_cast<std::int64_t>(random() % 30), 3 + static_cast<std::int64_t>(random() % 40)};
  }
}

Case draw(unsigned index, std::int32_t largest_block, Random& random) {
  Case c{};
  ImagesCase& images = c.images;
  Digits digits{index};
  images.pixel_type = static_cast<PixelType>(digits.next(5));
  images.channels = digits.next(2) == 0 ? 1 : 3;
  c.color = digits.next(2) == 0;
  c.clean = digits.next(2) == 0;
  images.memory = static_cast<Memory>(digits.next(4));
  c.map_type = pick(random, {MapType::f32, MapType::f16, MapType::bf16});
  c.height = pick(random, {4, 5, 8, 13, 16});
  c.width = pick(random, {4, 7, 8, 12, 17});
  images.ragged = random() % 2 == 0;
  images.misaligned = random() % 4 == 0;
  c.chip = static_cast<Chip>(random() % 4);
  // Blocks of few threads are far more frequent, as the images are small.
  c.threads = std::min(pick(random, {32, 32, 32, 32, 64, 64, 96, 128, 256, 768}), largest_block);
  const Size size = image_size(random, c.height, c.width);
  for (unsigned i = 0, n = 1 + random() % 3; i < n; ++i) {
    images.sizes.push_back(images.ragged ? image_size(random, c.height, c.width) : size);
    images.contents.push_back(draw_content(random, images.pixel_type));
  }
  return c;
}

struct Tables {
  std::vector<std::int32_t> starts;
  std::vector<float> weights;
  std::vector<ImageTaps> images;

  Tables(const Case& c, const std::vector<ImageView>& views) {
    for (const ImageView& v : views) {
      ImageTaps taps{};
      add(make_taps(static_cast<std::int32_t>(v.height), c.height, c.clean), taps.row_start, taps.row_weight,
          taps.row_taps);
      add(make_taps(static_cast<std::int32_t>(v.width), c.width, c.clean), taps.column_start, taps.column_weight,
          taps.column_taps);
      images.push_back(taps);
    }
  }

  void add(const OwnedTaps& table, std::int64_t& start, std::int64_t& weight, std::int64_t& taps) {
    start = static_cast<std::int64_t>(starts.size());
    weight = static_cast<std::int64_t>(weights.size());
    taps = table.taps;
    starts.insert(starts.end(), table.start.begin(), table.start.end());
    weights.insert(weights.end(), table.weight.begin(), table.weight.end());
  }
};

struct Output {
  std::vector<std::uint8_t> maps;
  std::vector<float> ranges;
  explicit Output(const Case& c)
      : maps(c.images.sizes.size() * kMaps * static_cast<std::size_t>(c.height * c.width) *
                 (c.map_type == MapType::f32 ? 4 : 2),
             0xee),
        ranges(c.images.sizes.size() * kMaps, -1.0f) {}
  bool operator==(const Output& other) const {
    return maps == other.maps && std::memcmp(ranges.data(), other.ranges.data(), ranges.size() * sizeof(float)) == 0;
  }
};

std::int64_t shared_limit(const Case& c, const PerceptualMapsCudaArgs& args, Random& random) {
  const std::int64_t row = strip_pitch(kept_channels(c.color, c.images.channels), args.strip_width);
  const std::int64_t planes = perceptual_maps_layout(args, 1 << 20, 1).plane_floats;
  const std::int64_t few = (1 + random() % 3) * row;
  if (c.chip == Chip::everything) return 227 * 1024;
  if (c.chip == Chip::nothing) return kScratchFloats * 4;
  return 4 * (kScratchFloats + (c.chip == Chip::few_rows ? planes + few : std::min(few, planes - 1)));
}

void run_on_host(const Case& c, PerceptualMapsCudaArgs args, Random& random) {
  PerceptualMapsLayout layout = perceptual_maps_layout(args, shared_limit(c, args, random), 2);
  layout.blocks = std::min(layout.blocks, 2);  // one block works on several images
  std::vector<Four<float>> workspace(static_cast<std::size_t>(layout.blocks * layout.workspace_floats / 4),
                                     {NAN, NAN, NAN, NAN});
  args.workspace = workspace.empty() ? nullptr : workspace[0].values;
  host_cuda::launch(perceptual_maps_kernel_of(args), {static_cast<unsigned>(layout.blocks)},
                    {static_cast<unsigned>(layout.threads)}, static_cast<std::size_t>(layout.shared_bytes), args,
                    layout);
}

bool equal_bits(const Case& c, Random& random) {
  const DrawnImages pixels(c.images, random);
  const Tables tables(c, pixels.views);
  Output expected(c);
  Output got(c);
  const auto batch = static_cast<std::int64_t>(c.images.sizes.size());
  perceptual_maps_cpu({pixels.views.data(), batch, c.images.channels, c.images.pixel_type, c.color, c.clean, c.height,
                       c.width, expected.maps.data(), c.map_type, expected.ranges.data(), 1});
  PerceptualMapsCudaArgs args{};
  if (c.images.ragged) {
    args.images = pixels.views.data();
    args.image_taps = tables.images.data();
  } else {
    args.image = pixels.views[0];
    args.taps = tables.images[0];
    args.batch_stride = pixels.batch_stride;
  }
  args.starts = tables.starts.data();
  args.weights = tables.weights.data();
  args.batch = batch;
  for (const Size& s : c.images.sizes)
    if (s.height != c.height || s.width != c.width) args.strip_width = std::max(args.strip_width, s.width);
  args.channels = c.images.channels;
  args.pixel_type = c.images.pixel_type;
  args.color = c.color;
  args.clean = c.clean;
  args.height = c.height;
  args.width = c.width;
  args.maps = got.maps.data();
  args.map_type = c.map_type;
  args.ranges = got.ranges.data();
  args.threads = c.threads;
  run_on_host(c, args, random);
  if (got == expected) return true;
  std::size_t at = 0;
  while (at < got.maps.size() && got.maps[at] == expected.maps[at]) ++at;
  std::printf("FAILED %s\nfirst differing byte of the maps: %zu of %zu\n", c.text().c_str(), at, got.maps.size());
  for (std::size_t i = 0; i < got.ranges.size(); ++i)
    if (std::memcmp(&got.ranges[i], &expected.ranges[i], sizeof(float)) != 0)
      std::printf("range %zu: %a instead of %a\n", i, got.ranges[i], expected.ranges[i]);
  return false;
}

}  // namespace

IUSCORE_MAIN main(int count, char** values) {
  if (count != 4) return std::puts("usage: run_perceptual_maps CASES LARGEST_BLOCK SEED"), 2;
  const unsigned cases = static_cast<unsigned>(std::atoi(values[1]));
  Random random(static_cast<unsigned>(std::atoi(values[3])));
  for (unsigned i = 0; i < cases; ++i)
    if (!equal_bits(draw(i, std::atoi(values[2]), random), random)) return 1;
  std::printf("%u cases equal\n", cases);
  return 0;
}
