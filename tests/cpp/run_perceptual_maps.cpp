// Runs the CUDA kernel body of perceptual_maps on the host against the CPU op: equal in every bit.
// Usage: run_perceptual_maps CASES LARGEST_BLOCK SEED. 160 consecutive cases cover pixel types x channels x color or
// gray x modes x memory layouts; everything else is drawn. Exits 1 and names the first difference.

// clang-format off
#include "host_cuda.h"  // first: it gives the words of the .cuh a meaning
// clang-format on

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>

#include "cpu/tap_table.h"
#include "cuda/perceptual_maps.cuh"

using namespace iuscore;

namespace {

using Random = std::mt19937;

template <class T>
T pick(Random& random, std::initializer_list<T> choices) {
  return choices.begin()[random() % choices.size()];
}

enum class Memory { interleaved, planar, general, negative };
enum class Content { noise, constant, faint, black_border, nan, infinite, huge };
enum class Chip { everything, few_rows, no_planes, nothing };

struct Size {
  std::int64_t height, width;
};

struct Case {
  PixelType pixel_type;
  std::int32_t channels;
  bool color, clean;
  Memory memory;
  MapType map_type;
  std::int32_t height, width;
  std::vector<Size> images;
  std::vector<Content> contents;
  bool ragged, misaligned;
  std::int32_t threads;
  Chip chip;

  std::string text() const {
    std::string sizes;
    for (const Size& s : images) sizes += " " + std::to_string(s.height) + "x" + std::to_string(s.width);
    char line[400];
    std::snprintf(
        line, sizeof line,
        "pixel type %d, C %d, %s, %s, memory %d%s, map type %d, maps %dx%d, images%s (%s), %d threads, chip %d",
        static_cast<int>(pixel_type), channels, color ? "color" : "gray", clean ? "clean" : "paper",
        static_cast<int>(memory), misaligned ? " misaligned" : "", static_cast<int>(map_type), height, width,
        sizes.c_str(), ragged ? "ragged" : "equal", threads, static_cast<int>(chip));
    return line;
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
  const auto next = [&](unsigned n) {
    const unsigned digit = index % n;
    index /= n;
    return digit;
  };
  c.pixel_type = static_cast<PixelType>(next(5));
  c.channels = next(2) == 0 ? 1 : 3;
  c.color = next(2) == 0;
  c.clean = next(2) == 0;
  c.memory = static_cast<Memory>(next(4));
  c.map_type = pick(random, {MapType::f32, MapType::f16, MapType::bf16});
  c.height = pick(random, {4, 5, 8, 13, 16});
  c.width = pick(random, {4, 7, 8, 12, 17});
  c.ragged = random() % 2 == 0;
  c.misaligned = random() % 4 == 0;
  c.chip = static_cast<Chip>(random() % 4);
  // Narrow blocks far more often: a barrier over 256 threads on a few cores is slow.
  c.threads = std::min(pick(random, {32, 32, 32, 32, 64, 64, 64, 96, 128, 256}), largest_block);
  const bool floating = c.pixel_type >= PixelType::f16;
  const Size size = image_size(random, c.height, c.width);
  for (unsigned i = 0, n = 1 + random() % 3; i < n; ++i) {
    c.images.push_back(c.ragged ? image_size(random, c.height, c.width) : size);
    c.contents.push_back(static_cast<Content>(random() % (floating ? 7 : 4)));
  }
  return c;
}

double value_of(Content content, Random& random, std::int64_t x, std::int64_t width) {
  const double unit = random() / 4294967296.0;
  if (content == Content::constant) return 0.4;
  if (content == Content::faint) return 0.5 + 0.01 * unit;
  // Zeros of both signs: which of them is the smallest value must not show in the maps.
  if (content == Content::black_border) return x < width / 2 ? (random() % 2 ? 0.0 : -0.0) : unit;
  return 1.5 * unit - 0.25;
}

// Storage bits of a value on the 0..1 scale.
template <class Storage>
Storage encode(PixelType type, double value) {
  if constexpr (std::is_same_v<Storage, float>) return static_cast<float>(value);
  if (type == PixelType::f16) return static_cast<Storage>(float_to_f16(static_cast<float>(value)));
  if (type == PixelType::bf16) return static_cast<Storage>(float_to_bf16(static_cast<float>(value)));
  const double largest = type == PixelType::u8 ? 255 : 65535;
  return static_cast<Storage>(std::clamp(std::round(value * largest), 0.0, largest));
}

// Pixels of a batch in the case's layout. The elements between them are NaN where the type has one, so reading them
// shows.
template <class Storage>
struct Pixels {
  std::vector<std::vector<Storage>> memory;  // one piece, or one an image
  std::vector<ImageView> views;
  std::int64_t batch_stride = 0;

  Pixels(const Case& c, Random& random) {
    const std::size_t n = c.images.size();
    const Storage gap = encode<Storage>(c.pixel_type, c.pixel_type >= PixelType::f16 ? NAN : 0.9);
    for (std::size_t i = 0; i < n; ++i) {
      const auto [h, w] = c.images[i];
      ImageView view{nullptr, h, w, 0, 0, 0};
      const std::int64_t extent = strides(c, view);
      const std::int64_t shift = c.misaligned ? 1 : 0;
      if (c.ragged || i == 0) memory.emplace_back((c.ragged ? 1 : n) * static_cast<std::size_t>(extent) + shift, gap);
      const std::int64_t begin = shift + (c.ragged ? 0 : static_cast<std::int64_t>(i) * extent);
      std::int64_t first = begin;
      for (const auto& [count, stride] :
           {Size{h, view.stride_h}, Size{w, view.stride_w}, Size{c.channels, view.stride_c}})
        if (stride < 0) first -= (count - 1) * stride;
      Storage* data = memory.back().data() + first;
      batch_stride = extent;
      fill(c, c.contents[i], view, data, random);
      view.data = data;
      views.push_back(view);
    }
  }

  // Sets the strides and returns the number of elements from the lowest to the highest address.
  static std::int64_t strides(const Case& c, ImageView& v) {
    const std::int64_t C = c.channels;
    if (c.memory == Memory::interleaved) v.stride_c = 1, v.stride_w = C, v.stride_h = C * v.width;
    if (c.memory == Memory::planar) v.stride_w = 1, v.stride_h = v.width, v.stride_c = v.width * v.height;
    if (c.memory == Memory::general) v.stride_h = 2, v.stride_w = 2 * v.height + 1, v.stride_c = v.stride_w * v.width;
    if (c.memory == Memory::negative) v.stride_c = -1, v.stride_w = -C, v.stride_h = -C * v.width;
    return std::abs(v.stride_h) * (v.height - 1) + std::abs(v.stride_w) * (v.width - 1) +
           std::abs(v.stride_c) * (C - 1) + 1;
  }

  static void fill(const Case& c, Content content, const ImageView& v, Storage* data, Random& random) {
    for (std::int64_t y = 0; y < v.height; ++y)
      for (std::int64_t x = 0; x < v.width; ++x)
        for (std::int64_t ch = 0; ch < c.channels; ++ch)
          data[y * v.stride_h + x * v.stride_w + ch * v.stride_c] =
              encode<Storage>(c.pixel_type, value_of(content, random, x, v.width));
    if (content < Content::nan) return;
    const double odd = content == Content::nan ? NAN : content == Content::infinite ? -INFINITY : 1e28;
    const std::int64_t y = static_cast<std::int64_t>(random()) % v.height;
    const std::int64_t x = static_cast<std::int64_t>(random()) % v.width;
    data[y * v.stride_h + x * v.stride_w + (c.channels - 1) * v.stride_c] = encode<Storage>(c.pixel_type, odd);
  }
};

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
      : maps(c.images.size() * kMaps * static_cast<std::size_t>(c.height * c.width) *
                 (c.map_type == MapType::f32 ? 4 : 2),
             0xee),
        ranges(c.images.size() * kMaps, -1.0f) {}
  bool operator==(const Output& other) const {
    return maps == other.maps && std::memcmp(ranges.data(), other.ranges.data(), ranges.size() * sizeof(float)) == 0;
  }
};

std::int64_t shared_limit(const Case& c, const PerceptualMapsCudaArgs& args, Random& random) {
  const std::int64_t row = strip_pitch(kept_channels(c.color, c.channels), args.strip_width);
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

template <class Storage>
bool equal_bits(const Case& c, Random& random) {
  const Pixels<Storage> pixels(c, random);
  const Tables tables(c, pixels.views);
  Output expected(c);
  Output got(c);
  const auto batch = static_cast<std::int64_t>(c.images.size());
  perceptual_maps_cpu({pixels.views.data(), batch, c.channels, c.pixel_type, c.color, c.clean, c.height, c.width,
                       expected.maps.data(), c.map_type, expected.ranges.data(), 1});
  PerceptualMapsCudaArgs args{};
  if (c.ragged) {
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
  for (const Size& s : c.images)
    if (s.height != c.height || s.width != c.width) args.strip_width = std::max(args.strip_width, s.width);
  args.channels = c.channels;
  args.pixel_type = c.pixel_type;
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

bool equal_bits_of(const Case& c, Random& random) {
  if (c.pixel_type == PixelType::u8) return equal_bits<std::uint8_t>(c, random);
  if (c.pixel_type == PixelType::f32) return equal_bits<float>(c, random);
  return equal_bits<std::uint16_t>(c, random);
}

}  // namespace

int main(int count, char** values) {
  if (count != 4) return std::puts("usage: run_perceptual_maps CASES LARGEST_BLOCK SEED"), 2;
  const unsigned cases = static_cast<unsigned>(std::atoi(values[1]));
  Random random(static_cast<unsigned>(std::atoi(values[3])));
  for (unsigned i = 0; i < cases; ++i)
    if (!equal_bits_of(draw(i, std::atoi(values[2]), random), random)) return 1;
  std::printf("%u cases equal\n", cases);
  return 0;
}
