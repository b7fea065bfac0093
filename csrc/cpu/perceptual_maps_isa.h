// The maps of one image, on one thread. Compiled once for each instruction set; no std containers or templates with
// external linkage inside.
#pragma once

#include "core/resample.h"
#include "cpu/isa.h"
#include "ops/perceptual_maps.h"

namespace iuscore {

constexpr int kRing = 8;  // gray rows that are kept: 7 for the Gaussian, rounded up to a power of two

struct PerceptualMapsJob {
  ImageView image;
  TapTable rows;     // vertical direction
  TapTable columns;  // horizontal direction
  std::int32_t channels;
  PixelType pixel_type;
  bool color;
  bool clean;
  std::int32_t height;
  std::int32_t width;
  float* planes;  // [4, height, width]: the maps; before that, the resized image
  float* ranges;  // [4]
  float* strips;  // perceptual_maps_strip_size() floats
};

// Size of `strips` for images of up to this width and number of vertical taps.
IUSCORE_HD std::int64_t perceptual_maps_strip_size(std::int64_t image_width, std::int64_t row_taps,
                                                   std::int64_t map_width) {
  const std::int64_t source = 3 * image_width + 4;
  const std::int64_t rings = kRing * (2 * map_width + 6);
  return source * (1 + row_taps) + rings + 3 * map_width;
}

IUSCORE_IN_EVERY_ISA(void perceptual_maps_image(const PerceptualMapsJob& job);)

}  // namespace iuscore
