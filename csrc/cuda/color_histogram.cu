// Color histograms: a block counts a band of rows of an image in shared memory, then writes or adds its counts. Bytes
// of rgb and gray are counted as bytes, 16 of them with one load, and sorted into bins at the end. An atomic addition
// whose result is not used merges the lanes of a warp that add to the same counter, so flat images are no slower than
// others.
#include "core/color.h"
#include "core/histogram.h"
#include "core/pixel.h"
#include "cuda/block.cuh"
#include "cuda/launch.h"
#include "ops/color_histogram.h"

namespace iuscore {

// ---- How the work is divided, and what is in shared memory

// A task is a band of rows of an image. Shared memory, in words: edges, keys, `copies` histograms.
struct ColorHistogramLayout {
  std::int32_t threads;
  std::int32_t blocks;
  std::int32_t bands;  // of an image; several bands add to counts that were cleared before
  std::int32_t band_rows;
  std::int32_t edge_words;
  std::int32_t key_words;
  std::int32_t histogram_words;  // of one copy
  std::int32_t copies;           // shared among the warps; 0: the histogram is too large and is in global memory
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

constexpr std::int64_t kMinPixelsOfABlock = 1 << 14;

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
      histogram_size(args.axes, args.space, args.joint) + (args.joint ? 1 : channels) * kExtraSlots;
  layout.histogram_words =
      static_cast<std::int32_t>(counts_bytes(args.pixel_type, args.space, args.joint) ? channels * 256 : slots);
  const std::int64_t room = shared_limit / 4 - layout.edge_words - layout.key_words;
  layout.copies = layout.histogram_words > room ? 0 : 4 * layout.histogram_words <= smaller(room, 4096) ? 4 : 1;
  layout.shared_bytes =
      4 * (std::int64_t{layout.edge_words} + layout.key_words + std::int64_t{layout.copies} * layout.histogram_words);
  const std::int64_t pixels = args.image.height * args.image.width;
  const std::int64_t wanted = (2 * std::int64_t{multiprocessors} + args.batch - 1) / larger(args.batch, 1);
  const std::int64_t bands = larger(1, smaller(smaller(wanted, pixels / kMinPixelsOfABlock), args.image.height));
  layout.band_rows = static_cast<std::int32_t>((args.image.height + bands - 1) / bands);
  layout.bands = static_cast<std::int32_t>((args.image.height + layout.band_rows - 1) / layout.band_rows);
  layout.blocks = static_cast<std::int32_t>(smaller(args.batch * layout.bands, 8 * std::int64_t{multiprocessors}));
  return layout;
}

// Whether blocks add to counts, which must be cleared before.
inline bool adds_to_counts(const ColorHistogramLayout& layout) { return layout.bands > 1 || layout.copies == 0; }

template <class Pixel, ColorSpace kSpace>
class ColorHistogramBlock {
 public:
  using Storage = typename Pixel::Storage;
  static constexpr int kChannels = histogram_channels(kSpace);
  static constexpr bool kStored = kSpace == ColorSpace::rgb || kSpace == ColorSpace::gray;
  static constexpr bool kBytes = sizeof(Storage) == 1 && kStored;

  __device__ ColorHistogramBlock(const ColorHistogramCudaArgs& args, const ColorHistogramLayout& layout)
      : args_(args),
        layout_(layout),
        keys_(reinterpret_cast<std::uint32_t*>(dynamic_shared()) + layout.edge_words),
        counters_(keys_ + layout.key_words),
        stride_c_(args.channels == 3 ? args.image.stride_c : 0),
        size_(static_cast<std::int32_t>(histogram_size(args.axes, kSpace, args.joint))),
        raw_(kBytes && !args.joint) {
    float* edges = dynamic_shared();
    IUSCORE_UNROLLED
    for (int c = 0; c < kChannels; ++c) {
      axes_[c] = args.axes[c];
      axes_[c].edges = edges;
      for (std::int32_t i = thread(); i <= axes_[c].bins; i += threads()) edges[i] = args.axes[c].edges[i];
      edges += axes_[c].bins + 1;
    }
    const std::int32_t warp = thread() / kWarpSize;
    own_ = counters_ + (layout.copies > 0 ? warp % layout.copies : 0) * layout.histogram_words;
    __syncthreads();
    if (layout.key_words > 0) make_keys();
  }

  __device__ void task(std::int64_t index) {
    image_ = index / layout_.bands;
    const auto band = static_cast<std::int32_t>(index % layout_.bands);
    const auto height = static_cast<std::int32_t>(args_.image.height);
    const std::int32_t row = band * layout_.band_rows;
    rows_ = height - row < layout_.band_rows ? height - row : layout_.band_rows;
    pixels_ = static_cast<const Storage*>(args_.image.data) + image_ * args_.batch_stride + row * args_.image.stride_h;
    mask_ = args_.mask.data;
    if (mask_ != nullptr) mask_ += image_ * args_.mask_batch_stride + row * args_.mask.stride_h;
    for (std::int32_t i = thread(); i < layout_.copies * layout_.histogram_words; i += threads()) counters_[i] = 0;
    __syncthreads();
    if constexpr (kBytes) {
      if (raw_) {
        count_bytes();
        __syncthreads();
        write_bytes();
        __syncthreads();  // before the counters are cleared for the next task
        return;
      }
    }
    count_pixels();
    __syncthreads();
    if (layout_.copies > 0) write_slots();
    __syncthreads();
  }

 private:
  // ---- Pixels of the band

  // Calls each(address) for each pixel from number `begin` on that is counted, in the threads of the block in turns.
  template <class Each>
  __device__ void for_pixels(std::int32_t begin, const Each& each) const {
    const auto width = static_cast<std::int32_t>(args_.image.width);
    const std::int32_t n = rows_ * width;
    const ImageView& image = args_.image;
    const bool dense = image.stride_h == width * image.stride_w && mask_ == nullptr;
    IUSCORE_ROLLED
    for (std::int32_t i = begin + thread(); i < n; i += threads()) {
      if (dense) {
        each(pixels_ + i * image.stride_w);
        continue;
      }
      const std::int32_t y = i / width;
      const std::int32_t x = i - y * width;
      if (mask_ != nullptr && mask_[y * args_.mask.stride_h + x * args_.mask.stride_w] == 0) continue;
      each(pixels_ + y * image.stride_h + x * image.stride_w);
    }
  }

  // ---- Bytes, counted as bytes

  __device__ bool dense_rows(std::int64_t stride_w) const {
    return mask_ == nullptr && args_.image.stride_w == stride_w && args_.image.stride_h == stride_w * args_.image.width;
  }

  __device__ void count_bytes() const {
    const bool color = args_.channels == 3;
    const std::int64_t n = rows_ * args_.image.width;
    if (kSpace == ColorSpace::gray && color) {
      for_pixels(0, [&](const Storage* p) { add(own_ + static_cast<std::int32_t>(gray(p))); });
    } else if (color && args_.image.stride_c == 1 && dense_rows(3)) {
      count_span<3>(reinterpret_cast<const std::uint8_t*>(pixels_), 3 * n, own_);
    } else if (dense_rows(1)) {
      for (int c = 0; c < args_.channels; ++c)
        count_span<1>(reinterpret_cast<const std::uint8_t*>(pixels_ + c * args_.image.stride_c), n, own_ + c * 256);
    } else {
      for_pixels(0, [&](const Storage* p) {
        for (int c = 0; c < (kSpace == ColorSpace::gray ? 1 : args_.channels); ++c)
          add(own_ + c * 256 + static_cast<std::int32_t>(p[c * stride_c_]));
      });
    }
  }

  // Counts n consecutive bytes, of kPeriod channels in turns: 16 with one load; up to 15 bytes before and after one by
  // one.
  template <int kPeriod>
  __device__ void count_span(const std::uint8_t* p, std::int64_t n, std::uint32_t* counters) const {
    const auto to_alignment = static_cast<std::int64_t>(-reinterpret_cast<std::uintptr_t>(p) % sizeof(Words));
    const std::int32_t head = static_cast<std::int32_t>(to_alignment < n ? to_alignment : n);
    const auto blocks = static_cast<std::int32_t>((n - head) / static_cast<std::int64_t>(sizeof(Words)));
    const std::int64_t tail = head + blocks * static_cast<std::int64_t>(sizeof(Words));
    const auto* words = reinterpret_cast<const Words*>(p + head);
    if (thread() < head) add(counters + thread() % kPeriod * 256 + p[thread()]);
    IUSCORE_ROLLED
    for (std::int32_t i = thread(); i < blocks; i += threads()) {
      const Words four = words[i];
      const std::int32_t phase = (head + i) % kPeriod;  // 16 i = i modulo 3
      std::uint32_t* of_channel[3];
      for (int k = 0; k < 3; ++k) of_channel[k] = counters + (phase + k) % kPeriod * 256;
      IUSCORE_UNROLLED
      for (int k = 0; k < 16; ++k) add(of_channel[k % kPeriod] + (four.values[k / 4] >> (8 * (k % 4)) & 0xffu));
    }
    if (tail + thread() < n) add(counters + (tail + thread()) % kPeriod * 256 + p[tail + thread()]);
  }

  __device__ void write_bytes() const {
    std::int32_t at = 0;
    IUSCORE_UNROLLED
    for (int c = 0; c < kChannels; ++c) {
      const BinAxis& axis = axes_[c];
      const std::int32_t from = args_.channels == 3 ? c * 256 : 0;
      for (std::int32_t i = thread(); i < axis.bins + kOutOfRangeSlots; i += threads()) {
        const std::int32_t extra = i - axis.bins;  // slot out of range, or negative: a bin
        const std::int32_t begin = extra < 0         ? bytes_below(axis.edges[i])
                                   : extra == kAbove ? bytes_below(axis.edges[axis.bins])
                                                     : 0;
        const std::int32_t end = extra < 0         ? bytes_below(axis.edges[i + 1])
                                 : extra == kBelow ? bytes_below(axis.edges[0])
                                 : extra == kAbove ? 256
                                                   : 0;
        std::uint32_t sum = 0;
        for (std::int32_t v = begin; v < end; ++v) sum += total(from + v);
        extra < 0 ? store(args_.counts + image_ * size_ + at + i, sum)
                  : store(args_.out_of_range + (image_ * kChannels + c) * kOutOfRangeSlots + extra, sum);
      }
      at += axis.bins;
    }
  }

  // ---- Slots

  __device__ void make_keys() {
    std::int32_t stride = 1;
    IUSCORE_UNROLLED
    for (int c = kChannels - 1; c >= 0; --c) {
      for (std::int32_t v = thread(); v < 256; v += threads())
        keys_[256 * c + v] = key_of_slot(slot_of(static_cast<float>(v), axes_[c]), axes_[c].bins, stride);
      stride *= axes_[c].bins;
    }
    __syncthreads();
  }

  __device__ void count_pixels() const {
    if constexpr (kBytes) {
      const std::int32_t done = count_key_blocks();
      for_pixels(done, [&](const Storage* p) {
        add_slot(slot_of_key(keys_[p[0]] + keys_[256 + p[stride_c_]] + keys_[512 + p[2 * stride_c_]], size_));
      });
    } else {
      for_pixels(0, [&](const Storage* p) {
        std::int32_t slots[3] = {};
        find_slots(p, slots);
        if (kChannels == 3 && args_.joint) {
          const std::int32_t bins[3] = {axes_[0].bins, axes_[1 % kChannels].bins, axes_[2 % kChannels].bins};
          add_slot(joint_slot(slots, bins));
          return;
        }
        std::int32_t at = 0;
        IUSCORE_UNROLLED
        for (int c = 0; c < kChannels; ++c) {
          add(own_ + at + slots[c]);
          at += axes_[c].bins + kExtraSlots;
        }
      });
    }
  }

  // Counts 16 interleaved pixels with three loads, if pixels are aligned; returns the number of pixels counted.
  __device__ std::int32_t count_key_blocks() const {
    const bool aligned = reinterpret_cast<std::uintptr_t>(pixels_) % sizeof(Words) == 0;
    if (args_.channels != 3 || args_.image.stride_c != 1 || !dense_rows(3) || !aligned) return 0;
    const auto* words = reinterpret_cast<const Words*>(pixels_);
    const auto blocks = static_cast<std::int32_t>(rows_ * args_.image.width / 16);
    IUSCORE_ROLLED
    for (std::int32_t i = thread(); i < blocks; i += threads()) {
      const Words found[3] = {words[3 * i], words[3 * i + 1], words[3 * i + 2]};
      const auto byte = [&](int k) { return found[k / 16].values[k / 4 % 4] >> (8 * (k % 4)) & 0xffu; };
      IUSCORE_UNROLLED
      for (int k = 0; k < 16; ++k)
        add_slot(slot_of_key(keys_[byte(3 * k)] + keys_[256 + byte(3 * k + 1)] + keys_[512 + byte(3 * k + 2)], size_));
    }
    return 16 * blocks;
  }

  __device__ void find_slots(const Storage* p, std::int32_t (&slots)[3]) const {
    float v[3] = {Pixel::load(p[0]), Pixel::load(p[stride_c_]), Pixel::load(p[2 * stride_c_])};
    bool finite = true;
    if constexpr (!kStored) {
      finite = !Pixel::kCanBeNonFinite || (is_finite(v[0]) && is_finite(v[1]) && is_finite(v[2]));
      for (float& value : v) value = clamped_unit(value);
    }
    if constexpr (kSpace == ColorSpace::gray) {
      if (args_.channels == 3)
        v[0] = Pixel::kCanBeNonFinite ? gray_of(v[0], v[1], v[2]) : rounded_gray(v[0], v[1], v[2]);
    } else if constexpr (kSpace == ColorSpace::lab) {
      const Lab lab = lab_of(v[0], v[1], v[2]);
      v[0] = lab.lightness, v[1] = lab.a, v[2] = lab.b;
    } else if constexpr (kSpace == ColorSpace::hsv) {
      const Hsv hsv = hsv_of(v[0], v[1], v[2]);
      v[0] = hsv.hue, v[1] = hsv.saturation, v[2] = hsv.value;
    }
    IUSCORE_UNROLLED
    for (int c = 0; c < kChannels; ++c) slots[c] = finite ? slot_of(v[c], axes_[c]) : axes_[c].bins + kNotANumber;
  }

  __device__ float gray(const Storage* p) const {
    return rounded_gray(Pixel::load(p[0]), Pixel::load(p[stride_c_]), Pixel::load(p[2 * stride_c_]));
  }

  // Counts a slot of a joint histogram, in shared or in global memory.
  __device__ void add_slot(std::uint32_t slot) const {
    if (layout_.copies > 0) return add(own_ + slot);
    const auto size = static_cast<std::uint32_t>(size_);
    atomicAdd(slot < size ? args_.counts + image_ * size_ + slot
                          : args_.out_of_range + image_ * kOutOfRangeSlots + slot - size,
              1);
  }

  __device__ void write_slots() const {
    if (args_.joint) return write_histogram(0, 0, size_, 0, 1);
    std::int32_t written = 0;
    IUSCORE_UNROLLED
    for (int c = 0; c < kChannels; ++c) {
      write_histogram(written + c * kExtraSlots, written, axes_[c].bins, c, kChannels);
      written += axes_[c].bins;
    }
  }

  // Writes the histogram whose counters begin at `from`. It is number `which` of the image's `all` histograms, and
  // `written` counts of the result precede it.
  __device__ void write_histogram(std::int32_t from, std::int32_t written, std::int32_t bins, std::int32_t which,
                                  std::int32_t all) const {
    IUSCORE_ROLLED
    for (std::int32_t i = thread(); i < bins; i += threads())
      store(args_.counts + image_ * size_ + written + i, total(from + i));
    if (thread() < kOutOfRangeSlots)
      store(args_.out_of_range + (image_ * all + which) * kOutOfRangeSlots + thread(), total(from + bins + thread()));
  }

  // ---- Counters

  __device__ static void add(std::uint32_t* counter) { atomicAdd(counter, 1u); }

  __device__ std::uint32_t total(std::int32_t i) const {
    std::uint32_t sum = 0;
    for (std::int32_t copy = 0; copy < layout_.copies; ++copy) sum += counters_[copy * layout_.histogram_words + i];
    return sum;
  }

  __device__ void store(std::int32_t* to, std::uint32_t count) const {
    if (layout_.bands == 1) {
      *to = static_cast<std::int32_t>(count);
    } else if (count != 0) {
      atomicAdd(to, static_cast<std::int32_t>(count));
    }
  }

  __device__ static std::int32_t thread() { return static_cast<std::int32_t>(threadIdx.x); }
  __device__ static std::int32_t threads() { return static_cast<std::int32_t>(blockDim.x); }

  using Words = Four<std::uint32_t>;

  const ColorHistogramCudaArgs& args_;
  const ColorHistogramLayout& layout_;
  BinAxis axes_[kChannels];  // edges in shared memory
  std::uint32_t* keys_;
  std::uint32_t* counters_;
  std::uint32_t* own_;  // the copy this thread's warp adds to
  std::int64_t stride_c_;
  std::int64_t image_ = 0;
  const Storage* pixels_ = nullptr;  // of the band
  const std::uint8_t* mask_ = nullptr;
  std::int32_t rows_ = 0;
  std::int32_t size_;
  bool raw_;
};

template <class Pixel, ColorSpace kSpace>
__global__ void __launch_bounds__(kMaxHistogramBlock, 2)
    color_histogram_kernel(const __grid_constant__ ColorHistogramCudaArgs args,
                           const __grid_constant__ ColorHistogramLayout layout) {
  ColorHistogramBlock<Pixel, kSpace> block(args, layout);
  for (std::int64_t i = blockIdx.x; i < args.batch * layout.bands; i += gridDim.x) block.task(i);
}

using ColorHistogramKernel = void (*)(ColorHistogramCudaArgs, ColorHistogramLayout);

// rgb and gray start from the stored values, hsv and lab from values on the unit scale.
template <class Raw, class Unit>
ColorHistogramKernel color_histogram_kernel_for(ColorSpace space) {
  if (space == ColorSpace::rgb) return color_histogram_kernel<Raw, ColorSpace::rgb>;
  if (space == ColorSpace::gray) return color_histogram_kernel<Raw, ColorSpace::gray>;
  if (space == ColorSpace::hsv) return color_histogram_kernel<Unit, ColorSpace::hsv>;
  return color_histogram_kernel<Unit, ColorSpace::lab>;
}

inline ColorHistogramKernel color_histogram_kernel_of(const ColorHistogramCudaArgs& args) {
  switch (args.pixel_type) {
    case PixelType::u8:
      return color_histogram_kernel_for<RawU8, UnitU8>(args.space);
    case PixelType::u16:
      return color_histogram_kernel_for<RawU16, UnitU16>(args.space);
    case PixelType::f16:
      return color_histogram_kernel_for<UnitF16, UnitF16>(args.space);
    case PixelType::bf16:
      return color_histogram_kernel_for<UnitBF16, UnitBF16>(args.space);
    case PixelType::f32:
      return color_histogram_kernel_for<UnitF32, UnitF32>(args.space);
  }
  return nullptr;
}

void color_histogram_cuda(const ColorHistogramCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher("color_histogram", args.device);
  const CurrentDevice current = launcher.use_device();
  const ColorHistogramLayout layout = color_histogram_layout(args, launcher.shared_limit(), launcher.multiprocessors());
  if (adds_to_counts(layout)) {
    const auto words = static_cast<std::size_t>(args.batch * histogram_size(args.axes, args.space, args.joint));
    const auto out_of_range = static_cast<std::size_t>(args.batch * (args.joint ? 1 : histogram_channels(args.space)));
    auto* const on = static_cast<cudaStream_t>(stream);
    launcher.check(cudaMemsetAsync(args.counts, 0, words * sizeof(std::int32_t), on), "cannot clear the counts");
    launcher.check(cudaMemsetAsync(args.out_of_range, 0, out_of_range * kOutOfRangeSlots * sizeof(std::int32_t), on),
                   "cannot clear the counts");
  }
  launcher.launch(color_histogram_kernel_of(args), layout.blocks, layout.threads, layout.shared_bytes, stream, args,
                  layout);
}

}  // namespace iuscore
