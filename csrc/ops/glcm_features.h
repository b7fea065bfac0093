// Contract of the op `glcm_features`. What the features are: core/haralick.h and docs/glcm_features.md.
#pragma once

#include <cstdint>

#include "core/haralick.h"
#include "ops/glcm.h"

namespace iuscore {

// Features of images; or of matrices if `counts` is not null. Then images, masks, channels, pixel_type, offsets and
// quantization, except its levels, are not read.
struct GlcmFeaturesArgs {
  const ImageView* images;  // [batch], sizes may differ, at most kMaxGlcmPixels pixels each
  const MaskView* masks;    // [batch], or null
  std::int64_t batch;       // >= 0
  std::int32_t channels;    // 1 or 3
  PixelType pixel_type;
  Quantization quantization;
  const PixelOffset* offsets;   // [offset_count]
  std::int32_t offset_count;    // 1 .. kMaxOffsets
  bool symmetric;               // features of the matrix with its transpose added
  const std::int32_t* counts;   // null, or [batch, offset_count, levels, levels], contiguous, >= 0, a sum of at most
                                // kMaxGlcmPixels each
  const GlcmFeature* features;  // [feature_count]
  std::int32_t feature_count;   // >= 1
  bool wide;                    // values are double, else float
  void* values;                 // [batch, offset_count, feature_count], contiguous
  std::int32_t* largest;        // as in GlcmArgs, or null
  std::int32_t threads;         // >= 1
};

// Throws std::invalid_argument if a matrix has a negative count or too large a sum.
void glcm_features_cpu(const GlcmFeaturesArgs& args);

// Images of one size as in GlcmCudaArgs, or matrices. All addresses but `offsets` and `features` are device memory.
// The caller has checked that counts are not negative and sums not too large.
struct GlcmFeaturesCudaArgs {
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
  const std::int32_t* counts;   // null, or [batch, offset_count, levels, levels], contiguous
  const GlcmFeature* features;  // [feature_count], host memory
  std::int32_t feature_count;   // 1 .. kGlcmFeatures
  bool wide;                    // values are double, else float
  void* values;                 // [batch, offset_count, feature_count], contiguous
  void* workspace;              // glcm_features_cuda_workspace() bytes; not read where that is 0
  std::int64_t workspace_bytes;
  std::int32_t device;   // ordinal; becomes the calling thread's current device
  std::int32_t threads;  // of a block: a multiple of 32 up to kMaxGlcmBlock, or 0 to have it chosen
};

// Queues the kernel on `stream` (a cudaStream_t). Throws std::runtime_error with CUDA's reason.
void glcm_features_cuda(const GlcmFeaturesCudaArgs& args, void* stream);

// Bytes of device memory args.workspace must hold. Reads the sizes and choices of `args`, no address.
std::int64_t glcm_features_cuda_workspace(const GlcmFeaturesCudaArgs& args);

}  // namespace iuscore
