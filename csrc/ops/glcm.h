// Contract of the op `glcm`. What is counted: docs/glcm.md.
#pragma once

#include <cstdint>

#include "core/quantize.h"
#include "ops/images.h"

namespace iuscore {

// From the first to the second pixel of a pair.
struct PixelOffset {
  std::int32_t rows;     // down
  std::int32_t columns;  // to the right
};

// Pixels of an image: a count is then at most 2^30, and a count of a symmetric matrix is below 2^31. There is one
// exception, this many pixels with offset (0, 0), which callers of `glcm` exclude.
constexpr std::int64_t kMaxGlcmPixels = std::int64_t{1} << 30;
constexpr std::int32_t kMaxOffsets = 64;  // of one call

// Threads of a block. With two such blocks on a multiprocessor no register is spilled; with 512 threads some are.
constexpr std::int32_t kMaxGlcmBlock = 384;

struct GlcmArgs {
  const ImageView* images;  // [batch], sizes may differ, at most kMaxGlcmPixels pixels each
  const MaskView* masks;    // [batch], or null: every finite pixel is counted
  std::int64_t batch;       // >= 0
  std::int32_t channels;    // 1 or 3
  PixelType pixel_type;
  Quantization quantization;   // mode levels: one channel of u8 or u16
  const PixelOffset* offsets;  // [offset_count]; may reach beyond the image
  std::int32_t offset_count;   // 1 .. kMaxOffsets
  bool symmetric;              // adds the transpose
  std::int32_t* counts;        // [batch, offset_count, levels, levels], contiguous; all of it is written
  // Null, or receives the largest counted value of all images in mode levels. It is an error if that is >= levels; such
  // pixels are counted as levels - 1, so that nothing is read or written out of bounds.
  std::int32_t* largest;
  std::int32_t threads;  // >= 1
};

void glcm_cpu(const GlcmArgs& args);

// Images of one size: image i is `image` moved by i * batch_stride elements, its mask `mask` moved by
// i * mask_batch_stride. All addresses but `offsets` are device memory.
struct GlcmCudaArgs {
  ImageView image;
  std::int64_t batch_stride;  // in elements
  MaskView mask;              // data null: every finite pixel is counted
  std::int64_t mask_batch_stride;
  std::int64_t batch;     // >= 0
  std::int32_t channels;  // 1 or 3
  PixelType pixel_type;
  Quantization quantization;
  const PixelOffset* offsets;  // [offset_count], host memory
  std::int32_t offset_count;   // 1 .. kMaxOffsets
  bool symmetric;
  std::int32_t* counts;  // [batch, offset_count, levels, levels], contiguous; all of it is written
  std::int32_t device;   // ordinal; becomes the calling thread's current device
  std::int32_t threads;  // of a block: a multiple of 32 up to kMaxGlcmBlock, or 0 to have it chosen
};

// Queues the kernel on `stream` (a cudaStream_t). Throws std::runtime_error with CUDA's reason.
void glcm_cuda(const GlcmCudaArgs& args, void* stream);

}  // namespace iuscore
