// Contract of the op `color_histogram`. Bins and color spaces: docs/color_histogram.md.
#pragma once

#include <cstdint>

#include "core/histogram.h"
#include "ops/images.h"

namespace iuscore {

enum class ColorSpace : std::int32_t { rgb, hsv, lab, gray };

IUSCORE_HD constexpr std::int32_t histogram_channels(ColorSpace space) { return space == ColorSpace::gray ? 1 : 3; }

struct ColorHistogramArgs {
  const ImageView* images;  // [batch], sizes may differ
  const MaskView* masks;    // [batch], or null: all pixels are counted
  std::int64_t batch;       // >= 0
  std::int32_t channels;    // 1 or 3
  PixelType pixel_type;
  ColorSpace space;
  bool joint;                  // one histogram over three channels; not with gray
  std::int32_t bins[3];        // of each channel of the space: 1..kMaxBins, joint 1..kMaxJointBins
  const float* edges[3];       // [bins + 1]: core/histogram.h
  std::int32_t* counts;        // [batch, sum of bins], channel after channel; joint: [batch, product of bins]
  std::int32_t* out_of_range;  // [batch, C, 3]: below, above, not a number; joint: [batch, 1, 3]
  std::int32_t threads;        // >= 1
};

void color_histogram_cpu(const ColorHistogramArgs& args);

// All addresses are device memory. Image i is `image` moved by i * batch_stride elements; masks alike.
struct ColorHistogramCudaArgs {
  ImageView image;  // height * width < 2^31
  MaskView mask;    // data null: all pixels are counted
  std::int64_t batch_stride;
  std::int64_t mask_batch_stride;
  std::int64_t batch;     // >= 0
  std::int32_t channels;  // 1 or 3
  PixelType pixel_type;
  ColorSpace space;
  bool joint;                  // as in ColorHistogramArgs
  BinAxis axes[3];             // per channel of the space
  std::int32_t* counts;        // as in ColorHistogramArgs; need not be cleared
  std::int32_t* out_of_range;  // the same
  std::int32_t device;         // ordinal; becomes the calling thread's current device
  std::int32_t threads;        // of a block: a multiple of 32 up to kMaxHistogramBlock, or 0 to have it chosen
};

constexpr std::int32_t kMaxHistogramBlock = 512;

// Queues the kernel on `stream` (a cudaStream_t). Throws std::runtime_error with CUDA's reason.
void color_histogram_cuda(const ColorHistogramCudaArgs& args, void* stream);

}  // namespace iuscore
