// Perceptual maps. A block computes one image at a time, with the arithmetic and in the order of the CPU kernel
// (docs/perceptual_maps.md), so that the bits are equal.
#include "core/color.h"
#include "core/macros.h"
#include "core/mlp.h"
#include "core/perceptual.h"
#include "core/stencil.h"
#include "cuda/block.cuh"
#include "cuda/launch.h"
#include "ops/perceptual_maps.h"

namespace iuscore {

// ---- How the work is divided, and where values are kept

// Shared memory holds, in this order: scratch, strip, planes. Parts that do not fit are in the workspace, which has a
// piece of `workspace_floats` floats for each block.
struct PerceptualMapsLayout {
  std::int32_t threads;
  std::int32_t blocks;
  bool strip_in_shared;
  bool planes_in_shared;
  std::int64_t strip_floats;
  std::int64_t plane_floats;
  std::int64_t shared_bytes;
  std::int64_t workspace_floats;
};

constexpr std::int64_t kScratchFloats = 2 * 3 * 32;  // widen_over_block of up to three ranges
constexpr std::int64_t kStripFloats = 8192;          // enough rows that a block has work between barriers

IUSCORE_HD std::int64_t round_up(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

// Floats of one strip row; a multiple of four, for stores of four.
IUSCORE_HD std::int64_t strip_pitch(std::int32_t kept, std::int64_t width) { return round_up(kept * width, 4); }

// shared_limit: the most bytes of shared memory a block may have.
inline PerceptualMapsLayout perceptual_maps_layout(const PerceptualMapsCudaArgs& args, std::int64_t shared_limit,
                                                   std::int32_t multiprocessors) {
  const auto smaller = [](std::int64_t x, std::int64_t y) { return x < y ? x : y; };
  const std::int32_t kept = kept_channels(args.color, args.channels);
  const std::int64_t pixels = std::int64_t{args.height} * args.width;
  const std::int64_t pitch = strip_pitch(kept, args.strip_width);
  PerceptualMapsLayout layout{};
  layout.plane_floats = pixels * (args.clean && kept == 1 ? 2 : 3);
  std::int64_t chip = shared_limit / static_cast<std::int64_t>(sizeof(float)) - kScratchFloats;
  layout.planes_in_shared = layout.plane_floats <= chip;
  if (layout.planes_in_shared) chip -= layout.plane_floats;
  if (pitch > 0) {
    const std::int64_t wanted = smaller(args.height, pitch < kStripFloats ? kStripFloats / pitch : 1) * pitch;
    layout.strip_in_shared = pitch <= chip;
    layout.strip_floats = layout.strip_in_shared ? smaller(wanted, chip / pitch * pitch) : wanted;
  }
  const std::int64_t strip_here = layout.strip_in_shared ? layout.strip_floats : 0;
  const std::int64_t planes_here = layout.planes_in_shared ? layout.plane_floats : 0;
  layout.shared_bytes = static_cast<std::int64_t>(sizeof(float)) * (kScratchFloats + strip_here + planes_here);
  layout.workspace_floats = round_up(layout.strip_floats - strip_here + layout.plane_floats - planes_here, 4);
  // A multiprocessor has as many threads as registers allow; the blocks whose planes fit its shared memory share them.
  std::int64_t neighbors = layout.planes_in_shared ? shared_limit / layout.shared_bytes : 1;
  layout.threads = kMaxMapsBlock;
  for (; neighbors > 1 && layout.threads > 192; neighbors /= 2) layout.threads /= 2;
  layout.threads = static_cast<std::int32_t>(smaller(layout.threads, round_up(pixels, 32)));
  if (args.threads > 0) layout.threads = args.threads;
  const std::int64_t most = layout.workspace_floats > 0 ? multiprocessors : 0x7fffffff;
  layout.blocks = static_cast<std::int32_t>(smaller(args.batch, most));
  return layout;
}

// ---- Loading an image

// Pixels of one image, and their order in a row of the strip: interleaved RGB stays interleaved, anything else is
// planar.
template <class Pixel>
struct Source {
  using Storage = typename Pixel::Storage;

  __device__ Source(const ImageView& view, std::int64_t shift, std::int32_t channels, bool color)
      : data(static_cast<const Storage*>(view.data) + shift),
        stride_h(view.stride_h),
        stride_w(view.stride_w),
        stride_c(view.stride_c),
        height(static_cast<std::int32_t>(view.height)),
        width(static_cast<std::int32_t>(view.width)),
        kept(kept_channels(color, channels)),
        gray(!color),
        stride_gray(channels == 3 ? view.stride_c : 0),
        interleaved(kept == 3 && stride_c == 1 && stride_w == 3) {}

  __device__ std::int32_t step_x() const { return interleaved ? 3 : 1; }
  __device__ std::int32_t step_c() const { return interleaved ? 1 : width; }

  // Offset, in the image's row, of an element of a strip's row.
  __device__ std::int64_t offset(std::int32_t element) const {
    if (interleaved) return element;
    const std::int32_t c = kept == 1 ? 0 : element / width;
    return (element - c * width) * stride_w + c * stride_c;
  }

  // Whether elements 4 k .. 4 k + 3 are always contiguous at an aligned address.
  __device__ bool in_fours() const {
    const bool rows =
        width % 4 == 0 && stride_h % 4 == 0 && reinterpret_cast<std::uintptr_t>(data) % alignof(Four<Storage>) == 0;
    return rows && (!gray || stride_gray == 0) && (interleaved || (stride_w == 1 && (kept == 1 || stride_c % 4 == 0)));
  }

  __device__ float value(const Storage* p) const {
    return gray ? gray_of(Pixel::load(p[0]), Pixel::load(p[stride_gray]), Pixel::load(p[2 * stride_gray]))
                : Pixel::load(*p);
  }

  template <int kGroup>
  __device__ void load(const Storage* p, float (&values)[kGroup]) const {
    if constexpr (kGroup == 1) {
      values[0] = value(p);
    } else {
      static_assert(kGroup == 4);
      const Four<Storage> four = *reinterpret_cast<const Four<Storage>*>(p);
      for (int k = 0; k < kGroup; ++k) {
        const float value = Pixel::load(four.values[k]);
        values[k] = gray ? gray_of(value) : value;
      }
    }
  }

  const Storage* data;
  std::int64_t stride_h;
  std::int64_t stride_w;
  std::int64_t stride_c;
  std::int32_t height;
  std::int32_t width;
  std::int32_t kept;
  bool gray;                 // gray maps: pixels become the weighted sum of the channels
  std::int64_t stride_gray;  // between the channels of that sum; 0 if the image has one channel
  bool interleaved;
};

// ---- The kernel
//
// An image has three planes: `gray` holds the only resized channel or the first of three, later the normalized gray
// image, later the Gaussian; `second` and `third` hold the other channels, later a* and b*, later the horizontal
// Gaussian and the Sobel magnitude. Clean mode writes maps as it finds them and needs `third` for a third channel only.
// The type of the maps is a branch at each store, which all threads take alike: as a template parameter it would triple
// the size of the module.

// The memory of a block, and its steps in order of use. In all loops over `i`, also of different images, a thread has
// the same pixels. So barriers are needed only where a thread reads what another thread wrote.
template <class Pixel, bool kColor, bool kClean>
class PerceptualMapsBlock {
 public:
  __device__ PerceptualMapsBlock(const PerceptualMapsCudaArgs& args, const PerceptualMapsLayout& layout)
      : args_(args), layout_(layout), scratch_(dynamic_shared()), pixels_(args.height * args.width) {
    float* chip = scratch_ + kScratchFloats;
    float* workspace = args.workspace + blockIdx.x * layout.workspace_floats;
    strip_ = layout.strip_in_shared ? chip : workspace;
    gray_ = layout.planes_in_shared ? chip : workspace;
    if (layout.strip_in_shared == layout.planes_in_shared) gray_ += layout.strip_floats;
  }

  __device__ void image(std::int64_t index) {
    const bool ragged = args_.images != nullptr;
    const ImageView view = ragged ? args_.images[index] : args_.image;
    const ImageTaps& taps = ragged ? args_.image_taps[index] : args_.taps;
    const std::int64_t shift = ragged ? 0 : index * args_.batch_stride;
    const Source<Pixel> source(view, shift, args_.channels, kColor);
    index_ = index;
    if constexpr (Pixel::kCanBeNonFinite) {
      if (__syncthreads_or(sees_unusable(source))) return write_nan();
    }
    Range ranges[3] = {empty_range(), empty_range(), empty_range()};
    resize(source, taps, ranges);
    if constexpr (kColor) {
      opponents(ranges, source.kept);
    } else {
      bands(ranges[0]);
    }
    coarse_and_light(kColor ? 2 : 0);
  }

 private:
  // ---- Input

  __device__ bool sees_unusable(const Source<Pixel>& source) const {
    const auto warp = static_cast<std::int32_t>(threadIdx.x) / kWarpSize;
    const auto lane = static_cast<std::int32_t>(threadIdx.x) % kWarpSize;
    const auto warps = static_cast<std::int32_t>(blockDim.x) / kWarpSize;
    bool usable = true;
    IUSCORE_ROLLED
    for (std::int32_t y = warp; y < source.height; y += warps) {
      IUSCORE_ROLLED
      for (std::int32_t x = lane; x < source.width; x += kWarpSize) {
        const auto* p = source.data + y * source.stride_h + x * source.stride_w;
        IUSCORE_ROLLED
        for (std::int32_t c = 0; c < args_.channels; ++c) usable &= is_usable(Pixel::load(p[c * source.stride_c]));
      }
    }
    return !usable;
  }

  __device__ void write_nan() {
    noise_ = false;
    for (int map = 0; map < kMaps; ++map) {
      for (std::int32_t i = thread(); i < pixels_; i += threads()) store(map, i, NAN);
      note(map, {NAN, NAN});
    }
  }

  // Writes the image, resized to the size of the maps, to the planes, and finds the range that normalizes each channel.
  __device__ void resize(const Source<Pixel>& source, const ImageTaps& taps, Range (&ranges)[3]) {
    const bool three = kColor && source.kept == 3;
    if (source.height != args_.height || source.width != args_.width) {
      resample(source, taps, ranges);
    } else if (three) {
      copy<3>(source, ranges);
    } else {
      copy<1>(source, ranges);
    }
    if (three) {
      widen_over_block<3>(ranges, scratch_);
      if (kClean) merge(ranges);
    } else {
      widen_over_block<1>(ranges, scratch_);
    }
    noise_ = false;
    for (int c = 0; c < (three ? 3 : 1); ++c) noise_ |= !kClean && is_rounding_noise(ranges[c]);
  }

  __device__ void resample(const Source<Pixel>& source, const ImageTaps& taps, Range (&ranges)[3]) {
    const auto pitch = static_cast<std::int32_t>(strip_pitch(source.kept, source.width));
    const auto fitting = static_cast<std::int32_t>(layout_.strip_floats / pitch);
    const bool in_fours = source.in_fours();
    IUSCORE_ROLLED
    for (std::int32_t row = 0; row < args_.height; row += fitting) {
      const std::int32_t rows = args_.height - row < fitting ? args_.height - row : fitting;
      if (in_fours) {
        vertical<4>(source, taps, row, rows, pitch);
      } else {
        vertical<1>(source, taps, row, rows, pitch);
      }
      __syncthreads();
      if (kColor && source.kept == 3) {
        horizontal<3>(source, taps, row, rows, pitch, ranges);
      } else {
        horizontal<1>(source, taps, row, rows, pitch, ranges);
      }
      __syncthreads();
    }
  }

  template <int kKept>
  __device__ void copy(const Source<Pixel>& source, Range (&ranges)[3]) {
    IUSCORE_ROLLED
    for (std::int32_t i = thread(); i < pixels_; i += threads()) {
      const std::int32_t y = i / args_.width;
      const auto* p = source.data + y * source.stride_h + (i - y * args_.width) * source.stride_w;
      for (int c = 0; c < kKept; ++c) {
        const float value = source.value(p + c * source.stride_c);
        plane(c)[i] = value;
        widen(ranges[c], value);
      }
    }
  }

  // Writes rows `row` .. `row + rows - 1` of the vertically resized image to the strip, kGroup elements at a time.
  template <int kGroup>
  __device__ void vertical(const Source<Pixel>& source, const ImageTaps& taps, std::int32_t row, std::int32_t rows,
                           std::int32_t pitch) {
    const std::int32_t groups = source.kept * source.width / kGroup;
    const std::int32_t* start = args_.starts + taps.row_start + row;
    const float* weights = args_.weights + taps.row_weight + row;
    IUSCORE_ROLLED
    for (std::int32_t item = thread(); item < rows * groups; item += threads()) {
      const std::int32_t r = item / groups;
      const std::int32_t element = (item - r * groups) * kGroup;
      const auto* p = source.data + start[r] * source.stride_h + source.offset(element);
      Four<float> sum{};
      bool empty = true;
      IUSCORE_UNROLLED_BY_2
      for (std::int32_t j = 0; j < taps.row_taps; ++j, p += source.stride_h) {
        const float weight = weights[static_cast<std::int64_t>(j) * args_.height + r];
        if (weight == 0.0f) continue;
        float values[kGroup];
        source.template load<kGroup>(p, values);
        for (int k = 0; k < kGroup; ++k)
          sum.values[k] = empty ? weight * values[k] : sum.values[k] + weight * values[k];
        empty = false;
      }
      float* out = strip_ + r * pitch + element;
      if constexpr (kGroup == 4) {
        *reinterpret_cast<Four<float>*>(out) = sum;
      } else {
        *out = sum.values[0];
      }
    }
  }

  template <int kKept>
  __device__ void horizontal(const Source<Pixel>& source, const ImageTaps& taps, std::int32_t row, std::int32_t rows,
                             std::int32_t pitch, Range (&ranges)[3]) {
    const std::int32_t step_x = source.step_x();
    const std::int32_t step_c = source.step_c();
    IUSCORE_ROLLED
    for (std::int32_t item = thread(); item < rows * args_.width; item += threads()) {
      const std::int32_t r = item / args_.width;
      const std::int32_t o = item - r * args_.width;
      const float* p = strip_ + r * pitch + args_.starts[taps.column_start + o] * step_x;
      const float* weight = args_.weights + taps.column_weight + o;
      float sum[kKept];
      for (int c = 0; c < kKept; ++c) sum[c] = *weight * p[c * step_c];
      IUSCORE_UNROLLED_BY_2
      for (std::int32_t j = 1; j < taps.column_taps; ++j) {
        p += step_x;
        weight += args_.width;
        for (int c = 0; c < kKept; ++c) sum[c] += *weight * p[c * step_c];
      }
      for (int c = 0; c < kKept; ++c) {
        plane(c)[row * args_.width + item] = sum[c];
        widen(ranges[c], sum[c]);
      }
    }
  }

  // ---- Maps

  // Computes red-green, blue-yellow and the gray plane.
  __device__ void opponents(const Range (&image)[3], std::int32_t kept) {
    const Normalizer red = image_normalizer(image[0], kClean);
    const Normalizer green = image_normalizer(image[1], kClean);
    const Normalizer blue = image_normalizer(image[2], kClean);
    Range ranges[2] = {empty_range(), empty_range()};
    IUSCORE_ROLLED
    for (std::int32_t i = thread(); i < pixels_; i += threads()) {
      const float r = normalized(gray_[i], red);
      const float g = kept == 3 ? normalized(second()[i], green) : r;
      const float b = kept == 3 ? normalized(third()[i], blue) : r;
      const OpponentColor color = opponent_color(r, g, b);
      gray_[i] = gray_of(r, g, b);
      plain(0, i, kClean ? clean_opponent(color.a) : color.a, second(), ranges[0]);
      plain(1, i, kClean ? clean_opponent(color.b) : color.b, third(), ranges[1]);
    }
    widen_over_block<2>(ranges, scratch_);
    finish(0, ranges, second(), third());
  }

  // Computes Band-I, Band-II and the gray plane.
  __device__ void bands(const Range& image) {
    const Normalizer by = image_normalizer(image, kClean);
    Range ranges[2] = {empty_range(), empty_range()};
    IUSCORE_ROLLED
    for (std::int32_t i = thread(); i < pixels_; i += threads()) {
      const float gray = normalized(gray_[i], by);
      const float one = band_one(gray);
      const float two = band_two(gray);
      gray_[i] = gray;
      store(2, i, one);
      store(3, i, two);
      widen(ranges[0], one);
      widen(ranges[1], two);
    }
    widen_over_block<2>(ranges, scratch_);
    note(2, ranges[0]);
    note(3, ranges[1]);
  }

  // Computes maps `map` (coarse-fine) and `map + 1` (light-dark) from the gray plane. The step before ended with a
  // barrier.
  __device__ void coarse_and_light(int map) {
    Range ranges[2] = {empty_range(), empty_range()};
    IUSCORE_ROLLED
    for (std::int32_t i = thread(); i < pixels_; i += threads()) {
      const std::int32_t y = i / args_.width;
      const std::int32_t x = i - y * args_.width;
      const float* row = gray_ + y * args_.width;
      second()[i] = blurred_row(row, x);
      const float* north = y > 0 ? row - args_.width : row;
      const float* south = y < args_.height - 1 ? row + args_.width : row;
      const float edge = sobel_magnitude(north + x, row + x, south + x, x > 0 ? -1 : 0, x < args_.width - 1 ? 1 : 0);
      plain(map, i, kClean ? clean_coarse_fine(edge) : edge, third(), ranges[0]);
    }
    __syncthreads();
    for (std::int32_t i = thread(); i < pixels_; i += threads()) plain(map + 1, i, blurred_column(i), gray_, ranges[1]);
    widen_over_block<2>(ranges, scratch_);
    finish(map, ranges, third(), gray_);
  }

  __device__ float blurred_row(const float* row, std::int32_t x) const {
    const auto at = [&](std::int32_t k) { return row[reflect(x + k, args_.width)]; };
    return gaussian_7(at(-3), at(-2), at(-1), at(0), at(1), at(2), at(3));
  }

  __device__ float blurred_column(std::int32_t i) const {
    const std::int32_t y = i / args_.width;
    const float* column = second() + (i - y * args_.width);
    const auto at = [&](std::int32_t k) { return column[reflect(y + k, args_.height) * args_.width]; };
    return gaussian_7(at(-3), at(-2), at(-1), at(0), at(1), at(2), at(3));
  }

  // ---- Output

  // Takes a value of a map before the map's own min-max: in clean mode it is final; in the published mode it is kept in
  // a plane.
  __device__ void plain(int map, std::int32_t i, float value, float* kept, Range& range) {
    widen(range, value);
    if constexpr (kClean) {
      store(map, i, value);
    } else {
      kept[i] = value;
    }
  }

  __device__ void finish(int map, const Range (&ranges)[2], const float* one, const float* two) {
    note(map, ranges[0]);
    note(map + 1, ranges[1]);
    if constexpr (!kClean) {
      const Normalizer by_one = min_max(ranges[0]);
      const Normalizer by_two = min_max(ranges[1]);
      IUSCORE_ROLLED
      for (std::int32_t i = thread(); i < pixels_; i += threads()) {
        store(map, i, normalized(one[i], by_one));
        store(map + 1, i, normalized(two[i], by_two));
      }
    }
  }

  __device__ void note(int map, const Range& range) {
    if (threadIdx.x == 0) args_.ranges[index_ * kMaps + map] = noise_ ? 0.0f : canonical_nan(range.high - range.low);
  }

  __device__ void store(int map, std::int32_t i, float value) {
    const std::int64_t at = (index_ * kMaps + map) * pixels_ + i;
    if (args_.map_type == MapType::f32) {
      static_cast<float*>(args_.maps)[at] = value;
    } else {
      static_cast<std::uint16_t*>(args_.maps)[at] =
          args_.map_type == MapType::f16 ? float_to_f16(value) : float_to_bf16(value);
    }
  }

  __device__ static std::int32_t thread() { return static_cast<std::int32_t>(threadIdx.x); }
  __device__ static std::int32_t threads() { return static_cast<std::int32_t>(blockDim.x); }
  __device__ float* plane(int c) const { return gray_ + c * pixels_; }
  __device__ float* second() const { return plane(1); }
  __device__ float* third() const { return plane(2); }

  const PerceptualMapsCudaArgs& args_;
  const PerceptualMapsLayout& layout_;
  float* scratch_;
  float* strip_;
  float* gray_;
  std::int64_t index_ = 0;
  bool noise_ = false;  // the whole range of a channel is rounding errors
  std::int32_t pixels_;
};

template <class Pixel, bool kColor, bool kClean>
__global__ void __launch_bounds__(kMaxMapsBlock, 1)
    perceptual_maps_kernel(const __grid_constant__ PerceptualMapsCudaArgs args,
                           const __grid_constant__ PerceptualMapsLayout layout) {
  PerceptualMapsBlock<Pixel, kColor, kClean> block(args, layout);
  for (std::int64_t i = blockIdx.x; i < args.batch; i += gridDim.x) block.image(i);
}

using PerceptualMapsKernel = void (*)(PerceptualMapsCudaArgs, PerceptualMapsLayout);

template <class Pixel>
PerceptualMapsKernel perceptual_maps_kernel_for(const PerceptualMapsCudaArgs& args) {
  if (args.color)
    return args.clean ? perceptual_maps_kernel<Pixel, true, true> : perceptual_maps_kernel<Pixel, true, false>;
  return args.clean ? perceptual_maps_kernel<Pixel, false, true> : perceptual_maps_kernel<Pixel, false, false>;
}

inline PerceptualMapsKernel perceptual_maps_kernel_of(const PerceptualMapsCudaArgs& args) {
  switch (args.pixel_type) {
    case PixelType::u8:
      return perceptual_maps_kernel_for<PixelU8>(args);
    case PixelType::u16:
      return perceptual_maps_kernel_for<PixelU16>(args);
    case PixelType::f16:
      return perceptual_maps_kernel_for<PixelF16>(args);
    case PixelType::bf16:
      return perceptual_maps_kernel_for<PixelBF16>(args);
    case PixelType::f32:
      return perceptual_maps_kernel_for<PixelF32>(args);
  }
  return nullptr;
}

namespace {

Launcher launcher_for(const PerceptualMapsCudaArgs& args) { return {"perceptual_maps", args.device}; }

PerceptualMapsLayout layout_on(const Launcher& launcher, const PerceptualMapsCudaArgs& args) {
  return perceptual_maps_layout(args, launcher.shared_limit(), launcher.multiprocessors());
}

std::int64_t workspace_bytes(const PerceptualMapsLayout& layout) {
  return layout.blocks * layout.workspace_floats * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace

std::int64_t perceptual_maps_cuda_workspace(const PerceptualMapsCudaArgs& args) {
  return workspace_bytes(layout_on(launcher_for(args), args));
}

void perceptual_maps_cuda(const PerceptualMapsCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher = launcher_for(args);
  const CurrentDevice current = launcher.use_device();
  const PerceptualMapsLayout layout = layout_on(launcher, args);
  launcher.check_workspace(workspace_bytes(layout), args.workspace_bytes);
  launcher.launch(perceptual_maps_kernel_of(args), layout.blocks, layout.threads, layout.shared_bytes, stream, args,
                  layout);
}

}  // namespace iuscore
