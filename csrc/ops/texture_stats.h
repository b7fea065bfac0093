// Contract of the op `texture_stats`. What it computes: docs/texture_stats.md.
#pragma once

#include <cstdint>

#include "core/haralick.h"
#include "ops/glcm.h"
#include "ops/images.h"

namespace iuscore {

constexpr std::int32_t kTextureProperties = 10;

// scikit-image's properties, in the order of PROPERTIES in ops/texture_stats.py.
IUSCORE_HD GlcmFeature texture_property(std::int32_t k) {
  switch (k) {
    case 0:
      return GlcmFeature::contrast;
    case 1:
      return GlcmFeature::dissimilarity;
    case 2:
      return GlcmFeature::homogeneity;
    case 3:
      return GlcmFeature::angular_second_moment;
    case 4:
      return GlcmFeature::energy;
    case 5:
      return GlcmFeature::correlation;
    case 6:
      return GlcmFeature::mean;
    case 7:
      return GlcmFeature::variance;
    case 8:
      return GlcmFeature::standard_deviation;
    default:
      return GlcmFeature::entropy_nats;
  }
}

struct TextureStatsArgs {
  const ImageView* images;  // [batch], sizes may differ; at most kMaxGlcmPixels pixels each
  const MaskView* masks;    // [batch] or null
  std::int64_t batch;       // >= 0
  std::int32_t channels;    // 1 or 3
  PixelType pixel_type;
  bool color;                  // color planes, else gray planes
  std::int32_t bins;           // a power of two, 2..256
  std::int32_t levels;         // 2..256
  const PixelOffset* offsets;  // [n_offsets]
  std::int32_t n_offsets;      // >= 0
  std::int32_t* histograms;    // [batch, planes, bins]
  float* statistics;           // [batch, planes, 8]
  std::int32_t* counted;       // [batch, planes]
  float* properties;           // [batch, n_offsets, 10]
  float* blocks;               // [batch, 8, 8]
  std::int32_t threads;        // >= 1
};

void texture_stats_cpu(const TextureStatsArgs& args);

// Threads of a block. With two blocks on a multiprocessor a thread has 64 registers, as many as the kernels need.
constexpr std::int32_t kMaxTextureBlock = 512;

// Images of one size: image i is `image` moved by i * batch_stride elements, its mask `mask` moved by
// i * mask_batch_stride. All addresses but `offsets` are device memory.
struct TextureStatsCudaArgs {
  ImageView image;  // at most kMaxGlcmPixels pixels
  std::int64_t batch_stride;
  MaskView mask;  // data null: every finite pixel is counted
  std::int64_t mask_batch_stride;
  std::int64_t batch;     // >= 0
  std::int32_t channels;  // 1 or 3
  PixelType pixel_type;
  bool color;                        // color planes, else gray planes
  std::int32_t bins;                 // a power of two, 2..256
  std::int32_t levels;               // 2..256
  PixelOffset offsets[kMaxOffsets];  // rows >= 0: the first pixel of a pair is not below the second
  std::int32_t n_offsets;            // 0..kMaxOffsets
  std::int32_t* histograms;          // [batch, planes, bins]
  float* statistics;                 // [batch, planes, 8]
  std::int32_t* counted;             // [batch, planes]
  float* properties;                 // [batch, n_offsets, 10]
  float* blocks;                     // [batch, 8, 8]
  void* workspace;                   // texture_stats_cuda_workspace() bytes; not read where that is 0
  std::int64_t workspace_bytes;
  std::int32_t device;   // ordinal; becomes the calling thread's current device
  std::int32_t threads;  // of a block: a multiple of 32, 64..kMaxTextureBlock, or 0 to have it chosen
};

// Queues the kernel on `stream` (a cudaStream_t). Throws std::runtime_error with CUDA's reason.
void texture_stats_cuda(const TextureStatsCudaArgs& args, void* stream);

// Bytes of device memory args.workspace must hold. Reads the sizes and choices of `args`, no address.
std::int64_t texture_stats_cuda_workspace(const TextureStatsCudaArgs& args);

}  // namespace iuscore
