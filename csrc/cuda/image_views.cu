// Thumbnails and patch responses: a block works on one image.
#include "core/macros.h"
#include "core/views.h"
#include "cuda/block.cuh"
#include "cuda/launch.h"
#include "ops/image_views.h"

namespace iuscore {

// ---- Shared memory, in floats

constexpr std::int32_t kViewsWide = 32;   // positions of a row, filled up; of the last ones nothing is used
constexpr std::int32_t kViewsAtOnce = 8;  // positions that a thread computes for one filter
constexpr std::int32_t kViewsSmallArea = kPatchSide * kPatchSide;
constexpr std::int32_t kViewsThumbArea = kThumbSide * kThumbSide;
constexpr std::int32_t kViewsPositions = kPatchPositions * kPatchPositions;

struct ViewsLayout {
  std::int32_t mean;         // [27, 27]
  std::int32_t scale;        // [27, 27]
  std::int32_t differences;  // [36 C, 32]
  std::int32_t answers;      // [32, 64]
  std::int32_t quarters;     // [512], by columns of the result
  std::int32_t floats;
};

// The small image, [C, 32, 32], comes first.
IUSCORE_HD ViewsLayout views_layout(std::int32_t channels) {
  ViewsLayout at{};
  at.differences = channels * kViewsSmallArea;  // first, as its rows are read sixteen bytes at a time
  at.answers = at.differences + channels * kPatchArea * kViewsWide;
  at.quarters = at.answers + kViewsWide * kPatchFilters;
  at.mean = at.quarters + kPatchResponses;
  at.scale = at.mean + kViewsPositions;
  at.floats = at.scale + kViewsPositions;
  return at;
}

// ---- The kernel

// Gray level of a pixel, or byte of channel c.
__device__ inline std::uint8_t views_level(const ImageViewsCudaArgs& args, const std::uint8_t* pixel, std::int32_t c) {
  const std::int64_t step = args.image.stride_c;
  if (args.channels == 1) return *pixel;
  return args.color ? pixel[c * step] : luma_of(pixel[0], pixel[step], pixel[2 * step]);
}

// What this lane adds to the sum over window (i, j) of side x side ones: every `lanes`-th of its pixels.
__device__ inline std::int64_t views_window_sum(const ImageViewsCudaArgs& args, const std::uint8_t* image,
                                                std::int32_t c, std::int32_t i, std::int32_t j, std::int32_t side,
                                                std::int32_t lane, std::int32_t lanes) {
  const std::int64_t top = window_begin(i, side, args.image.height);
  const std::int64_t bottom = window_end(i, side, args.image.height);
  const std::int64_t left = window_begin(j, side, args.image.width);
  const std::int64_t right = window_end(j, side, args.image.width);
  std::int64_t sum = 0;
  std::int64_t y = top;
  std::int64_t x = left + lane;
  while (true) {
    while (x >= right && y < bottom) {
      x -= right - left;
      ++y;
    }
    if (y >= bottom) return sum;
    sum += views_level(args, image + y * args.image.stride_h + x * args.image.stride_w, c);
    x += lanes;
  }
}

__device__ inline std::int64_t views_window_area(const ImageViewsCudaArgs& args, std::int32_t i, std::int32_t j,
                                                 std::int32_t side) {
  return (window_end(i, side, args.image.height) - window_begin(i, side, args.image.height)) *
         (window_end(j, side, args.image.width) - window_begin(j, side, args.image.width));
}

// Means of side x side windows of each channel, a warp for each.
__device__ inline void views_average(const ImageViewsCudaArgs& args, const std::uint8_t* image, std::int32_t channels,
                                     std::int32_t side, float* to) {
  const auto lane = static_cast<std::int32_t>(threadIdx.x) % kWarpSize;
  const auto warps = static_cast<std::int32_t>(blockDim.x) / kWarpSize;
  const std::int32_t area = side * side;
  for (std::int32_t k = static_cast<std::int32_t>(threadIdx.x) / kWarpSize; k < channels * area; k += warps) {
    const std::int32_t i = k % area / side;
    const std::int32_t j = k % side;
    const std::int64_t sum = sum_over_warp(views_window_sum(args, image, k / area, i, j, side, lane, kWarpSize));
    if (lane == 0) to[k] = area_mean(sum, views_window_area(args, i, j, side));
  }
}

// Mean and scale of the patch at a position of the small image.
template <int kChannels>
__device__ void views_normalize(const float* small, std::int32_t position, float* mean, float* scale) {
  const std::int32_t first = position / kPatchPositions * kPatchSide + position % kPatchPositions;
  constexpr auto kTerms = static_cast<float>(kChannels * kPatchArea);
  float sum = 0.0f;
  float squares = 0.0f;
  for (int c = 0; c < kChannels; ++c)
    for (int i = 0; i < kPatchWindow; ++i) {
      const float* from = small + first + c * kViewsSmallArea + i * kPatchSide;
      float of_six = from[0];
      for (int j = 1; j < kPatchWindow; ++j) of_six += from[j];
      sum += of_six;
    }
  const float middle = sum / kTerms;
  for (int c = 0; c < kChannels; ++c)
    for (int i = 0; i < kPatchWindow; ++i) {
      const float* from = small + first + c * kViewsSmallArea + i * kPatchSide;
      float of_six = 0.0f;
      for (int j = 0; j < kPatchWindow; ++j) {
        const float difference = from[j] - middle;
        of_six = multiply_add(difference, difference, of_six);
      }
      squares += of_six;
    }
  *mean = middle;
  *scale = patch_scale(squares, kTerms);
}

// Pixels of the patches of row y less their means, a term of all positions side by side.
template <int kChannels>
__device__ void views_differences(const float* small, const float* mean, std::int32_t y, float* to) {
  for (auto k = static_cast<std::int32_t>(threadIdx.x); k < kChannels * kPatchArea * kViewsWide;
       k += static_cast<std::int32_t>(blockDim.x)) {
    const std::int32_t x = k % kViewsWide;
    const std::int32_t term = k / kViewsWide;
    const std::int32_t c = term / kPatchArea;
    const std::int32_t i = term % kPatchArea / kPatchWindow;
    const std::int32_t j = term % kPatchWindow;
    const bool used = x < kPatchPositions;
    to[k] = used ? small[c * kViewsSmallArea + (y + i) * kPatchSide + x + j] - mean[y * kPatchPositions + x] : 0.0f;
  }
}

// What filter f answers to eight positions of row y.
template <int kChannels>
__device__ void views_answers(const PatchFilters& filters, const float* differences, const float* scale, std::int32_t y,
                              float* answers) {
  constexpr std::int32_t kPieces = kViewsWide / kViewsAtOnce * kPatchFilters;
  for (auto k = static_cast<std::int32_t>(threadIdx.x); k < kPieces; k += static_cast<std::int32_t>(blockDim.x)) {
    const std::int32_t f = k % kPatchFilters;
    const std::int32_t x = k / kPatchFilters * kViewsAtOnce;
    float sums[kViewsAtOnce] = {};
    IUSCORE_UNROLLED_BY_2
    for (std::int32_t term = 0; term < kChannels * kPatchArea; ++term) {
      const float weight = filters.weights[term * kPatchFilters + f];
      const auto* from = reinterpret_cast<const Four<float>*>(differences + term * kViewsWide + x);
      const Four<float> left = from[0];
      const Four<float> right = from[1];
      IUSCORE_UNROLLED
      for (int m = 0; m < 4; ++m) {
        sums[m] = multiply_add(left.values[m], weight, sums[m]);
        sums[4 + m] = multiply_add(right.values[m], weight, sums[4 + m]);
      }
    }
    IUSCORE_UNROLLED
    for (int m = 0; m < kViewsAtOnce; ++m) {
      const std::int32_t last = kPatchPositions - 1;
      const float by = scale[y * kPatchPositions + (x + m < last ? x + m : last)];
      answers[(x + m) * kPatchFilters + f] = multiply_add(sums[m], by, filters.bias[f]);
    }
  }
}

// Adds what lies beyond the threshold in row y to the sums of the quarters that the row belongs to.
__device__ inline void views_add_row(const float* answers, std::int32_t y, float* quarters) {
  constexpr std::int32_t kSums = 4 * kPatchFilters;  // filters, signs, halves of the row
  for (auto k = static_cast<std::int32_t>(threadIdx.x); k < kSums; k += static_cast<std::int32_t>(blockDim.x)) {
    const std::int32_t f = k % kPatchFilters;
    const std::int32_t sign = k / kPatchFilters / 2;
    const std::int32_t right = k / kPatchFilters % 2;
    const float* from = answers + right * (kPatchPositions - kPatchHalf) * kPatchFilters + f;
    float sum = 0.0f;
    for (std::int32_t x = 0; x < kPatchHalf; ++x, from += kPatchFilters) sum += sign == 0 ? above(*from) : below(*from);
    if (y < kPatchHalf) quarters[response_column(f, sign, 0, right)] += sum;
    if (y >= kPatchPositions - kPatchHalf) quarters[response_column(f, sign, 1, right)] += sum;
  }
}

template <int kChannels>
__global__ void __launch_bounds__(kMaxViewsBlock) image_views_kernel(ImageViewsCudaArgs args) {
  constexpr std::int32_t kAll = kViewsPositions;
  float* const small = dynamic_shared();
  const ViewsLayout at = views_layout(kChannels);
  float* const mean = small + at.mean;
  float* const scale = small + at.scale;
  float* const quarters = small + at.quarters;
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  const auto threads = static_cast<std::int32_t>(blockDim.x);
  const auto index = static_cast<std::int64_t>(blockIdx.x);
  const auto* image = static_cast<const std::uint8_t*>(args.image.data) + index * args.batch_stride;
  views_average(args, image, kChannels, kThumbSide, args.thumb + index * kChannels * kViewsThumbArea);
  views_average(args, image, kChannels, kPatchSide, small);
  __syncthreads();
  for (std::int32_t k = thread; k < kAll; k += threads) views_normalize<kChannels>(small, k, mean + k, scale + k);
  for (std::int32_t k = thread; k < 4 * kPatchFilters; k += threads) {
    const std::int32_t f = k % kPatchFilters;
    for (std::int32_t bottom = 0; bottom < 2; ++bottom)  // the thread that adds to them
      quarters[response_column(f, k / kPatchFilters / 2, bottom, k / kPatchFilters % 2)] = 0.0f;
  }
  __syncthreads();
  for (std::int32_t y = 0; y < kPatchPositions; ++y) {
    views_differences<kChannels>(small, mean, y, small + at.differences);
    __syncthreads();
    views_answers<kChannels>(args.filters, small + at.differences, scale, y, small + at.answers);
    __syncthreads();
    views_add_row(small + at.answers, y, quarters);
  }
  __syncthreads();
  float* const out = args.patch + index * kPatchResponses;
  for (std::int32_t k = thread; k < kPatchResponses; k += threads) out[k] = patch_response(quarters[k]);
}

using ImageViewsKernel = void (*)(ImageViewsCudaArgs);

inline ImageViewsKernel image_views_kernel_of(const ImageViewsCudaArgs& args) {
  return args.color ? image_views_kernel<3> : image_views_kernel<1>;
}

inline std::int64_t image_views_shared_bytes(const ImageViewsCudaArgs& args) {
  return views_layout(args.color ? 3 : 1).floats * std::int64_t{sizeof(float)};
}

void image_views_cuda(const ImageViewsCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher("image_views", args.device);
  const CurrentDevice current = launcher.use_device();
  launcher.launch(image_views_kernel_of(args), args.batch, args.threads > 0 ? args.threads : kMaxViewsBlock,
                  image_views_shared_bytes(args), stream, args);
}

}  // namespace iuscore
