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
  const std::uint8_t* levels;  // [height, width], rows `pitch` apart, then kPlaneSlack bytes; each below level_count
  const std::uint8_t* valid;   // the same shape: 1 = counted, 0 = not; null: all are counted
  std::int64_t height;
  std::int64_t width;
  std::int64_t pitch;
  std::int32_t level_count;  // kMinLevels .. kMaxLevels
  // Levels of all counted pixels are in lowest .. highest. `highest` is the largest of them; 0 if none is counted.
  std::int32_t lowest;
  std::int32_t highest;
};

// Turns an image into its plane.
struct QuantizeJob {
  ImageView image;
  MaskView mask;  // data null: every finite pixel is counted
  std::int32_t channels;
  PixelType pixel_type;
  Quantization by;
  float* strip;          // [width] floats
  std::uint8_t* levels;  // [height, width], contiguous, then kPlaneSlack bytes; written
  std::uint8_t* valid;   // the same; written only if can_be_uncounted()
};

struct QuantizeResult {
  LevelPlane plane;
  std::int32_t largest;  // in mode levels the largest counted value, else 0
};

IUSCORE_HD bool can_be_uncounted(PixelType type, const MaskView& mask) {
  return mask.data != nullptr || (type != PixelType::u8 && type != PixelType::u16);
}

// How matrices lie in memory: rows 2^shift apart, at least 32; `spacing` cells from one matrix to the next. Counters
// have 16 bits if an image has fewer than 65,536 pixels, so that none overflows; else 32. With up to 64 levels, four
// offsets are counted at a time, and pixels alternate between two copies of each matrix, so that counts of equal pairs
// in a row do not wait for each other. With more levels it is two offsets and one copy, which fit the second-level
// cache.
struct GlcmShape {
  std::int32_t shift;
  std::int32_t group;   // offsets counted at a time
  std::int32_t copies;  // matrices of an offset
  bool counts_in_16_bits;
};

constexpr std::int64_t kSmallSpacing = 64 * 64 + 1056;  // no two matrices at a multiple of 4096 bytes
constexpr std::int64_t kLargeSpacing = 256 * 256 + 1056;
constexpr std::int64_t kTripletSpacing = 32 * 32 * 32 + 1056;  // cells of triplets: cpu/glcm_pairs.h

IUSCORE_HD GlcmShape glcm_shape(std::int32_t levels, std::int64_t pixels) {
  std::int32_t shift = 5;
  while ((1 << shift) < levels) ++shift;
  return {shift, shift <= 6 ? 4 : 2, shift <= 6 ? 2 : 1, pixels < 65536};
}

IUSCORE_HD std::int64_t glcm_cell_bytes(const GlcmShape& shape) {
  const std::int64_t spacing = shape.shift <= 6 ? kSmallSpacing : kLargeSpacing;
  const std::int64_t cells = shape.group * shape.copies * spacing + (shape.shift == 5 ? 2 * kTripletSpacing : 0);
  return cells * (shape.counts_in_16_bits ? 2 : 4);
}

constexpr std::int32_t kPairChunk = 512;  // columns whose pairs are computed at a time

struct GlcmScratch {
  void* cells;            // glcm_cell_bytes() bytes, aligned to 64; all 0 before and after a call
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
