// What `glcm` and `glcm_features` share on a GPU: from images to levels, to pairs, to matrices in shared memory.
#pragma once

#include <cstdint>

#include "core/quantize.h"
#include "cuda/block.cuh"
#include "ops/glcm.h"

namespace iuscore {

// ---- How the work is divided: threads, shared memory for levels and for counters, passes over the image
//
// The levels of a strip of rows are in shared memory, in words: four levels of a byte if there are few levels, else two
// of 16 bits. Columns outside the image hold `not counted`, so that columns of a pair need no test. Counters have 32
// bits, so that none overflows:
//   few levels   whole matrices of as many offsets as fit; cell = first level * pitch + second level
//   more levels  one offset at a time: the triangle first >= second of a symmetric matrix, else the square; in bands of
//                rows if the matrix does not fit (256 levels on a GPU with 99 KB for a block)

constexpr std::int32_t kFewLevels = 64;
constexpr std::int32_t kMinGlcmBlock = 128;
constexpr std::int64_t kGlcmFirstsAt = 512;  // after scratch of widen_over_block<1>, largest level and Quantizer
constexpr std::int64_t kGlcmScratchBytes = kGlcmFirstsAt + 4 * kMaxLevels;  // first_of_level
constexpr std::int64_t kWholeImageBytes = 64 * 1024;  // levels of an image that takes less are kept as a whole
constexpr std::int64_t kStripBytes = 40 * 1024;       // other images: strips of about this size
constexpr std::int64_t kMatricesBytes = 72 * 1024;    // of one pass, so that several blocks share a multiprocessor
constexpr std::int64_t kMultiprocessorThreads = 2 * kMaxGlcmBlock;
constexpr std::int32_t kLineSlots = 5;  // times levels: counts of rows, columns, |i - j| and i + j

// An offset with rows >= 0. An offset with negative rows is turned round, and its matrix is transposed. rows >= height
// if there is no pair.
struct GlcmStep {
  std::int32_t rows;
  std::int32_t columns;
  std::int32_t delta;  // from the word of one pixel to the word of the other, in which the other begins at bit `bits`
  std::int32_t bits;
  bool transposed;
};

struct GlcmLayout {
  std::int32_t threads;
  std::int64_t blocks;
  std::int32_t offset_count;
  std::int32_t jobs;          // of an image; a job is the work of one block
  std::int32_t job_offsets;   // consecutive offsets of a job
  std::int32_t pass_offsets;  // offsets of a job that are counted at a time
  std::int32_t bands;         // of a matrix; pass_offsets is 1 where there are several
  std::int32_t strip_rows;    // 0: levels are not kept, but computed for every pair
  std::int32_t halo;          // rows below a strip that its pairs need
  std::int32_t pitch;         // words of a row
  std::int32_t front;         // words before the first row
  std::int32_t code_words;
  std::int32_t matrix_cells;  // of one offset or one band
  std::int64_t lines_at;      // byte offset in shared memory, as the next two
  std::int64_t matrix_at;
  std::int64_t codes_at;
  std::int64_t shared_bytes;
  std::int16_t band_start[kMaxLevels + 1];  // rows of the matrix
  GlcmStep steps[kMaxOffsets];
};

struct GlcmTask {
  std::int64_t height;
  std::int64_t width;
  std::int64_t batch;
  std::int32_t levels;
  const PixelOffset* offsets;
  std::int32_t offset_count;
  bool symmetric;
  bool features;         // histograms of the matrix are needed
  bool joint;            // the matrix itself is needed: always with few levels and for `glcm`
  std::int32_t threads;  // 0: chosen here
};

inline bool has_few_levels(std::int32_t levels) { return levels <= kFewLevels; }
inline bool is_triangle(const GlcmTask& task) { return task.symmetric && !has_few_levels(task.levels); }

// Cells before row `row`.
IUSCORE_HD std::int32_t cells_before(std::int32_t row, std::int32_t levels, bool triangle) {
  return triangle ? row * (row + 1) / 2 : row * (levels + 1);
}

inline std::int64_t round_up_to(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

// Sets steps and halo; returns the largest number of columns of an offset.
inline std::int64_t set_glcm_steps(const GlcmTask& task, GlcmLayout& layout) {
  const std::int32_t per_word = has_few_levels(task.levels) ? 4 : 2;
  std::int64_t padding = 0;
  for (std::int32_t o = 0; o < task.offset_count; ++o) {
    std::int64_t rows = task.offsets[o].rows;
    std::int64_t columns = task.offsets[o].columns;
    GlcmStep& step = layout.steps[o];
    step.transposed = rows < 0;
    if (step.transposed) rows = -rows, columns = -columns;
    const std::int64_t across = columns < 0 ? -columns : columns;
    if (rows >= task.height || across >= task.width) rows = task.height, columns = 0;
    step.rows = static_cast<std::int32_t>(rows);
    step.columns = static_cast<std::int32_t>(columns);
    const std::int32_t in_word = ((step.columns % per_word) + per_word) % per_word;
    step.delta = (step.columns - in_word) / per_word;  // rows * pitch is added once the pitch is known
    step.bits = in_word * (32 / per_word);
    if (rows == task.height) continue;
    if (rows > layout.halo) layout.halo = static_cast<std::int32_t>(rows);
    if (across > padding) padding = across;
  }
  return padding;
}

// Sets the bands: each has as many rows as fit `cells` cells, and at least one.
inline void set_glcm_bands(const GlcmTask& task, std::int64_t cells, GlcmLayout& layout) {
  const bool triangle = is_triangle(task);
  layout.bands = 0;
  layout.matrix_cells = 0;
  for (std::int32_t row = 0; row < task.levels;) {
    layout.band_start[layout.bands++] = static_cast<std::int16_t>(row);
    const std::int32_t first = cells_before(row, task.levels, triangle);
    do {
      ++row;
    } while (row < task.levels && cells_before(row + 1, task.levels, triangle) - first <= cells);
    const std::int32_t size = cells_before(row, task.levels, triangle) - first;
    if (size > layout.matrix_cells) layout.matrix_cells = size;
  }
  layout.band_start[layout.bands] = static_cast<std::int16_t>(task.levels);
}

// shared_limit: largest shared memory of a block, in bytes, at least 32 KB. most_code_bytes: largest levels of an image
// that are kept as a whole; tests pass less, so that small images are cut as large ones are.
inline GlcmLayout glcm_layout(const GlcmTask& task, std::int64_t shared_limit, std::int32_t multiprocessors,
                              std::int64_t most_code_bytes = kWholeImageBytes) {
  const auto smaller = [](std::int64_t x, std::int64_t y) { return x < y ? x : y; };
  const auto larger = [](std::int64_t x, std::int64_t y) { return x > y ? x : y; };
  GlcmLayout layout{};
  const bool few = has_few_levels(task.levels);
  const std::int64_t padding = set_glcm_steps(task, layout);
  layout.offset_count = task.offset_count;
  // With few images their offsets are shared among blocks.
  const std::int64_t wanted_jobs = (2 * std::int64_t{multiprocessors} + task.batch - 1) / task.batch;
  layout.job_offsets = static_cast<std::int32_t>(larger(task.offset_count / larger(wanted_jobs, 1), 1));
  layout.jobs = (task.offset_count + layout.job_offsets - 1) / layout.job_offsets;

  const std::int64_t per_word = few ? 4 : 2;
  const std::int64_t slack = (padding + per_word - 1) / per_word + 4;  // before the first row, and after the last
  const std::int64_t pitch = (task.width + padding + per_word - 1) / per_word;
  const auto code_bytes = [&](std::int64_t rows) { return round_up_to(4 * (2 * slack + rows * pitch), 16); };

  const std::int64_t of_offset = task.features && !few ? 4 * kLineSlots * task.levels : 0;
  const bool matrix = task.joint || few;
  const std::int64_t whole_matrix =
      matrix ? 4 * std::int64_t{cells_before(task.levels, task.levels, is_triangle(task))} : 0;
  const std::int64_t chip = shared_limit - kGlcmScratchBytes - round_up_to(of_offset, 16) - 32;
  const std::int64_t codes_limit = chip - (few ? whole_matrix : smaller(whole_matrix, chip / 2));
  std::int64_t codes = code_bytes(task.height);
  layout.strip_rows = static_cast<std::int32_t>(task.height);
  if (codes > smaller(codes_limit, most_code_bytes)) {
    // Rows that two strips need are read twice: a strip has enough rows that these are at most a quarter.
    const std::int64_t wanted = larger(smaller(kStripBytes, most_code_bytes), code_bytes(4 * (layout.halo + 1)));
    const std::int64_t most = most_code_bytes > 0 ? smaller(codes_limit, wanted) : 0;
    const std::int64_t fitting = (most / 4 - 2 * slack - 4) / pitch;
    layout.strip_rows = static_cast<std::int32_t>(larger(fitting - layout.halo, 0));
    codes = layout.strip_rows > 0 ? code_bytes(layout.strip_rows + layout.halo) : 0;
  }
  if (layout.strip_rows > 0) {
    layout.pitch = static_cast<std::int32_t>(pitch);
    layout.front = static_cast<std::int32_t>(slack);
    layout.code_words = static_cast<std::int32_t>(codes / 4);
    for (std::int32_t o = 0; o < task.offset_count; ++o)
      if (layout.steps[o].rows < task.height) layout.steps[o].delta += layout.steps[o].rows * layout.pitch;
  }

  const std::int64_t left = chip - codes;
  layout.pass_offsets = 1;
  layout.bands = 1;
  if (matrix && whole_matrix > left) {
    set_glcm_bands(task, left / 4, layout);
  } else {
    if (matrix) set_glcm_bands(task, whole_matrix / 4, layout);
    if (few) {
      const std::int64_t most = smaller(left, larger(kMatricesBytes, whole_matrix)) / whole_matrix;
      layout.pass_offsets = static_cast<std::int32_t>(larger(smaller(layout.job_offsets, most), 1));
    }
  }
  layout.lines_at = kGlcmScratchBytes;
  layout.matrix_at = round_up_to(layout.lines_at + of_offset, 16);
  const std::int64_t at =
      round_up_to(layout.matrix_at + 4 * layout.matrix_cells * std::int64_t{layout.pass_offsets}, 16);
  layout.codes_at = at;
  layout.shared_bytes = at + codes;

  const std::int64_t neighbors = larger(shared_limit / layout.shared_bytes, 1);
  const std::int64_t share = kMultiprocessorThreads / neighbors / 32 * 32;
  layout.threads = static_cast<std::int32_t>(larger(smaller(share, kMaxGlcmBlock), kMinGlcmBlock));
  if (task.threads > 0) layout.threads = task.threads;
  layout.blocks = smaller(task.batch * layout.jobs, 0x7fffffff);
  return layout;
}

// ---- From an image to the levels of a strip of its rows, and to pairs

// The images of GlcmCudaArgs or GlcmFeaturesCudaArgs.
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

  // Loads the value of a pixel; returns whether the pixel is counted.
  __device__ bool load(std::int32_t row, std::int32_t column, float& value) const {
    const Storage* p = data + row * view.stride_h + column * view.stride_w;
    value =
        three ? RawGray<Pixel>::of(Pixel::load(p[0]), Pixel::load(p[view.stride_c]), Pixel::load(p[2 * view.stride_c]))
              : Pixel::load(p[0]);
    const bool counted = mask == nullptr || mask[row * mask_view.stride_h + column * mask_view.stride_w] != 0;
    return counted && (!Pixel::kCanBeNonFinite || is_finite(value));
  }

  // Whether bytes can be loaded sixteen at a time.
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

// Code: std::uint8_t for few levels, else std::uint16_t. The highest bit means `not counted`.
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

  // Before the first begin(): marks the columns outside the image as not counted.
  __device__ void clear() {
    for (std::int32_t i = thread(); i < layout_.code_words; i += threads()) words_[i] = kNotCounted;
  }

  // Starts an image: finds how it is quantised. No thread may still be in count().
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
    for (std::int32_t level = 1 + thread(); level < images_.quantization.levels; level += threads())
      firsts_[level] = first_of_level(level, by);
    __syncthreads();
  }

  // Calls add.pair(add.offset(k), add.upper(i), j) for all pairs of offset `offset + k`, k < count. i is the level of
  // the upper pixel, which is the first pixel unless the step is transposed; j is the level of the other. Begins with a
  // barrier and ends without one.
  template <class Add>
  __device__ void count(std::int32_t offset, std::int32_t count, Add& add) {
    if (layout_.strip_rows == 0) {
      __syncthreads();
      return pairs_of_image(offset, count, add);
    }
    const bool whole = layout_.strip_rows >= height_;
    IUSCORE_ROLLED
    for (std::int32_t row = 0; row < height_; row += layout_.strip_rows) {
      if (row > 0) __syncthreads();  // other threads may still read the previous strip
      if (!whole || !loaded_) load(row);
      __syncthreads();
      pairs(row, offset, count, add);
    }
    loaded_ = true;
  }

  // The largest level of the image's counted pixels, once a barrier has followed count().
  __device__ std::uint32_t largest() const { return *largest_; }

  __device__ static std::int32_t thread() { return static_cast<std::int32_t>(threadIdx.x); }
  __device__ static std::int32_t threads() { return static_cast<std::int32_t>(blockDim.x); }

 private:
  // Computes levels of the strip that begins at `row`, and of the rows below that its pairs need.
  __device__ void load(std::int32_t row) {
    std::int32_t rows = layout_.strip_rows + layout_.halo;
    if (rows > height_ - row) rows = height_ - row;
    std::uint32_t largest = 0;
    with_pixels([&](const auto& pixels) { largest = fill(pixels, row, rows); });
    largest = __reduce_max_sync(kAllLanes, largest);
    if (threadIdx.x % kWarpSize == 0 && largest > 0) atomicMax(largest_, largest);
  }

  // Counts the pairs whose upper pixel is in the strip.
  template <class Add>
  __device__ void pairs(std::int32_t row, std::int32_t offset, std::int32_t count, Add& add) const {
    const std::int32_t rows = layout_.strip_rows < height_ - row ? layout_.strip_rows : height_ - row;
    IUSCORE_ROLLED
    for (std::int32_t item = thread(); item < rows * groups_; item += threads()) {
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

  // Counts all pairs if no strip fits shared memory: both pixels are read from the image.
  template <class Add>
  __device__ void pairs_of_image(std::int32_t offset, std::int32_t count, Add& add) {
    std::uint32_t largest = 0;
    with_pixels([&](const auto& pixels) {
      const std::int64_t all = std::int64_t{height_} * width_;
      IUSCORE_ROLLED
      for (std::int64_t item = thread(); item < all; item += threads()) {
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

  // A switch here instead of a template parameter of the kernels: loading pixels is a small part of their work.
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
    for (std::int64_t item = thread(); item < all; item += threads()) {
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
    for (std::int32_t item = thread(); item < rows * groups_; item += threads()) {
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
    for (std::int32_t item = thread(); item < rows * loads; item += threads()) {
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

// ---- Counters of one pass, in shared memory. With few levels: matrices of several offsets, transposed if the step is.
// With more levels: a band of rows of the matrix of one offset; of a symmetric matrix the triangle row >= column.

template <bool kFew>
class GlcmMatrix {
 public:
  __device__ GlcmMatrix(const GlcmLayout& layout, std::int32_t levels, bool symmetric)
      : layout_(layout),
        cells_(reinterpret_cast<std::uint32_t*>(dynamic_shared()) + layout.matrix_at / 4),
        pitch_(static_cast<std::uint32_t>(levels) + 1),
        triangle_(!kFew && symmetric) {}

  // Clears the counters for a new pass. The caller has a barrier before the first pair().
  __device__ void begin(std::int32_t offset, std::int32_t count, std::int32_t band) {
    offset_ = offset;
    first_row_ = static_cast<std::uint32_t>(layout_.band_start[band]);
    end_row_ = static_cast<std::uint32_t>(layout_.band_start[band + 1]);
    before_ = cells_before(first_row_);
    auto* fours = reinterpret_cast<Four<std::uint32_t>*>(cells_);
    const std::int32_t n = (count * layout_.matrix_cells + 3) / 4;
    for (auto i = static_cast<std::int32_t>(threadIdx.x); i < n; i += static_cast<std::int32_t>(blockDim.x))
      fours[i] = {};
  }

  // Counters of the k-th offset of the pass; and the part of a cell's index that does not depend on the offset.
  __device__ std::uint32_t* offset(std::int32_t k) const { return cells_ + (kFew ? k * layout_.matrix_cells : 0); }
  __device__ std::uint32_t upper(std::uint32_t level) const { return kFew ? level * pitch_ : level; }

  // The result of the atomic is not used, so lanes that add to the same cell are merged.
  __device__ void pair(std::uint32_t* counters, std::uint32_t upper, std::uint32_t lower) const {
    if constexpr (kFew) {
      atomicAdd(&counters[upper + lower], 1u);
    } else {
      const bool exchange = triangle_ ? upper < lower : layout_.steps[offset_].transposed;
      const std::uint32_t row = exchange ? lower : upper;
      const std::uint32_t column = exchange ? upper : lower;
      if (row >= first_row_ && row < end_row_) atomicAdd(&counters[cells_before(row) - before_ + column], 1u);
    }
  }

  // Whether the cell is in the pass's band.
  __device__ bool has(std::uint32_t row, std::uint32_t column) const {
    const std::uint32_t at = triangle_ && column > row ? column : row;
    return at >= first_row_ && at < end_row_;
  }

  // The count of a first and a second level, of the k-th offset; in a triangle, of the two levels in any order.
  __device__ std::uint32_t at(std::int32_t k, std::uint32_t first, std::uint32_t second) const {
    if constexpr (kFew) {
      const bool transposed = layout_.steps[offset_ + k].transposed;
      const std::uint32_t row = transposed ? second : first;
      return cells_[static_cast<std::uint32_t>(k * layout_.matrix_cells) + row * pitch_ +
                    (transposed ? first : second)];
    } else {
      const bool exchange = triangle_ && first < second;
      const std::uint32_t row = exchange ? second : first;
      return cells_[cells_before(row) - before_ + (exchange ? first : second)];
    }
  }

  // A cell of c + c^T if `symmetric`, else of c.
  __device__ std::uint32_t joint(std::int32_t k, std::uint32_t first, std::uint32_t second, bool symmetric) const {
    const std::uint32_t count = at(k, first, second);
    if (!symmetric) return count;
    if constexpr (kFew) return count + at(k, second, first);
    return first == second ? 2 * count : count;
  }

  // The cells of the band one after another; the padding between rows of a square is 0.
  __device__ std::uint32_t band_cells() const { return cells_before(end_row_) - before_; }
  __device__ std::uint32_t cell(std::uint32_t i) const { return cells_[i]; }
  __device__ std::uint32_t first_row() const { return first_row_; }
  __device__ std::uint32_t end_row() const { return end_row_; }

 private:
  __device__ std::uint32_t cells_before(std::uint32_t row) const {
    return triangle_ ? row * (row + 1) / 2 : row * pitch_;
  }

  const GlcmLayout& layout_;
  std::uint32_t* cells_;
  std::uint32_t pitch_;  // levels + 1: a column of neighboring rows is then in different banks
  bool triangle_;
  std::int32_t offset_ = 0;
  std::uint32_t first_row_ = 0;
  std::uint32_t end_row_ = 0;
  std::uint32_t before_ = 0;
};

template <bool kFew>
using GlcmCode = std::conditional_t<kFew, std::uint8_t, std::uint16_t>;

}  // namespace iuscore
