// Codes, fine histograms and blocks of one image on one thread. Compiled once for each instruction set; no std
// containers or templates with external linkage inside.
#pragma once

#include "core/texture.h"
#include "cpu/isa.h"
#include "ops/texture_stats.h"

namespace iuscore {

constexpr int kCopies = 4;  // of each histogram, so that the counts of equal neighbors do not wait for each other

struct TextureCodesJob {
  ImageView image;
  MaskView mask;
  std::int32_t channels;
  PixelType pixel_type;
  bool color;
  std::uint8_t* lightness;  // [height, width] codes, written
  std::uint8_t* valid;      // [height, width] 0 or 1, written; null where every pixel counts
  std::int32_t levels;      // 2..256
  std::uint8_t* level;      // [height, width] level of each lightness code, written; may be null
  std::uint32_t* copies;    // [planes, kCopies, 256], added to
  BlockSum* blocks;         // [8, 8], written
  const float* linear;      // [256] of srgb_to_linear by byte; read for uint8
  float* rows;              // texture_codes_rows() floats
};

constexpr int kRowSlack = 32;  // codes of a row are computed up to a multiple of this

// Size of `rows` for images of up to this width.
IUSCORE_HD std::int64_t texture_codes_rows(std::int64_t width) { return 6 * width + 3 * (width + 2 + kRowSlack); }

IUSCORE_IN_EVERY_ISA(void texture_codes_image(const TextureCodesJob& job);)

}  // namespace iuscore
