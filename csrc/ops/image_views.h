// Contract of the op `image_views`. What it computes: docs/image_views.md.
#pragma once

#include <cstdint>

#include "core/views.h"
#include "ops/images.h"

namespace iuscore {

constexpr std::int64_t kMaxViewsSide = 1 << 24;  // a column of bytes adds up to less than 2^32

// What patches are multiplied by. C = 1 of gray views, 3 of color views.
struct PatchFilters {
  const float* weights;  // [36 C, 64]
  const float* bias;     // [64]
};

struct ImageViewsArgs {
  const ImageView* images;  // [batch] of bytes, sizes may differ; sides of at most kMaxViewsSide
  std::int64_t batch;       // >= 0
  std::int32_t channels;    // 1 or 3
  bool color;               // views in color, else in gray; one channel counts as R = G = B
  PatchFilters filters;
  float* thumb;          // [batch, 64 C], channels one after the other
  float* patch;          // [batch, 512]
  std::int32_t threads;  // >= 1
};

void image_views_cpu(const ImageViewsArgs& args);

constexpr std::int32_t kMaxViewsBlock = 256;  // threads of a block

// Images of one size: image i is `image` moved by i * batch_stride elements. All addresses are device memory.
struct ImageViewsCudaArgs {
  ImageView image;  // bytes
  std::int64_t batch_stride;
  std::int64_t batch;     // >= 0
  std::int32_t channels;  // 1 or 3
  bool color;
  PatchFilters filters;
  float* thumb;          // [batch, 64 C]
  float* patch;          // [batch, 512]
  std::int32_t device;   // ordinal; becomes the calling thread's current device
  std::int32_t threads;  // of a block: a multiple of 32, 32..kMaxViewsBlock, or 0 to have it chosen
};

// Queues the kernel on `stream` (a cudaStream_t). Throws std::runtime_error with CUDA's reason.
void image_views_cuda(const ImageViewsCudaArgs& args, void* stream);

}  // namespace iuscore
