// From an image to the levels of a strip of its rows in shared memory, and from these to pairs.
#pragma once

#include "core/quantize.h"
#include "cuda/block.cuh"
#include "cuda/glcm_layout.h"

namespace iuscore {

// What GlcmCudaArgs and GlcmFeaturesCudaArgs say of the images, as the kernels take it.
struct GlcmImages {
  ImageView image;
  std::int64_t batch_stride;
  MaskView mask;
  std::int64_t mask_batch_stride;
  std::int64_t batch;
  std::int32_t channels;
  PixelType pixel_type;
  Quantization quantization;
};

template <class Args>
GlcmImages glcm_images(const Args& args) {
  return {args.image, args.batch_stride, args.mask,       args.mask_batch_stride,
          args.batch, args.channels,     args.pixel_type, args.quantization};
}

template <class Pixel>
struct GlcmPixels {
  using Storage = typename Pixel::Storage;

  __device__ GlcmPixels(const GlcmImages& images, std::int64_t index)
      : data(static_cast<const Storage*>(images.image.data) + index * images.batch_stride),
        mask(images.mask.data == nullptr ? nullptr : images.mask.data + index * images.mask_batch_stride),
        view(images.image),
        mask_view(images.mask),
        three(images.channels == 3) {}

  // Whether the pixel is counted, and its value.
  __device__ bool load(std::int32_t row, std::int32_t column, float& value) const {
    const Storage* p = data + row * view.stride_h + column * view.stride_w;
    value =
        three ? RawGray<Pixel>::of(Pixel::load(p[0]), Pixel::load(p[view.stride_c]), Pixel::load(p[2 * view.stride_c]))
              : Pixel::load(p[0]);
    const bool counted = mask == nullptr || mask[row * mask_view.stride_h + column * mask_view.stride_w] != 0;
    return counted && (!Pixel::kCanBeNonFinite || is_finite(value));
  }

  // Of bytes: whether rows can be read sixteen at a time.
  __device__ bool in_sixteens() const {
    return !three && mask == nullptr && view.stride_w == 1 && view.stride_h % 16 == 0 && view.width % 16 == 0 &&
           reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
  }

  const Storage* data;
  const std::uint8_t* mask;
  const ImageView& view;
  const MaskView& mask_view;
  bool three;
};

// Code: std::uint8_t for few levels, else std::uint16_t. The highest bit says `not counted`.
template <class Code>
class GlcmCodes {
 public:
  static constexpr std::int32_t kBits = 8 * sizeof(Code);
  static constexpr std::int32_t kPerWord = 32 / kBits;
  static constexpr std::uint32_t kMask = (1u << kBits) - 1;
  static constexpr std::uint32_t kNotCounted = kBits == 8 ? 0x80808080u : 0x80008000u;

  __device__ GlcmCodes(const GlcmImages& images, const GlcmLayout& layout)
      : images_(images),
        layout_(layout),
        scratch_(dynamic_shared()),
        largest_(reinterpret_cast<std::uint32_t*>(scratch_ + 2 * kWarpSize)),
        quantizer_(reinterpret_cast<Quantizer*>(scratch_ + 2 * kWarpSize + 4)),
        firsts_(scratch_ + kGlcmFirstsAt / 4),
        words_(reinterpret_cast<std::uint32_t*>(dynamic_shared()) + layout.codes_at / 4),
        height_(static_cast<std::int32_t>(images.image.height)),
        width_(static_cast<std::int32_t>(images.image.width)),
        groups_((width_ + kPerWord - 1) / kPerWord) {}

  // Before the first begin(): columns outside of any image are never counted.
  __device__ void clear() {
    for (std::int32_t i = first(); i < layout_.code_words; i += step()) words_[i] = kNotCounted;
  }

  // Another image: finds out how it is quantised. No thread may still be in count().
  __device__ void begin(std::int64_t index) {
    index_ = index;
    loaded_ = false;
    if (threadIdx.x == 0) *largest_ = 0;
    Range counted = empty_range();
    if (needs_range(images_.quantization)) {
      with_pixels([&](const auto& pixels) { find_range(pixels, counted); });
      widen_over_block<1>(&counted, scratch_);
    }
    const Quantizer by = quantizer_of(images_.quantization, counted);
    if (threadIdx.x == 0) *quantizer_ = by;
    IUSCORE_ROLLED
    for (std::int32_t level = 1 + first(); level < images_.quantization.levels; level += step())
      firsts_[level] = first_of_level(level, by);
    __syncthreads();
  }

  // Calls add.pair(add.offset(k), add.upper(i), j) for all pairs of offset `offset + k`, k < count: i is the level of
  // the upper pixel, which is the first one unless the step is transposed, and j that of the other. What the threads
  // wrote before is visible to all in `add`; ends without a barrier.
  template <class Add>
  __device__ void count(std::int32_t offset, std::int32_t count, Add& add) {
    if (layout_.strip_rows == 0) {
      __syncthreads();
      return pairs_of_image(offset, count, add);
    }
    const bool whole = layout_.strip_rows >= height_;
    IUSCORE_ROLLED
    for (std::int32_t row = 0; row < height_; row += layout_.strip_rows) {
      if (row > 0) __syncthreads();  // other threads may still be in the strip before
      if (!whole || !loaded_) load(row);
      __syncthreads();
      pairs(row, offset, count, add);
    }
    loaded_ = true;
  }

  // The largest level of the image's counted pixels, once a barrier has followed count().
  __device__ std::uint32_t largest() const { return *largest_; }

  __device__ static std::int32_t first() { return static_cast<std::int32_t>(threadIdx.x); }
  __device__ static std::int32_t step() { return static_cast<std::int32_t>(blockDim.x); }

 private:
  // Levels of the strip that begins at `row`, and of the rows below that its pairs reach.
  __device__ void load(std::int32_t row) {
    std::int32_t rows = layout_.strip_rows + layout_.halo;
    if (rows > height_ - row) rows = height_ - row;
    std::uint32_t largest = 0;
    with_pixels([&](const auto& pixels) { largest = fill(pixels, row, rows); });
    largest = __reduce_max_sync(kAllLanes, largest);
    if (threadIdx.x % kWarpSize == 0 && largest > 0) atomicMax(largest_, largest);
  }

  // The pairs whose upper pixel is in the strip.
  template <class Add>
  __device__ void pairs(std::int32_t row, std::int32_t offset, std::int32_t count, Add& add) const {
    const std::int32_t rows = layout_.strip_rows < height_ - row ? layout_.strip_rows : height_ - row;
    IUSCORE_ROLLED
    for (std::int32_t item = first(); item < rows * groups_; item += step()) {
      const std::int32_t r = item / groups_;
      const std::uint32_t* here = words() + r * layout_.pitch + (item - r * groups_);
      const std::uint32_t one = *here;
      if ((one & kNotCounted) == kNotCounted) continue;
      std::uint32_t upper[kPerWord];
      for (std::int32_t i = 0; i < kPerWord; ++i) upper[i] = add.upper(code(one, i));
      const std::int32_t above = height_ - row - r;
      IUSCORE_ROLLED
      for (std::int32_t k = 0; k < count; ++k) {
        const GlcmStep& to = layout_.steps[offset + k];
        if (to.rows >= above) continue;
        const std::uint32_t* there = here + to.delta;
        const std::uint32_t two = __funnelshift_r(there[0], there[1], static_cast<std::uint32_t>(to.bits));
        const std::uint32_t missing = (one | two) & kNotCounted;
        const auto counters = add.offset(k);
        if (missing == 0) {
          for (std::int32_t i = 0; i < kPerWord; ++i) add.pair(counters, upper[i], code(two, i));
        } else {
          for (std::int32_t i = 0; i < kPerWord; ++i)
            if (code(missing, i) == 0) add.pair(counters, upper[i], code(two, i));
        }
      }
    }
  }

  // All pairs where no strip fits into shared memory: both pixels are read from the image.
  template <class Add>
  __device__ void pairs_of_image(std::int32_t offset, std::int32_t count, Add& add) {
    std::uint32_t largest = 0;
    with_pixels([&](const auto& pixels) {
      const std::int64_t all = std::int64_t{height_} * width_;
      IUSCORE_ROLLED
      for (std::int64_t item = first(); item < all; item += step()) {
        const auto row = static_cast<std::int32_t>(item / width_);
        const auto column = static_cast<std::int32_t>(item - std::int64_t{row} * width_);
        float value;
        if (!pixels.load(row, column, value)) continue;
        const auto one = static_cast<std::uint32_t>(level_of(value, *quantizer_, firsts_));
        if (one > largest) largest = one;
        IUSCORE_ROLLED
        for (std::int32_t k = 0; k < count; ++k) {
          const GlcmStep& to = layout_.steps[offset + k];
          const std::int32_t beside = column + to.columns;
          if (row + to.rows >= height_ || beside < 0 || beside >= width_) continue;
          if (pixels.load(row + to.rows, beside, value))
            add.pair(add.offset(k), add.upper(one), static_cast<std::uint32_t>(level_of(value, *quantizer_, firsts_)));
        }
      }
    });
    if (largest > 0) atomicMax(largest_, largest);
  }

  __device__ static std::uint32_t code(std::uint32_t word, std::int32_t i) {
    if constexpr (kBits == 8) return __byte_perm(word, 0, static_cast<std::uint32_t>(0x4440 + i));
    return word >> (i * kBits) & kMask;
  }

  // A switch here and not a template of the kernels: reading pixels is a small part of their work.
  template <class Use>
  __device__ void with_pixels(Use use) const {
    switch (images_.pixel_type) {
      case PixelType::u8:
        return use(GlcmPixels<RawU8>(images_, index_));
      case PixelType::u16:
        return use(GlcmPixels<RawU16>(images_, index_));
      case PixelType::f16:
        return use(GlcmPixels<RawF16>(images_, index_));
      case PixelType::bf16:
        return use(GlcmPixels<RawBF16>(images_, index_));
      case PixelType::f32:
        return use(GlcmPixels<RawF32>(images_, index_));
    }
  }

  template <class Pixels>
  __device__ void find_range(const Pixels& pixels, Range& counted) const {
    const std::int64_t all = std::int64_t{height_} * width_;
    IUSCORE_ROLLED
    for (std::int64_t item = first(); item < all; item += step()) {
      const auto row = static_cast<std::int32_t>(item / width_);
      float value;
      if (pixels.load(row, static_cast<std::int32_t>(item - std::int64_t{row} * width_), value)) widen(counted, value);
    }
  }

  template <class Pixels>
  __device__ std::uint32_t fill(const Pixels& pixels, std::int32_t row, std::int32_t rows) {
    std::uint32_t largest = 0;
    if constexpr (sizeof(typename Pixels::Storage) == 1) {
      if (pixels.in_sixteens()) return fill_from_sixteens(pixels, row, rows);
    }
    IUSCORE_ROLLED
    for (std::int32_t item = first(); item < rows * groups_; item += step()) {
      const std::int32_t r = item / groups_;
      const std::int32_t column = (item - r * groups_) * kPerWord;
      std::uint32_t word = kNotCounted;
      for (std::int32_t i = 0; i < kPerWord; ++i) {
        float value;
        if (column + i < width_ && pixels.load(row + r, column + i, value)) put(word, i, value, largest);
      }
      words()[r * layout_.pitch + item - r * groups_] = word;
    }
    return largest;
  }

  template <class Pixels>
  __device__ std::uint32_t fill_from_sixteens(const Pixels& pixels, std::int32_t row, std::int32_t rows) {
    std::uint32_t largest = 0;
    const std::int32_t loads = width_ / 16;
    IUSCORE_ROLLED
    for (std::int32_t item = first(); item < rows * loads; item += step()) {
      const std::int32_t r = item / loads;
      const std::int32_t at = item - r * loads;
      const auto* p = pixels.data + (row + r) * pixels.view.stride_h + at * 16;
      const Four<std::uint32_t> bytes = *reinterpret_cast<const Four<std::uint32_t>*>(p);
      std::uint32_t* out = words() + r * layout_.pitch + at * (16 / kPerWord);
      for (std::int32_t i = 0; i < 16; i += kPerWord) {
        std::uint32_t word = kNotCounted;
        for (std::int32_t j = i; j < i + kPerWord; ++j)
          put(word, j - i, static_cast<float>(bytes.values[j / 4] >> (8 * (j % 4)) & 255u), largest);
        out[i / kPerWord] = word;
      }
    }
    return largest;
  }

  __device__ void put(std::uint32_t& word, std::int32_t i, float value, std::uint32_t& largest) const {
    const auto level = static_cast<std::uint32_t>(level_of(value, *quantizer_, firsts_));
    if (level > largest) largest = level;
    word = (word & ~(kMask << (i * kBits))) | (level << (i * kBits));
  }

  __device__ std::uint32_t* words() const { return words_ + layout_.front; }

  const GlcmImages& images_;
  const GlcmLayout& layout_;
  float* scratch_;          // widen_over_block
  std::uint32_t* largest_;  // level so far
  Quantizer* quantizer_;
  float* firsts_;  // first_of_level
  std::uint32_t* words_;
  std::int32_t height_;
  std::int32_t width_;
  std::int32_t groups_;  // words of a row that hold pixels
  std::int64_t index_ = 0;
  bool loaded_ = false;  // the whole image's levels
};

}  // namespace iuscore
