// Texture statistics. A block computes one image at a time: strips of rows become codes and counts in shared memory,
// which are then reduced to the results. All counts and sums are integers, so the bits are equal to the CPU's.
#include <cstdint>

#include "core/haralick_values.h"
#include "core/pixel.h"
#include "core/texture.h"
#include "cuda/block.cuh"
#include "cuda/launch.h"
#include "ops/texture_stats.h"

namespace iuscore {

// ---- What is in shared memory. The tests call these functions too.

constexpr std::int32_t kGridCells = kGrid * kGrid;

// Byte offsets in shared memory. A strip of rows of codes moves down the image; `halo` rows above it are kept for pairs
// and for the Sobel kernel.
struct TextureStatsLayout {
  std::int64_t weights;     // uint64 [levels]
  std::int64_t totals;      // BlockSum [64]
  std::int64_t histograms;  // uint32 [planes, 256]
  std::int64_t cells;       // uint32 [64, 2]: sums and counts of the strip
  std::int64_t linear;      // float [256], for uint8
  std::int64_t matrices;    // uint32 [offsets, levels, levels + 1]; -1: in the workspace
  std::int64_t codes;       // uint8 [ring, width]
  std::int64_t valid;       // uint8 [ring, width]; -1: every pixel counts
  std::int64_t shared_bytes;
  std::int64_t workspace_bytes;  // of one block
  std::int32_t ring;             // rows kept: of the strip and of the halo
  std::int32_t halo;
  std::int32_t blocks;
  std::int32_t threads;
};

IUSCORE_HD std::int64_t texture_matrix_cells(const TextureStatsCudaArgs& args) {
  return std::int64_t{args.n_offsets} * args.levels * (args.levels + 1);
}

// most_shared: largest shared memory of a block, in bytes. ring == 0 if not even one row fits.
inline TextureStatsLayout texture_stats_layout(const TextureStatsCudaArgs& args, std::int64_t most_shared,
                                               std::int32_t multiprocessors) {
  TextureStatsLayout layout{};
  std::int64_t at = 0;
  const auto take = [&](std::int64_t bytes) {
    const std::int64_t start = at;
    at += (bytes + 15) / 16 * 16;
    return start;
  };
  layout.halo = 2;
  for (std::int32_t o = 0; o < args.n_offsets; ++o) {
    const std::int32_t rows = args.offsets[o].rows < 0 ? -args.offsets[o].rows : args.offsets[o].rows;
    if (rows > layout.halo) layout.halo = rows;
  }
  const std::int32_t height = static_cast<std::int32_t>(args.image.height);
  if (layout.halo > height) layout.halo = height;
  layout.weights = take(8 * std::int64_t{args.levels});
  layout.totals = take(kGridCells * static_cast<std::int64_t>(sizeof(BlockSum)));
  layout.histograms = take(std::int64_t{args.color ? kColorPlanes : kGrayPlanes} * kCodes * 4);
  layout.cells = take(kGridCells * 2 * 4);
  layout.linear = take(kCodes * 4);
  const bool all_valid =
      args.mask.data == nullptr && (args.pixel_type == PixelType::u8 || args.pixel_type == PixelType::u16);
  const std::int64_t row_bytes = args.image.width * (all_valid ? 1 : 2);
  const std::int64_t matrix_bytes = texture_matrix_cells(args) * 4;
  // Matrices are in shared memory if a strip of a few rows fits beside them.
  const std::int64_t least = row_bytes * (layout.halo + 1) + 32;
  const bool in_shared = at + matrix_bytes + 16 + least <= most_shared;
  layout.matrices = in_shared ? take(matrix_bytes) : -1;
  layout.workspace_bytes = in_shared ? 0 : matrix_bytes;
  const std::int64_t room = most_shared - at - 32;
  std::int64_t rows = layout.halo + 16;  // strips of 16 rows: several blocks fit a multiprocessor
  if (rows > height) rows = height;
  if (rows * row_bytes > room) rows = room / row_bytes;
  layout.ring = rows > layout.halo || rows >= height ? static_cast<std::int32_t>(rows) : 0;
  layout.codes = take(rows * args.image.width);
  layout.valid = all_valid ? -1 : take(rows * args.image.width);
  layout.shared_bytes = at;
  layout.threads = args.threads > 0 ? args.threads : kMaxTextureBlock;
  const std::int64_t most_blocks = std::int64_t{multiprocessors} * (in_shared ? 16 : 4);
  layout.blocks = static_cast<std::int32_t>(args.batch < most_blocks ? args.batch : most_blocks);
  return layout;
}

// ---- From the counts of an image to its results, one warp for each plane and each offset. Not inlined, because their
// registers would be missing where pixels are counted.

template <class... Values>
__device__ void add_over_warp(Values&... values) {
  ((values = sum_over_warp(values)), ...);
}

// fine: shared, uint32 [256]. histogram: [bins]; statistics: [8]; counted: one.
__device__ IUSCORE_NOINLINE void finish_plane(const std::uint32_t* fine, std::int32_t lane, std::int32_t bins,
                                              std::int32_t* histogram, float* statistics, std::int32_t* counted) {
  constexpr int kOwn = kCodes / kWarpSize;  // consecutive codes of a lane
  for (int bin = lane; bin < bins; bin += kWarpSize) {
    std::int32_t pixels = 0;
    for (int code = bin * (kCodes / bins); code < (bin + 1) * (kCodes / bins); ++code)
      pixels += static_cast<std::int32_t>(fine[code]);
    histogram[bin] = pixels;
  }
  CodeSums sums{};
  std::int64_t own = 0;
  std::int64_t sum = 0;
  for (int code = lane * kOwn; code < (lane + 1) * kOwn; ++code) {
    own += fine[code];
    sum += std::int64_t{fine[code]} * code;
  }
  sums.count = sum_over_warp(own);
  sum = sum_over_warp(sum);
  if (lane == 0) *counted = static_cast<std::int32_t>(sums.count);
  if (sums.count == 0) {
    if (lane < kStatistics) statistics[lane] = 0.0f;
    return;
  }
  sums.center = center_code(sums.count, sum);
  std::int64_t cumulative = own;
  for (int offset = 1; offset < kWarpSize; offset *= 2) {
    const std::int64_t before = __shfl_up_sync(kAllLanes, cumulative, static_cast<unsigned>(offset));
    if (lane >= offset) cumulative += before;
  }
  cumulative -= own;  // now of the lanes before this one
  const std::int32_t shift = entropy_shift(static_cast<std::uint64_t>(sums.count));
  std::uint64_t terms = 0;
  std::int64_t ranks[kPercentiles] = {};
  for (int code = lane * kOwn; code < (lane + 1) * kOwn; ++code) {
    std::int64_t term = fine[code];
    for (std::int64_t& power : sums.powers) power += term *= code - sums.center;
    terms += entropy_term(fine[code], shift);
    cumulative += fine[code];
    for (int q = 0; q < kPercentiles; ++q) ranks[q] += reaches(cumulative, sums.count, q) ? 0 : 1;
  }
  add_over_warp(sums.powers[0], sums.powers[1], sums.powers[2], sums.powers[3], ranks[0], ranks[1], ranks[2], terms);
  if (lane == 0) plane_statistics(sums, terms, shift, ranks, statistics);
}

// matrix: shared or global, uint32 [levels, levels + 1], ordered pairs; properties are those of the symmetric matrix.
// weights: glcm_weight(kHomogeneity, k). properties: [10].
__device__ IUSCORE_NOINLINE void finish_offset(const std::uint32_t* matrix, const std::uint64_t* weights,
                                               GlcmContext context, std::int32_t lane, float* properties) {
  const std::int32_t levels = context.levels;
  GlcmSums sums{};
  IUSCORE_ROLLED
  for (std::int32_t cell = lane; cell < levels * levels; cell += kWarpSize) {
    const std::int32_t i = cell / levels;
    const std::int32_t j = cell % levels;
    if (i > j) continue;
    std::uint32_t pairs = matrix[i * (levels + 1) + j];
    if (i < j) pairs += matrix[j * (levels + 1) + i];
    if (pairs == 0) continue;
    add_row(sums, i, pairs);
    add_column(sums, j, pairs);
    const auto gap = static_cast<std::uint64_t>(j - i);
    sums.difference += gap * pairs;
    sums.contrast += gap * gap * pairs;
    sums.weighted[kHomogeneity] += pairs * weights[j - i];
    const std::uint64_t square = std::uint64_t{pairs} * pairs;
    sums.joint_square += i == j ? 4 * square : 2 * square;
    sums.joint_entropy += entropy_term(pairs, context.entropy_shift);
    if (i == j) sums.joint_entropy += std::uint64_t{pairs} << context.entropy_shift;
  }
  add_over_warp(sums.pairs, sums.row, sums.row_square, sums.column, sums.column_square, sums.difference, sums.contrast,
                sums.weighted[kHomogeneity], sums.joint_square, sums.joint_entropy);
  if (lane < kTextureProperties)
    properties[lane] = static_cast<float>(glcm_feature(texture_property(lane), sums, context));
}

// ---- The kernel. Each strip has `ring - halo` new rows of codes; the `halo` rows above it stay for pairs and for the
// Sobel kernel.

template <class Pixel, bool kColor>
class TextureStatsBlock {
  using Storage = typename Pixel::Storage;

 public:
  __device__ TextureStatsBlock(const TextureStatsCudaArgs& args, const TextureStatsLayout& layout)
      : args_(args),
        layout_(layout),
        height_(static_cast<std::int32_t>(args.image.height)),
        width_(static_cast<std::int32_t>(args.image.width)),
        thread_(static_cast<std::int32_t>(threadIdx.x)),
        threads_(static_cast<std::int32_t>(blockDim.x)) {
    for (std::int32_t k = thread_; k < args.levels; k += threads_)
      weights()[k] = glcm_weight(kHomogeneity, k, context());
    if constexpr (sizeof(Storage) == 1) {
      for (std::int32_t v = thread_; v < kCodes; v += threads_)
        linear()[v] = srgb_to_linear(Pixel::load(static_cast<Storage>(v)));
    }
  }

  __device__ void image(std::int64_t index) {
    clear();
    __syncthreads();
    const std::int32_t strip = layout_.ring - layout_.halo > 0 ? layout_.ring - layout_.halo : height_;
    for (std::int32_t from = 0; from < height_; from += strip) {
      const std::int32_t to = from + strip < height_ ? from + strip : height_;
      load(index, from, to);
      __syncthreads();
      count_pairs(from, to);
      // The Sobel kernel of a row needs the row below: so the last row of a strip waits for the next strip, except at
      // the end of the image.
      count_edges(from > 0 ? from - 1 : 0, to < height_ ? to - 1 : height_);
      sum_cells(from, to);
      __syncthreads();
      add_cells();  // one thread for each cell; there is a barrier before the next strip adds to them
    }
    finish(index);
    __syncthreads();
  }

 private:
  static constexpr int kPlanes = kColor ? kColorPlanes : kGrayPlanes;

  // Addresses are computed where they are used: in registers they would cost more than they save, and through a pointer
  // that may be shared or global the atomics would be slower.
  template <class T>
  __device__ static T* shared(std::int64_t offset) {
    return reinterpret_cast<T*>(reinterpret_cast<std::uint8_t*>(dynamic_shared()) + offset);
  }
  __device__ std::uint64_t* weights() const { return shared<std::uint64_t>(layout_.weights); }
  __device__ BlockSum* totals() const { return shared<BlockSum>(layout_.totals); }
  __device__ std::uint32_t* histograms() const { return shared<std::uint32_t>(layout_.histograms); }
  __device__ std::uint32_t* cells() const { return shared<std::uint32_t>(layout_.cells); }
  __device__ float* linear() const { return shared<float>(layout_.linear); }
  __device__ std::uint8_t* codes() const { return shared<std::uint8_t>(layout_.codes); }
  __device__ std::uint8_t* valid() const { return shared<std::uint8_t>(layout_.valid); }
  __device__ bool all_valid() const { return layout_.valid < 0; }
  __device__ bool matrices_in_shared() const { return layout_.matrices >= 0; }
  __device__ std::uint32_t* shared_matrices() const { return shared<std::uint32_t>(layout_.matrices); }
  __device__ std::uint32_t* global_matrices() const {
    auto* workspace = static_cast<std::uint8_t*>(args_.workspace) + blockIdx.x * layout_.workspace_bytes;
    return reinterpret_cast<std::uint32_t*>(workspace);
  }
  __device__ GlcmContext context() const {
    return glcm_context(args_.levels, true, static_cast<std::uint64_t>(height_) * static_cast<std::uint64_t>(width_));
  }

  __device__ void clear() {
    for (std::int32_t i = thread_; i < kPlanes * kCodes; i += threads_) histograms()[i] = 0;
    if (matrices_in_shared()) {
      for (std::int64_t i = thread_; i < texture_matrix_cells(args_); i += threads_) shared_matrices()[i] = 0;
    } else {
      for (std::int64_t i = thread_; i < texture_matrix_cells(args_); i += threads_) global_matrices()[i] = 0;
    }
    for (std::int32_t i = thread_; i < kGridCells; i += threads_) {
      totals()[i] = {0, 0};
      cells()[2 * i] = cells()[2 * i + 1] = 0;
    }
  }

  // ---- Codes

  __device__ void load(std::int64_t index, std::int32_t from, std::int32_t to) {
    const auto* data = static_cast<const Storage*>(args_.image.data) + index * args_.batch_stride;
    const std::uint8_t* mask = args_.mask.data == nullptr ? nullptr : args_.mask.data + index * args_.mask_batch_stride;
    const bool interleaved =
        args_.image.stride_w == args_.channels && (args_.channels == 1 || args_.image.stride_c == 1);
    const bool in_fours = sizeof(Storage) == 1 && all_valid() && interleaved && width_ % 4 == 0 &&
                          args_.image.stride_h % 4 == 0 && reinterpret_cast<std::uintptr_t>(data) % 4 == 0;
    if constexpr (sizeof(Storage) == 1) {
      if (in_fours) return load_fours(data, from, to);
    }
    const std::int32_t pixels = (to - from) * width_;
    IUSCORE_ROLLED
    for (std::int32_t i = thread_; i < pixels; i += threads_) {
      const std::int32_t y = from + i / width_;
      const std::int32_t x = i % width_;
      const auto* p = data + y * args_.image.stride_h + x * args_.image.stride_w;
      Storage rgb[3] = {p[0], p[0], p[0]};
      if (args_.channels == 3) {
        rgb[1] = p[args_.image.stride_c];
        rgb[2] = p[2 * args_.image.stride_c];
      }
      bool usable = mask == nullptr || mask[y * args_.mask.stride_h + x * args_.mask.stride_w] != 0;
      if constexpr (Pixel::kCanBeNonFinite) {
        for (const Storage value : rgb) usable = usable && is_finite(Pixel::load(value));
      }
      if (!all_valid()) valid()[at(y) + x] = usable ? 1 : 0;
      if (usable) codes()[at(y) + x] = code(rgb);
    }
  }

  // The same for interleaved bytes, four pixels at a time.
  __device__ void load_fours(const Storage* data, std::int32_t from, std::int32_t to) {
    const std::int32_t row = width_ / 4;
    const std::int32_t groups = (to - from) * row;
    IUSCORE_ROLLED
    for (std::int32_t i = thread_; i < groups; i += threads_) {
      const std::int32_t y = from + i / row;
      const std::int32_t x = 4 * (i % row);
      const auto* p = reinterpret_cast<const std::uint32_t*>(data + y * args_.image.stride_h + x * args_.channels);
      std::uint32_t words[3] = {p[0], 0, 0};
      if (args_.channels == 3) {
        words[1] = p[1];
        words[2] = p[2];
      }
      const int bits = 8 * args_.channels;
      IUSCORE_ROLLED  // shifted instead of indexed: an index would put the words into local memory
          for (int k = 0; k < 4; ++k) {
        const bool gray = args_.channels == 1;
        const Storage rgb[3] = {static_cast<Storage>(words[0] & 0xffu),
                                static_cast<Storage>(words[0] >> (gray ? 0 : 8) & 0xffu),
                                static_cast<Storage>(words[0] >> (gray ? 0 : 16) & 0xffu)};
        codes()[at(y) + x + k] = code(rgb);
        words[0] = words[0] >> bits | words[1] << (32 - bits);
        words[1] = words[1] >> bits | words[2] << (32 - bits);
        words[2] = words[2] >> bits;
      }
    }
  }

  // Counts a pixel in all planes but coarse-fine; returns its lightness code.
  __device__ std::uint8_t code(const Storage* rgb) {
    float unit[3];
    for (int c = 0; c < 3; ++c) {
      unit[c] = Pixel::load(rgb[c]);
      if constexpr (Pixel::kCanBeNonFinite) unit[c] = unit_clamped(unit[c]);
    }
    if constexpr (!kColor) {
      const std::uint8_t lightness = gray_code(unit[0], unit[1], unit[2]);
      count(0, lightness);
      return lightness;
    } else {
      float values[3];
      for (int c = 0; c < 3; ++c) {
        if constexpr (sizeof(Storage) == 1)
          values[c] = linear()[rgb[c]];
        else
          values[c] = srgb_to_linear(unit[c]);
      }
      const Lab lab = lab_of_linear(values[0], values[1], values[2]);
      HsvCodes hsv;
      if constexpr (Pixel::kCanBeNonFinite)
        hsv = hsv_codes(unit[0], unit[1], unit[2]);
      else
        hsv = hsv_codes_of_integers<sizeof(Storage) == 1 ? 255 : 65535>(
            static_cast<float>(rgb[0]), static_cast<float>(rgb[1]), static_cast<float>(rgb[2]));
      const std::uint8_t lightness = lightness_code(lab);
      count(0, lightness);
      count(1, red_green_code(lab.a));
      count(2, blue_yellow_code(lab.b));
      count(3, hsv.saturation);
      if (hsv.has_hue) count(4, hsv.hue);
      return lightness;
    }
  }

  __device__ void count(int plane, std::uint8_t code) { atomicAdd(&histograms()[plane * kCodes + code], 1u); }

  // Index of a row's first code in the ring.
  __device__ std::int32_t at(std::int32_t y) const { return y % layout_.ring * width_; }

  __device__ bool is_valid(std::int32_t place) const { return all_valid() || valid()[place] != 0; }

  // Counts the pairs whose second pixel is in the strip.
  __device__ void count_pairs(std::int32_t from, std::int32_t to) {
    const std::int32_t pixels = (to - from) * width_;
    const std::int32_t pitch = args_.levels + 1;
    IUSCORE_ROLLED
    for (std::int32_t i = thread_; i < pixels; i += threads_) {
      const std::int32_t y = from + i / width_;
      const std::int32_t x = i % width_;
      if (!is_valid(at(y) + x)) continue;
      const std::int32_t second = level_of_code(codes()[at(y) + x], args_.levels);
      IUSCORE_ROLLED
      for (std::int32_t o = 0; o < args_.n_offsets; ++o) {
        const std::int32_t first_y = y - args_.offsets[o].rows;
        const std::int32_t first_x = x - args_.offsets[o].columns;
        if (first_y < 0 || first_x < 0 || first_x >= width_) continue;
        const std::int32_t place = at(first_y) + first_x;
        if (!is_valid(place)) continue;
        const std::int32_t first = level_of_code(codes()[place], args_.levels);
        const std::int32_t cell = (o * args_.levels + first) * pitch + second;
        if (matrices_in_shared())
          atomicAdd(shared_matrices() + cell, 1u);
        else
          atomicAdd(global_matrices() + cell, 1u);
      }
    }
  }

  // Counts the Sobel magnitudes of rows from .. to - 1. Their neighbors in the image are in the ring.
  __device__ void count_edges(std::int32_t from, std::int32_t to) {
    const std::int32_t pixels = (to - from) * width_;
    IUSCORE_ROLLED
    for (std::int32_t i = thread_; i < pixels; i += threads_) {
      const std::int32_t y = from + i / width_;
      const std::int32_t x = i % width_;
      const std::int32_t rows[3] = {at(y > 0 ? y - 1 : 0), at(y), at(y + 1 < height_ ? y + 1 : y)};
      const std::int32_t columns[3] = {x > 0 ? x - 1 : 0, x, x + 1 < width_ ? x + 1 : x};
      std::int32_t code[3][3];
      bool all = true;
      for (int r = 0; r < 3; ++r) {
        for (int c = 0; c < 3; ++c) {
          all = all && is_valid(rows[r] + columns[c]);
          code[r][c] = codes()[rows[r] + columns[c]];
        }
      }
      if (!all) continue;
      const std::int32_t gx = code[0][2] + 2 * code[1][2] + code[2][2] - code[0][0] - 2 * code[1][0] - code[2][0];
      const std::int32_t gy = code[2][0] + 2 * code[2][1] + code[2][2] - code[0][0] - 2 * code[0][1] - code[0][2];
      count(kPlanes - 1, coarse_fine_code(gx, gy));
    }
  }

  // ---- Grid

  __device__ void sum_cells(std::int32_t from, std::int32_t to) {
    for (std::int32_t item = thread_; item < (to - from) * kGrid; item += threads_) {
      const std::int32_t y = from + item / kGrid;
      const int j = item % kGrid;
      const auto left = static_cast<std::int32_t>(block_start(width_, j));
      const auto right = static_cast<std::int32_t>(block_start(width_, j + 1));
      int i = static_cast<int>(std::int64_t{y} * kGrid / height_);
      while (block_start(height_, i + 1) <= y) ++i;
      std::uint32_t sum = 0;
      std::uint32_t counted = 0;
      for (std::int32_t x = left; x < right; ++x) {
        if (!is_valid(at(y) + x)) continue;
        sum += codes()[at(y) + x];
        ++counted;
      }
      atomicAdd(&cells()[2 * (i * kGrid + j)], sum);
      atomicAdd(&cells()[2 * (i * kGrid + j) + 1], counted);
    }
  }

  __device__ void add_cells() {
    for (std::int32_t i = thread_; i < kGridCells; i += threads_) {
      totals()[i].sum += cells()[2 * i];
      totals()[i].count += cells()[2 * i + 1];
      cells()[2 * i] = cells()[2 * i + 1] = 0;
    }
  }

  // ---- Results

  __device__ void finish(std::int64_t index) {
    const std::int32_t warp = thread_ / kWarpSize;
    const std::int32_t warps = threads_ / kWarpSize;
    const std::int32_t lane = thread_ % kWarpSize;
    for (std::int32_t work = warp; work < kPlanes + args_.n_offsets; work += warps) {
      if (work < kPlanes) {
        const std::int64_t place = index * kPlanes + work;
        finish_plane(histograms() + work * kCodes, lane, args_.bins, args_.histograms + place * args_.bins,
                     args_.statistics + place * kStatistics, args_.counted + place);
      } else {
        const std::int64_t offset = work - kPlanes;
        finish_offset(
            (matrices_in_shared() ? shared_matrices() : global_matrices()) + offset * args_.levels * (args_.levels + 1),
            weights(), context(), lane, args_.properties + (index * args_.n_offsets + offset) * kTextureProperties);
      }
    }
    __syncthreads();  // all totals are complete
    for (std::int32_t i = thread_; i < kGridCells; i += threads_) {
      BlockSum cell = totals()[i];
      if (cell.count == 0) {
        for (std::int32_t k = 0; k < kGridCells; ++k) {
          cell.sum += totals()[k].sum;
          cell.count += totals()[k].count;
        }
      }
      args_.blocks[index * kGridCells + i] = block_mean(cell);
    }
  }

  const TextureStatsCudaArgs& args_;
  const TextureStatsLayout& layout_;
  std::int32_t height_;
  std::int32_t width_;
  std::int32_t thread_;
  std::int32_t threads_;
};

template <class Pixel, bool kColor>
__global__ void __launch_bounds__(kMaxTextureBlock, 2)
    texture_stats_kernel(const __grid_constant__ TextureStatsCudaArgs args,
                         const __grid_constant__ TextureStatsLayout layout) {
  TextureStatsBlock<Pixel, kColor> block(args, layout);
  for (std::int64_t i = blockIdx.x; i < args.batch; i += gridDim.x) block.image(i);
}

using TextureStatsKernel = void (*)(const TextureStatsCudaArgs, const TextureStatsLayout);

template <class Pixel>
TextureStatsKernel texture_stats_kernel_of(bool color) {
  return color ? texture_stats_kernel<Pixel, true> : texture_stats_kernel<Pixel, false>;
}

inline TextureStatsKernel texture_stats_kernel_of(const TextureStatsCudaArgs& args) {
  switch (args.pixel_type) {
    case PixelType::u8:
      return texture_stats_kernel_of<UnitU8>(args.color);
    case PixelType::u16:
      return texture_stats_kernel_of<UnitU16>(args.color);
    case PixelType::f16:
      return texture_stats_kernel_of<UnitF16>(args.color);
    case PixelType::bf16:
      return texture_stats_kernel_of<UnitBF16>(args.color);
    default:
      return texture_stats_kernel_of<UnitF32>(args.color);
  }
}

namespace {

TextureStatsLayout layout_on(const Launcher& launcher, const TextureStatsCudaArgs& args) {
  return texture_stats_layout(args, launcher.shared_limit(), launcher.multiprocessors());
}

}  // namespace

std::int64_t texture_stats_cuda_workspace(const TextureStatsCudaArgs& args) {
  const TextureStatsLayout layout = layout_on(Launcher("texture_stats", args.device), args);
  return layout.ring == 0 ? -1 : layout.blocks * layout.workspace_bytes;
}

void texture_stats_cuda(const TextureStatsCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher("texture_stats", args.device);
  const CurrentDevice current = launcher.use_device();
  const TextureStatsLayout layout = layout_on(launcher, args);
  if (layout.ring == 0) throw std::runtime_error("texture_stats: rows and distances too large for shared memory");
  launcher.check_workspace(layout.blocks * layout.workspace_bytes, args.workspace_bytes);
  launcher.launch(texture_stats_kernel_of(args), layout.blocks, layout.threads, layout.shared_bytes, stream, args,
                  layout);
}

}  // namespace iuscore
