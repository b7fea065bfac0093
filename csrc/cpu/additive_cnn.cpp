#include "ops/additive_cnn.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <vector>

#include "core/half.h"
#include "cpu/additive_cnn_isa.h"
#include "cpu/isa.h"
#include "cpu/parallel_for.h"
#include "cpu/thread_scratch.h"

namespace iuscore {
namespace {

struct Parts {
  void (*first)(const CnnFirst&);
  void (*tiles)(const CnnTiles&);
  void (*rows)(const CnnRows&);
};

Parts parts_of(Isa isa, bool quantized) {
#if defined(IUSCORE_HAS_ISAS)
  if (quantized)
    return {avx512_vnni::additive_cnn_first, avx512_vnni::additive_cnn_tiles, avx512_vnni::additive_cnn_rows};
#endif
  static_cast<void>(quantized);
  return {IUSCORE_FOR_ISA(isa, additive_cnn_first), IUSCORE_FOR_ISA(isa, additive_cnn_tiles),
          IUSCORE_FOR_ISA(isa, additive_cnn_rows)};
}

bool any_quantized(const AdditiveCnnArgs& args) {
  return std::any_of(args.convolutions, args.convolutions + args.n_convolutions,
                     [](const CnnConvolution& convolution) { return convolution.quantized; });
}

constexpr std::int64_t kMaxTiles = 64;  // convolved together: they share the kernels while those are in cache
constexpr std::int64_t kMaxImages = 8;  // passed together: they share the matrix of the first linear layer

// Floats of a plane: whole tiles, and around them a border of one pixel.
struct Room {
  std::int64_t height, width, channels;

  std::int64_t row() const { return (in_tiles(width) * kCnnTile + 2) * channels; }
  std::int64_t rows() const { return in_tiles(height) * kCnnTile + 2; }
  std::int64_t floats() const { return rows() * row(); }
};

// Sizes of the parts of a thread's scratch. Convolutions read one of the two planes and write the other, in turns.
struct Plan {
  std::int64_t map = 0;  // floats, as all below
  std::int64_t planes[2] = {0, 0};
  std::int64_t patches = 0;
  std::int64_t products = 0;
  std::int64_t raw = 0;       // a tile in full precision, before it becomes integers
  std::int64_t units = 0;     // the value that 1 stands for in those integers
  std::int64_t features = 0;  // of one image
  std::int64_t hidden = 0;    // of one image, the widest linear layer

  explicit Plan(const AdditiveCnnArgs& args) {
    std::int64_t height = args.height;
    std::int64_t width = args.width;
    map = in_cnn_vectors((height + 2) * (width + 2));
    planes[0] = Room{height, width, in_cnn_vectors(args.channels)}.floats();
    for (std::int32_t i = 0; i < args.n_convolutions; ++i) {
      const CnnConvolution& convolution = args.convolutions[i];
      const std::int64_t tiles = std::min(kMaxTiles, in_tiles(height) * in_tiles(width));
      patches = std::max(patches, kCnnPoints * cnn_point_step(tiles, convolution.in));
      products = std::max(products, kCnnPoints * cnn_point_step(tiles, convolution.out));
      raw = std::max(raw, kCnnPoints * cnn_point_step(1, convolution.in));
      units = std::max(units, in_cnn_vectors(kCnnPoints * tiles));
      if (convolution.pooled) height /= 2, width /= 2;
      const Room room{height, width, in_cnn_vectors(convolution.out)};
      if (i + 1 < args.n_convolutions) planes[1 - i % 2] = std::max(planes[1 - i % 2], room.floats());
      features = height * width * room.channels;
    }
    for (std::int32_t i = 0; i < args.n_linears; ++i) hidden = std::max(hidden, in_cnn_vectors(args.linears[i].out));
  }

  std::int64_t scratch() const { return patches + products + raw + units; }
  std::int64_t unit(std::int64_t images) const {
    return map + planes[0] + planes[1] + images * (features + 2 * hidden);
  }
};

bool is_finite(const float* values, std::int64_t n) {
  std::uint32_t found = 0;
  for (std::int64_t i = 0; i < n; ++i) found |= (bits_of(values[i]) & 0x7f800000u) == 0x7f800000u;
  return found == 0;
}

void copy_with_border(const float* map, std::int64_t height, std::int64_t width, float* out) {
  std::fill_n(out, (height + 2) * (width + 2), 0.0f);
  for (std::int64_t y = 0; y < height; ++y) std::copy_n(map + y * width, width, out + (y + 1) * (width + 2) + 1);
}

// Clears the border of a plane, and the columns and rows that fill its last tiles.
CnnPlane with_border(float* scratch, const Room& room) {
  const std::int64_t row = room.row();
  const std::int64_t used = room.width * room.channels;
  float* const pixel = scratch + row + room.channels;
  std::fill_n(scratch, row + room.channels, 0.0f);
  for (std::int64_t y = 0; y < room.height; ++y) std::fill_n(pixel + y * row + used, row - used, 0.0f);
  float* const after = pixel + room.height * row;
  std::fill(after, scratch + room.floats(), 0.0f);
  return {pixel, row, room.channels};
}

// Forward passes of the networks; `threads` threads work on one image together.
class Pass {
 public:
  Pass(const AdditiveCnnArgs& args, std::int32_t threads)
      : args_(args),
        plan_(args),
        parts_(parts_of(current_isa(), any_quantized(args))),
        threads_(threads),
        scratch_(threads) {}

  std::int64_t floats(std::int64_t images) const { return plan_.unit(images); }

  // Passes `images` images through one network.
  void run(std::int32_t group, std::int64_t first_image, std::int64_t images, float* scratch) {
    float* const map = scratch;
    float* const planes = map + plan_.map;
    float* const features = planes + plan_.planes[0] + plan_.planes[1];
    for (std::int64_t i = 0; i < images; ++i) {
      const std::int64_t pixels = args_.height * args_.width;
      copy_with_border(args_.maps + ((first_image + i) * args_.groups + group) * pixels, args_.height, args_.width,
                       map);
      convolve(group, map, planes, features + i * plan_.features);
    }
    connect(group, first_image, images, features);
  }

 private:
  void convolve(std::int32_t group, const float* map, float* scratch, float* features) {
    float* const planes[2] = {scratch, scratch + plan_.planes[0]};
    std::int64_t height = args_.height;
    std::int64_t width = args_.width;
    const std::int64_t channels = in_cnn_vectors(args_.channels);
    CnnPlane in = with_border(planes[0], {height, width, channels});
    const std::int64_t rows = (height + threads_ - 1) / threads_;
    parallel_for((height + rows - 1) / rows, threads_, [&](std::int32_t, std::int64_t i) {
      parts_.first({map, width + 2, width, args_.first_kernels + group * 9 * channels,
                    args_.first_bias + group * channels, in, i * rows, std::min(rows, height - i * rows)});
    });
    for (std::int32_t i = 0; i < args_.n_convolutions; ++i) {
      const CnnConvolution& convolution = args_.convolutions[i];
      const std::int64_t out_channels = in_cnn_vectors(convolution.out);
      const std::int64_t out_height = convolution.pooled ? height / 2 : height;
      const std::int64_t out_width = convolution.pooled ? width / 2 : width;
      const CnnPlane out = i + 1 == args_.n_convolutions
                               ? CnnPlane{features, out_width * out_channels, out_channels}
                               : with_border(planes[1 - i % 2], {out_height, out_width, out_channels});
      layer(convolution, group, height, width, in, out);
      in = out;
      height = out_height;
      width = out_width;
    }
  }

  void layer(const CnnConvolution& convolution, std::int32_t group, std::int64_t height, std::int64_t width,
             const CnnPlane& in, const CnnPlane& out) {
    const std::int64_t tiles = in_tiles(height) * in_tiles(width);
    const std::int64_t share = ((tiles + threads_ - 1) / threads_ + 7) / 8 * 8;
    const std::int64_t some = std::min({kMaxTiles, share, tiles});
    parallel_for((tiles + some - 1) / some, threads_, [&](std::int32_t worker, std::int64_t i) {
      float* const patches = scratch_.of(worker, plan_.scratch());
      parts_.tiles({&convolution, group, height, width, in, out, i * some, std::min(some, tiles - i * some), patches,
                    patches + plan_.patches, patches + plan_.patches + plan_.products,
                    patches + plan_.patches + plan_.products + plan_.raw});
    });
  }

  void connect(std::int32_t group, std::int64_t first_image, std::int64_t images, float* features) {
    const float* values = features;
    std::int64_t values_row = plan_.features;
    float* spare[2] = {features + images * plan_.features, features + images * (plan_.features + plan_.hidden)};
    for (std::int32_t i = 0; i < args_.n_linears; ++i) {
      parts_.rows(
          {&args_.linears[i], group, values, values_row, images, i + 1 < args_.n_linears, spare[i % 2], plan_.hidden});
      values = spare[i % 2];
      values_row = plan_.hidden;
    }
    const std::int32_t outputs = args_.linears[args_.n_linears - 1].out;
    const std::int64_t pixels = args_.height * args_.width;
    for (std::int64_t i = 0; i < images; ++i) {
      const std::int64_t at = (first_image + i) * args_.groups + group;
      const bool finite = is_finite(args_.maps + at * pixels, pixels);
      for (std::int32_t k = 0; k < outputs; ++k)
        args_.evidence[at * outputs + k] =
            finite ? values[i * values_row + k] : std::numeric_limits<float>::quiet_NaN();
    }
  }

  const AdditiveCnnArgs& args_;
  const Plan plan_;
  const Parts parts_;
  const std::int32_t threads_;
  ThreadScratch scratch_;
};

}  // namespace

bool additive_cnn_has_vnni() {
#if defined(IUSCORE_HAS_ISAS)
  return current_isa() == Isa::avx512 && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

bool additive_cnn_has_fma() {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return true;
#else
  return current_isa() != Isa::baseline;
#endif
}

// With enough work, each thread computes networks and images of its own; with less, all threads work on one image
// together. The results have the same bits either way, because one thread computes each sum, in a fixed order.
void additive_cnn_cpu(const AdditiveCnnArgs& args, std::int32_t threads) {
  if (any_quantized(args) && !additive_cnn_has_vnni())
    throw std::runtime_error("additive_cnn: packed in 16-bit integers, whose products this CPU does not add up");
  const bool alone = args.batch * args.groups < threads;
  const std::int64_t share = args.batch * args.groups / (std::int64_t{4} * threads);
  const std::int64_t images = std::clamp<std::int64_t>(std::min(share, args.batch), 1, kMaxImages);
  const std::int64_t chunks = (args.batch + images - 1) / images;
  const std::int32_t workers = alone ? 1 : threads;
  ThreadScratch scratch(workers);
  std::vector<Pass> passes;
  passes.reserve(static_cast<std::size_t>(workers));
  for (std::int32_t i = 0; i < workers; ++i) passes.emplace_back(args, alone ? threads : 1);
  parallel_for(chunks * args.groups, workers, [&](std::int32_t worker, std::int64_t i) {
    Pass& pass = passes[static_cast<std::size_t>(worker)];
    const std::int64_t first = i % chunks * images;  // one network's images come one after another
    const std::int64_t some = std::min(images, args.batch - first);
    pass.run(static_cast<std::int32_t>(i / chunks), first, some, scratch.of(worker, pass.floats(images)));
  });
}

}  // namespace iuscore
