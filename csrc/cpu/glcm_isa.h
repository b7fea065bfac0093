// From an image to a plane of gray levels, and from a plane to counts of pairs; one image on one thread. Compiled once
// for each instruction set; no std containers or templates with external linkage inside. `texture_stats` has a plane of
// its own and starts there.
#pragma once

#include <cstdint>

#include "core/macros.h"
#include "cpu/isa.h"
#include "ops/glcm.h"

namespace iuscore {

constexpr std::int64_t kPlaneSlack = 64;  // bytes that must be readable after the last row of a plane

// Levels of an image, one byte a pixel.
struct LevelPlane {
  const std::uint8_t* levels;  // [height, width], rows `pitch` apart; each below level_count; kPlaneSlack
  const std::uint8_t* valid;   // the same shape, 1 = counted, else 0; or null: all are. kPlaneSlack
  std::int64_t height;
  std::int64_t width;
  std::int64_t pitch;
  std::int32_t level_count;  // kFewestLevels .. kMostLevels
  // Every counted pixel's level is in lowest .. highest. Highest is the largest of them, exactly; 0 where none is
  // counted.
  std::int32_t lowest;
  std::int32_t highest;
};

// What turns an image into its plane.
struct QuantizeJob {
  ImageView image;
  MaskView mask;  // data null: every finite pixel is counted
  std::int32_t channels;
  PixelType pixel_type;
  Quantization by;
  float* strip;          // [width] floats
  std::uint8_t* levels;  // [height, width] and kPlaneSlack, contiguous; the result
  std::uint8_t* valid;   // the same; written only where a pixel can be uncounted (can_be_uncounted)
};

struct QuantizeResult {
  LevelPlane plane;
  std::int32_t largest;  // mode levels: the largest counted value
};

IUSCORE_HD bool can_be_uncounted(PixelType type, const MaskView& mask) {
  return mask.data != nullptr || (type != PixelType::u8 && type != PixelType::u16);
}

// Matrices in memory: rows 2^shift apart, at least 32; `spacing` cells from one matrix to the next. Counters are 16
// bits wide where an image has fewer than 65,536 pixels, so none can overflow; else 32. Up to 64 levels four offsets
// are counted at a time, pixels alternating between two copies of each matrix, so that equal pairs in a row do not wait
// for each other; above, two offsets and one copy, which the second-level cache holds.
struct GlcmShape {
  std::int32_t shift;
  std::int32_t group;   // offsets counted at a time
  std::int32_t copies;  // matrices of an offset
  bool narrow;          // 16-bit counters
};

constexpr std::int64_t kSmallSpacing = 64 * 64 + 1056;  // no two matrices at a multiple of 4096 bytes
constexpr std::int64_t kLargeSpacing = 256 * 256 + 1056;
constexpr std::int64_t kJointSpacing = 32 * 32 * 32 + 1056;  // cells of three pixels (cpu/glcm_pairs.h)

IUSCORE_HD GlcmShape glcm_shape(std::int32_t levels, std::int64_t pixels) {
  std::int32_t shift = 5;
  while ((1 << shift) < levels) ++shift;
  return {shift, shift <= 6 ? 4 : 2, shift <= 6 ? 2 : 1, pixels < 65536};
}

IUSCORE_HD std::int64_t glcm_cell_bytes(const GlcmShape& shape) {
  const std::int64_t spacing = shape.shift <= 6 ? kSmallSpacing : kLargeSpacing;
  const std::int64_t cells = shape.group * shape.copies * spacing + (shape.shift == 5 ? 2 * kJointSpacing : 0);
  return cells * (shape.narrow ? 2 : 4);
}

constexpr std::int32_t kPairChunk = 512;  // columns whose pairs are computed at a time

struct GlcmScratch {
  void* cells;            // glcm_cell_bytes(), a multiple of 64 bytes, all 0 before and after a call
  std::uint16_t* pairs;   // [4, kPairChunk]
  std::uint8_t* weights;  // [4, kPairChunk]
};

IUSCORE_IN_EVERY_ISA(
    // one image
    QuantizeResult quantize_plane(const QuantizeJob& job);
    // counts: [offset_count, levels, levels]
    void count_plane(const LevelPlane& plane, const PixelOffset* offsets, std::int32_t offset_count, bool symmetric,
                     const GlcmScratch& scratch, std::int32_t* counts);)

}  // namespace iuscore
