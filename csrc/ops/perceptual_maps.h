// Contract of the op `perceptual_maps`. What the maps are: docs/design.md, "Perceptual maps".
#pragma once

#include <cstdint>

#include "core/perceptual.h"
#include "core/resample.h"

namespace iuscore {

enum class PixelType : std::int32_t { u8, u16, f16, bf16, f32 };
enum class MapType : std::int32_t { f32, f16, bf16 };

struct ImageView {
  const void* data;       // pixel (0, 0), channel 0
  std::int64_t height;    // >= 1
  std::int64_t width;     // >= 1
  std::int64_t stride_h;  // in elements, any sign
  std::int64_t stride_w;
  std::int64_t stride_c;
};

struct PerceptualMapsArgs {
  const ImageView* images;  // [batch], sizes may differ
  std::int64_t batch;       // >= 0
  std::int32_t channels;    // 1 or 3
  PixelType pixel_type;
  bool color;           // color maps, else gray maps
  bool clean;           // clean mode, else the published one
  std::int32_t height;  // of the maps, >= 4
  std::int32_t width;   // of the maps, >= 4
  void* maps;           // [batch, 4, height, width], contiguous, map_type
  MapType map_type;
  float* ranges;         // [batch, 4]
  std::int32_t threads;  // >= 1
};

// Number of full-size planes the kernel keeps per image besides the maps: those of the resized image.
IUSCORE_HD std::int32_t kept_channels(bool color, std::int32_t channels) { return color && channels == 3 ? 3 : 1; }

void perceptual_maps_cpu(const PerceptualMapsArgs& args);

}  // namespace iuscore
