// One image on one thread. Compiled once per CPU zone; no std containers or templates with external linkage inside.
#pragma once

#include "ops/perceptual_maps.h"

namespace iuscore {

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
  float* planes;  // [4, height, width]: the result; holds the resized image on the way
  float* ranges;  // [4]
  float* strips;  // perceptual_maps_strip_size() floats
};

// Floats of strip memory one thread needs for images of up to this width and number of vertical taps.
inline std::int64_t perceptual_maps_strip_size(std::int64_t image_width, std::int64_t row_taps,
                                               std::int64_t map_width) {
  const std::int64_t source = 3 * image_width + 4;
  const std::int64_t rings = 8 * (2 * map_width + 6);
  return source * (1 + row_taps) + rings + 3 * map_width;
}

#define IUSCORE_ZONES(X) X(baseline) X(avx2) X(avx512)
#define IUSCORE_DECLARE_ZONE(zone)                          \
  namespace zone {                                          \
  void perceptual_maps_image(const PerceptualMapsJob& job); \
  }
IUSCORE_ZONES(IUSCORE_DECLARE_ZONE)
#undef IUSCORE_DECLARE_ZONE

}  // namespace iuscore
