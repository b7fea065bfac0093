// Contract of the op `color_histogram`. Bins and color spaces: docs/design.md, "Texture ops".
#pragma once

#include <cstdint>

#include "ops/images.h"

namespace iuscore {

enum class ColorSpace : std::int32_t { rgb, hsv, lab, gray };

constexpr std::int32_t kHistogramChannels(ColorSpace space) { return space == ColorSpace::gray ? 1 : 3; }

struct ColorHistogramArgs {
  const ImageView* images;  // [batch], sizes may differ
  const MaskView* masks;    // [batch], or null: all pixels are counted
  std::int64_t batch;       // >= 0
  std::int32_t channels;    // 1 or 3
  PixelType pixel_type;
  ColorSpace space;
  bool joint;             // one histogram over three channels; not with gray
  std::int32_t bins[3];   // per channel of the space: 1..1024, joint 1..32
  const float* edges[3];  // [bins + 1]: core/histogram.h
  std::int32_t* counts;   // [batch, sum of bins], channel after channel; joint: [batch, product of bins]
  std::int32_t* outside;  // [batch, C, 3]: below, above, not a number; joint: [batch, 1, 3]
  std::int32_t threads;   // >= 1
};

void color_histogram_cpu(const ColorHistogramArgs& args);

}  // namespace iuscore
