// What one thread needs to count pairs of gray levels: scratch memory, and the kernels of the instruction set in use.
// Not for files that are compiled for each instruction set.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/glcm_features_isa.h"
#include "ops/glcm_features.h"

namespace iuscore {

struct GlcmKernels {
  QuantizeResult (*quantize)(const QuantizeJob&);
  void (*count)(const LevelPlane&, const PixelOffset*, std::int32_t, bool, const GlcmScratch&, std::int32_t*);
  void (*sum)(const LevelPlane&, const PixelOffset*, std::int32_t, const GlcmTables&, const GlcmScratch&, GlcmSums*);
  void (*sum_matrix)(const std::int32_t*, const GlcmTables&, const GlcmScratch&, GlcmSums*);
};

GlcmKernels glcm_kernels(Isa isa);

// T of core/haralick.h for counts below entropy_table_size(shift). Made once for each shift, for all threads.
const std::uint64_t* entropy_table(std::int32_t shift);
std::int64_t entropy_table_size(std::int32_t shift);

class GlcmThreadScratch {
 public:
  explicit GlcmThreadScratch(const GlcmKernels& kernels) : kernels_(kernels) {}

  const GlcmKernels& kernels() const { return kernels_; }

  // Valid until the next call with larger sizes.
  GlcmScratch scratch(std::int32_t levels, std::int64_t pixels);

  // Makes the plane of an image, which is valid until the next call.
  QuantizeResult plane(const ImageView& image, const MaskView* mask, std::int32_t channels, PixelType type,
                       const Quantization& by);

  // most_pairs: as in glcm_context; largest_level: as in GlcmContext.
  GlcmTables tables(std::int32_t levels, bool symmetric, std::uint64_t most_pairs, std::int32_t largest_level,
                    std::uint32_t needs);

  GlcmSums* sums(std::int32_t count);

 private:
  GlcmKernels kernels_;
  std::vector<std::uint64_t> cells_;  // 64-bit words for their alignment; all 0 between calls
  std::vector<std::uint16_t> pairs_;
  std::vector<std::uint8_t> pair_weights_;
  std::vector<float> strip_;
  std::vector<std::uint8_t> levels_;
  std::vector<std::uint8_t> valid_;
  std::vector<std::uint64_t> weights_;
  std::int32_t weight_levels_ = 0;
  std::int32_t weight_shift_ = 0;
  std::int32_t weight_largest_ = -1;  // largest level for which the normalized weights were made
  std::vector<GlcmSums> sums_;
};

// Writes the features of a plane's pairs, [offset_count, feature_count]. A plane has at most kMaxGlcmPixels pixels.
void glcm_features_plane(const LevelPlane& plane, const PixelOffset* offsets, std::int32_t offset_count, bool symmetric,
                         const GlcmFeature* features, std::int32_t feature_count, GlcmThreadScratch& own,
                         double* values);

}  // namespace iuscore
