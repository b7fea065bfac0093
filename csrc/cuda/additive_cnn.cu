// The parts of EPU-CNN's forward pass that libraries compute slowly: the convolution of one channel, what follows a
// convolution, and the linear layers. Values between kernels are float16, channels last; all arithmetic is float. A
// thread has 8 channels, which are 16 bytes, so that neighboring threads read and write neighboring memory.
#include <cmath>

#include "core/half.h"
#include "core/mlp.h"
#include "cuda/block.cuh"
#include "cuda/launch.h"
#include "ops/additive_cnn.h"

namespace iuscore {

constexpr std::int32_t kCnnBlock = 128;       // threads
constexpr std::int32_t kCnnDenseBlock = 256;  // of the first linear layer
constexpr std::int32_t kCnnRun = 32;          // pixels of a row that a thread of the first convolution computes
constexpr std::int32_t kCnnPoolRun = 8;       // pixels of a row that a thread of the epilogue writes
constexpr std::int32_t kCnnRows = 8;          // images of a block of the first linear layer
constexpr std::int32_t kCnnStep = kWarpSize * kCnnLanes;  // terms that a warp takes at a time
constexpr std::int32_t kCnnStepsOfSlice = 4;
constexpr std::int32_t kMaxCnnSlices = 64;

struct alignas(16) CnnVector {
  std::uint32_t pairs[kCnnLanes / 2];
};

constexpr float kMaxHalf = 65504.0f;

// Rounded to nearest even; with kRelu after a ReLU.
template <bool kRelu>
__device__ std::uint32_t half_pair(float low, float high) {
#if defined(__CUDA_ARCH__)
  std::uint32_t pair;
  if (kRelu)
    asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  if (kRelu) return half_pair<false>(relu(low), relu(high));
  return std::uint32_t{float_to_f16(high)} << 16 | float_to_f16(low);
#endif
}

__device__ inline void load_pair(std::uint32_t pair, float& low, float& high) {
#if defined(__CUDA_ARCH__)
  asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}"
      : "=f"(low), "=f"(high)
      : "r"(pair));
#else
  low = f16_to_float(static_cast<std::uint16_t>(pair));
  high = f16_to_float(static_cast<std::uint16_t>(pair >> 16));
#endif
}

template <bool kRelu>
__device__ CnnVector packed(const float (&values)[kCnnLanes]) {
  CnnVector vector;
  IUSCORE_UNROLLED
  for (int i = 0; i < kCnnLanes / 2; ++i) vector.pairs[i] = half_pair<kRelu>(values[2 * i], values[2 * i + 1]);
  return vector;
}

__device__ inline void unpack(const CnnVector& vector, float (&values)[kCnnLanes]) {
  IUSCORE_UNROLLED
  for (int i = 0; i < kCnnLanes / 2; ++i) load_pair(vector.pairs[i], values[2 * i], values[2 * i + 1]);
}

__device__ inline CnnVector vector_at(const std::uint16_t* values) {
  return *reinterpret_cast<const CnnVector*>(values);
}

__device__ inline void load_eight(const float* from, float (&values)[kCnnLanes]) {
  IUSCORE_UNROLLED
  for (int i = 0; i < kCnnLanes / 4; ++i) {
    const Four<float> four = *reinterpret_cast<const Four<float>*>(from + 4 * i);
    IUSCORE_UNROLLED
    for (int k = 0; k < 4; ++k) values[4 * i + k] = four.values[k];
  }
}

// NaN if a or b is NaN. (fmaxf would ignore it, and a nonfinite image would not be noticed.)
__device__ inline float max_or_nan(float a, float b) {
#if defined(__CUDA_ARCH__)
  float most;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(most) : "f"(a), "f"(b));
  return most;
#else
  return a != a || a >= b ? a : b;
#endif
}

// Takes values into `largest`, the largest magnitude written so far, or NaN: to see whether all are finite in float16.
template <bool kRelu>
__device__ void widen(float& largest, const float (&values)[kCnnLanes]) {
  IUSCORE_UNROLLED
  for (int i = 0; i < kCnnLanes; ++i) largest = max_or_nan(largest, kRelu ? values[i] : fabsf(values[i]));
}

__device__ inline bool beyond_half(float largest) { return !(largest <= kMaxHalf); }

__device__ inline bool not_finite(float value) { return (bits_of(value) & 0x7f800000u) == 0x7f800000u; }

// The run of pixels of one image, and the channels, of a thread. Blocks are numbered image by image.
struct CnnPlace {
  std::int64_t image;
  std::int32_t row;
  std::int32_t begin;  // column
  std::int32_t end;
  std::int32_t channel;
};

IUSCORE_HD std::int64_t cnn_blocks_of_image(std::int32_t height, std::int32_t width, std::int32_t channels,
                                            std::int32_t run, std::uint32_t threads = kCnnBlock) {
  const std::int64_t runs = std::int64_t{height} * ((width + run - 1) / run) * (channels / kCnnLanes);
  return (runs + threads - 1) / threads;
}

// Finds the place of this thread; returns false if there are fewer runs than threads and none is left for it.
__device__ inline bool find_place(std::int32_t height, std::int32_t width, std::int32_t channels, std::int32_t run,
                                  CnnPlace& place) {
  const auto blocks = static_cast<std::uint32_t>(cnn_blocks_of_image(height, width, channels, run, blockDim.x));
  const auto vectors = static_cast<std::uint32_t>(channels / kCnnLanes);
  const auto runs = static_cast<std::uint32_t>((width + run - 1) / run);
  std::uint32_t at = blockIdx.x % blocks * blockDim.x + threadIdx.x;
  place.image = blockIdx.x / blocks;
  place.channel = static_cast<std::int32_t>(at % vectors) * kCnnLanes;
  at /= vectors;
  place.row = static_cast<std::int32_t>(at / runs);
  place.begin = static_cast<std::int32_t>(at % runs) * run;
  place.end = place.begin + run < width ? place.begin + run : width;
  return place.row < height;
}

// ---- First convolution. A sum begins with the bias, then has nine multiply-adds, taps ascending.

// The three values of a column above, in and below a row; 0 outside the map.
struct CnnColumns {
  const float* row;
  std::int64_t stride;
  std::int32_t width;
  bool above, below;

  __device__ void take(std::int32_t x, float (&column)[3]) const {
    const bool inside = x >= 0 && x < width;
    column[0] = inside && above ? row[x - stride] : 0.0f;
    column[1] = inside ? row[x] : 0.0f;
    column[2] = inside && below ? row[x + stride] : 0.0f;
  }
};

__global__ void __launch_bounds__(kCnnBlock, 4) additive_cnn_first_kernel(const __grid_constant__ CnnFirstArgs args) {
  CnnPlace place;
  if (!find_place(args.height, args.width, args.channels, kCnnRun, place)) return;
  const std::int64_t g = place.image / args.batch;
  float taps[9][kCnnLanes];
  float bias[kCnnLanes];
  IUSCORE_UNROLLED
  for (int t = 0; t < 9; ++t) load_eight(args.kernels + (g * 9 + t) * args.channels + place.channel, taps[t]);
  load_eight(args.bias + g * args.channels + place.channel, bias);
  const CnnColumns columns{
      args.maps + place.image % args.batch * args.stride_image + g * args.stride_group + place.row * args.stride_row,
      args.stride_row, args.width, place.row > 0, place.row + 1 < args.height};
  std::uint16_t* out =
      args.out + ((place.image * args.height + place.row) * args.width + place.begin) * args.channels + place.channel;
  float window[3][3];  // column, row
  columns.take(place.begin - 1, window[0]);
  columns.take(place.begin, window[1]);
  bool nonfinite = false;
  float largest = 0.0f;
  IUSCORE_UNROLLED_BY_2
  for (std::int32_t x = place.begin; x < place.end; ++x) {
    columns.take(x + 1, window[2]);
    nonfinite |= not_finite(window[1][1]);
    float sums[kCnnLanes];
    IUSCORE_UNROLLED
    for (int i = 0; i < kCnnLanes; ++i) sums[i] = bias[i];
    IUSCORE_UNROLLED
    for (int t = 0; t < 9; ++t) {
      IUSCORE_UNROLLED
      for (int i = 0; i < kCnnLanes; ++i) sums[i] = multiply_add(taps[t][i], window[t % 3][t / 3], sums[i]);
    }
    widen<true>(largest, sums);
    *reinterpret_cast<CnnVector*>(out) = packed<true>(sums);
    out += args.channels;
    IUSCORE_UNROLLED
    for (int r = 0; r < 3; ++r) {
      window[0][r] = window[1][r];
      window[1][r] = window[2][r];
    }
  }
  if (nonfinite || beyond_half(largest)) atomicOr(args.nonfinite + place.image, 1);
}

// ---- Epilogues of a convolution

// Bias, scale and shift of eight channels; 0 for channels that fill up.
struct CnnChannels {
  float bias[kCnnLanes];
  float scale[kCnnLanes];
  float shift[kCnnLanes];

  template <bool kPooled>
  __device__ void take(const CnnEpilogueArgs& args, std::int32_t first) {
    IUSCORE_UNROLLED
    for (int i = 0; i < kCnnLanes; ++i) {
      const std::int32_t c = first + i;
      const bool used = c < args.used;
      bias[i] = used ? args.bias[c] : 0.0f;
      if (!kPooled) continue;
      const float weight = used && args.weight != nullptr ? args.weight[c] : 1.0f;
      scale[i] = used ? weight / sqrtf(args.variance[c] + args.eps) : 0.0f;
      const float bare = used && args.shift != nullptr ? args.shift[c] : 0.0f;
      shift[i] = used ? bare - args.mean[c] * scale[i] : 0.0f;
    }
  }
};

__global__ void __launch_bounds__(kCnnBlock, 8)
    additive_cnn_rectify_kernel(const __grid_constant__ CnnEpilogueArgs args) {
  CnnPlace place;
  if (!find_place(args.height, args.width, args.channels, kCnnPoolRun, place)) return;
  CnnChannels channels;
  channels.take<false>(args, place.channel);
  std::uint16_t* at =
      args.in + ((place.image * args.height + place.row) * args.width + place.begin) * args.channels + place.channel;
  float largest = 0.0f;
  IUSCORE_UNROLLED_BY_2
  for (std::int32_t x = place.begin; x < place.end; ++x, at += args.channels) {
    float values[kCnnLanes];
    unpack(vector_at(at), values);
    IUSCORE_UNROLLED
    for (int i = 0; i < kCnnLanes; ++i) values[i] = values[i] + channels.bias[i];
    widen<true>(largest, values);
    *reinterpret_cast<CnnVector*>(at) = packed<true>(values);
  }
  if (beyond_half(largest)) atomicOr(args.nonfinite + place.image, 1);
}

// 2x2 max pooling first: bias and ReLU are monotonic, so the result is the same at a quarter of the work.
__global__ void __launch_bounds__(kCnnBlock, 6) additive_cnn_pool_kernel(const __grid_constant__ CnnEpilogueArgs args) {
  CnnPlace place;
  const std::int32_t height = args.height / 2;
  const std::int32_t width = args.width / 2;
  if (!find_place(height, width, args.channels, kCnnPoolRun, place)) return;
  CnnChannels channels;
  channels.take<true>(args, place.channel);
  const std::int64_t row = std::int64_t{args.width} * args.channels;
  const std::uint16_t* from = args.in + (place.image * args.height + 2 * place.row) * row +
                              std::int64_t{2} * place.begin * args.channels + place.channel;
  std::uint16_t* out =
      args.out + ((place.image * height + place.row) * width + place.begin) * args.channels + place.channel;
  float most = 0.0f;
  IUSCORE_UNROLLED_BY_2
  for (std::int32_t x = place.begin; x < place.end; ++x, from += 2 * args.channels, out += args.channels) {
    const CnnVector four[4] = {vector_at(from), vector_at(from + args.channels), vector_at(from + row),
                               vector_at(from + row + args.channels)};
    float largest[kCnnLanes];
    unpack(four[0], largest);
    IUSCORE_UNROLLED
    for (int k = 1; k < 4; ++k) {
      float values[kCnnLanes];
      unpack(four[k], values);
      IUSCORE_UNROLLED
      for (int i = 0; i < kCnnLanes; ++i) largest[i] = max_or_nan(largest[i], values[i]);
    }
    IUSCORE_UNROLLED
    for (int i = 0; i < kCnnLanes; ++i)
      largest[i] = multiply_add(max_or_nan(largest[i] + channels.bias[i], 0.0f), channels.scale[i], channels.shift[i]);
    widen<false>(most, largest);
    *reinterpret_cast<CnnVector*>(out) = packed<false>(largest);
  }
  if (beyond_half(most)) atomicOr(args.nonfinite + place.image, 1);
}

// ---- Linear layers

// The terms of the first layer are cut into slices. Their number depends on the number of terms alone, so that the bits
// of a sum do.
IUSCORE_HD std::int32_t cnn_slices(std::int64_t terms) {
  const std::int64_t steps = (terms + kCnnStep - 1) / kCnnStep;
  const std::int64_t slices = (steps + kCnnStepsOfSlice - 1) / kCnnStepsOfSlice;
  return static_cast<std::int32_t>(slices < kMaxCnnSlices ? slices : kMaxCnnSlices);
}

IUSCORE_HD std::int32_t cnn_units_in_fours(std::int32_t units) {
  return (units + kCnnUnits - 1) / kCnnUnits * kCnnUnits;
}

// Gives lane i, in values[0], the sum of values[i] over all lanes of the warp.
template <int kHalf>
__device__ void sum_of_each(float (&values)[kWarpSize], std::int32_t lane) {
  if constexpr (kHalf > 0) {
    const bool upper = (lane & kHalf) != 0;
    IUSCORE_UNROLLED
    for (int i = 0; i < kHalf; ++i) {
      const float other = __shfl_xor_sync(kAllLanes, upper ? values[i] : values[i + kHalf], kHalf);
      values[i] = (upper ? values[i + kHalf] : values[i]) + other;
    }
    sum_of_each<kHalf / 2>(values, lane);
  }
}

// First layer. A block computes a slice of the terms of 8 images of one network; a warp computes 4 units at a time.
// sums: [slices, G, batch, units in fours].
__global__ void __launch_bounds__(kCnnDenseBlock, 2)
    additive_cnn_dense_kernel(const __grid_constant__ CnnHeadsArgs args) {
  const auto lane = static_cast<std::int32_t>(threadIdx.x) % kWarpSize;
  const auto warp = static_cast<std::int32_t>(threadIdx.x) / kWarpSize;
  const auto warps = static_cast<std::int32_t>(blockDim.x) / kWarpSize;
  const std::int32_t slices = cnn_slices(args.terms);
  const std::int32_t units = cnn_units_in_fours(args.units[0]);
  const std::int64_t steps = (args.terms + kCnnStep - 1) / kCnnStep;
  const std::int64_t slice = blockIdx.x % static_cast<std::uint32_t>(slices);
  const std::int64_t tile = blockIdx.x / static_cast<std::uint32_t>(slices);
  const std::int64_t tiles = (args.batch + kCnnRows - 1) / kCnnRows;
  const std::int64_t g = tile / tiles;
  const std::int64_t first = tile % tiles * kCnnRows;
  const std::int64_t last = args.batch - 1;
  const std::int64_t begin = slice * steps / slices * kCnnStep + lane * kCnnLanes;
  const std::int64_t end =
      (slice + 1) * steps / slices * kCnnStep < args.terms ? (slice + 1) * steps / slices * kCnnStep : args.terms;
  IUSCORE_ROLLED
  for (std::int32_t unit = warp * kCnnUnits; unit < units; unit += warps * kCnnUnits) {
    float sums[kWarpSize] = {};  // image, unit
    const std::uint16_t* weights = args.weights + (g * units + unit) * args.terms;
    IUSCORE_ROLLED
    for (std::int64_t t = begin; t < end; t += kCnnStep) {
      CnnVector rows[kCnnRows];  // all loads before the first use
      float w[kCnnUnits][kCnnLanes];
      IUSCORE_UNROLLED
      for (int b = 0; b < kCnnRows; ++b) {
        const std::int64_t image = first + b < last ? first + b : last;  // after the last image, that image again
        rows[b] = vector_at(args.features + (g * args.batch + image) * args.terms + t);
      }
      IUSCORE_UNROLLED
      for (int u = 0; u < kCnnUnits; ++u) unpack(vector_at(weights + u * args.terms + t), w[u]);
      IUSCORE_UNROLLED
      for (int b = 0; b < kCnnRows; ++b) {
        float x[kCnnLanes];
        unpack(rows[b], x);
        IUSCORE_UNROLLED
        for (int u = 0; u < kCnnUnits; ++u) {
          IUSCORE_UNROLLED
          for (int i = 0; i < kCnnLanes; ++i)
            sums[b * kCnnUnits + u] = multiply_add(w[u][i], x[i], sums[b * kCnnUnits + u]);
        }
      }
    }
    sum_of_each<kWarpSize / 2>(sums, lane);
    const std::int64_t image = first + lane / kCnnUnits;
    if (image > last) continue;
    args.sums[((slice * args.groups + g) * args.batch + image) * units + unit + lane % kCnnUnits] = sums[0];
  }
}

// A block adds the sums of the slices of one map of one image, in order, and computes the other layers.
__global__ void __launch_bounds__(kCnnBlock) additive_cnn_finish_kernel(const __grid_constant__ CnnHeadsArgs args) {
  const std::int64_t g = blockIdx.x / static_cast<std::uint32_t>(args.batch);
  const std::int64_t image = blockIdx.x % static_cast<std::uint32_t>(args.batch);
  const std::int32_t padded = cnn_units_in_fours(args.units[0]);
  const std::int32_t slices = cnn_slices(args.terms);
  const std::int64_t step = std::int64_t{args.groups} * args.batch * padded;
  const float* sums = args.sums + (g * args.batch + image) * padded;
  const float* rest = args.rest + g * args.rest_floats;
  const bool nonfinite = args.nonfinite[g * args.batch + image] != 0;
  float* values = dynamic_shared();
  float* next = values + kMaxCnnUnits;
  std::int32_t before = 0;  // units of the previous layer
  IUSCORE_ROLLED
  for (std::int32_t layer = 0; layer < args.n_linears; ++layer) {
    const std::int32_t units = args.units[layer];
    const float* weights = rest;
    const float* bias = rest + std::int64_t{before} * units;
    const bool is_last = layer + 1 == args.n_linears;
    IUSCORE_ROLLED
    for (auto u = static_cast<std::int32_t>(threadIdx.x); u < units; u += static_cast<std::int32_t>(blockDim.x)) {
      float sum = bias[u];
      if (layer == 0)
        for (std::int32_t s = 0; s < slices; ++s) sum = sum + sums[s * step + u];
      for (std::int32_t k = 0; k < before; ++k)
        sum = multiply_add(weights[std::int64_t{k} * units + u], values[k], sum);
      if (is_last)
        args.evidence[(image * args.groups + g) * units + u] = nonfinite ? float_of(0x7fc00000u) : canonical_nan(sum);
      else
        next[u] = relu(sum);
    }
    __syncthreads();
    rest = bias + units;
    before = units;
    float* const swap = values;
    values = next;
    next = swap;
  }
}

namespace {

constexpr const char* kOp = "additive_cnn";

}  // namespace

void additive_cnn_first_cuda(const CnnFirstArgs& args, std::int32_t device, void* stream) {
  const std::int64_t blocks =
      std::int64_t{args.batch} * args.groups * cnn_blocks_of_image(args.height, args.width, args.channels, kCnnRun);
  if (blocks == 0) return;
  const Launcher launcher(kOp, device);
  const CurrentDevice current = launcher.use_device();
  launcher.launch(additive_cnn_first_kernel, blocks, kCnnBlock, 0, stream, args);
}

void additive_cnn_epilogue_cuda(const CnnEpilogueArgs& args, std::int32_t device, void* stream) {
  const std::int32_t by = args.out == nullptr ? 1 : 2;
  const std::int64_t blocks =
      args.images * cnn_blocks_of_image(args.height / by, args.width / by, args.channels, kCnnPoolRun);
  if (blocks == 0) return;
  const Launcher launcher(kOp, device);
  const CurrentDevice current = launcher.use_device();
  launcher.launch(by == 1 ? additive_cnn_rectify_kernel : additive_cnn_pool_kernel, blocks, kCnnBlock, 0, stream, args);
}

std::int64_t additive_cnn_heads_workspace(const CnnHeadsArgs& args) {
  return std::int64_t{cnn_slices(args.terms)} * args.groups * args.batch * cnn_units_in_fours(args.units[0]);
}

void additive_cnn_heads_cuda(const CnnHeadsArgs& args, std::int32_t device, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher(kOp, device);
  const CurrentDevice current = launcher.use_device();
  const std::int64_t tiles = std::int64_t{args.groups} * ((args.batch + kCnnRows - 1) / kCnnRows);
  launcher.launch(additive_cnn_dense_kernel, tiles * cnn_slices(args.terms), kCnnDenseBlock, 0, stream, args);
  launcher.launch(additive_cnn_finish_kernel, std::int64_t{args.groups} * args.batch, kCnnBlock,
                  2 * kMaxCnnUnits * static_cast<std::int64_t>(sizeof(float)), stream, args);
}

}  // namespace iuscore
