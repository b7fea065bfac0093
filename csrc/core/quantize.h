// Pixel values -> gray levels 0 .. levels - 1 (docs/design.md, "Texture ops").
#pragma once

#include <cstdint>

#include "core/color.h"
#include "core/half.h"
#include "core/macros.h"
#include "core/pixel.h"
#include "core/range.h"

namespace iuscore {

constexpr std::int32_t kFewestLevels = 2;
constexpr std::int32_t kMostLevels = 256;  // a level fits into a byte
constexpr float kLargestFloat = 3.4028234663852886e38f;

enum class QuantizeMode : std::int32_t { range, minmax, width, levels };

// What is known before the image is seen. `low` and `scale` are computed once, in double, and rounded to float32.
struct Quantization {
  QuantizeMode mode;
  std::int32_t levels;  // kFewestLevels .. kMostLevels
  bool has_low;         // width: low is given; else it is the smallest counted value of the image
  float low;            // range; width where has_low
  float scale;          // range: levels / (high - low); width: 1 / width
};

// level = floor((x - low) * scale), clamped to 0 .. top, in float32.
struct Quantizer {
  float low;
  float scale;
  float top;  // levels - 1
};

// Whether the image's smallest and largest counted value must be known first.
IUSCORE_HD bool needs_range(const Quantization& by) {
  return by.mode == QuantizeMode::minmax || (by.mode == QuantizeMode::width && !by.has_low);
}

// counted: range of the image's counted values, empty_range() where there is none; read only where needs_range().
IUSCORE_HD Quantizer quantizer_of(const Quantization& by, Range counted) {
  const auto top = static_cast<float>(by.levels - 1);
  if (by.mode == QuantizeMode::levels) return {0.0f, 1.0f, top};
  if (!needs_range(by)) return {by.low, by.scale, top};
  const bool none = !(counted.low <= counted.high);
  const float low = none ? 0.0f : counted.low + 0.0f;  // of -0 and +0 either may be found as the smallest
  if (by.mode == QuantizeMode::width) return {low, by.scale, top};
  if (none || counted.low == counted.high) return {low, 0.0f, top};
  const double scale = static_cast<double>(by.levels) / (static_cast<double>(counted.high) - counted.low);
  // A spread of subnormal size would give infinity, and infinity times 0 is not a level.
  return {low, scale < kLargestFloat ? static_cast<float>(scale) : kLargestFloat, top};
}

// Clamped before it is cut to an integer, which then is the floor; a loop over it vectorises. Of a value that is not
// finite: some level; such a pixel is not counted.
IUSCORE_HD std::int32_t level_of(float x, const Quantizer& by) {
  float position = (x - by.low) * by.scale;
  position = position > 0.0f ? position : 0.0f;
  position = position < by.top ? position : by.top;
  return static_cast<std::int32_t>(position);
}

// Raw values are what is quantised: integers as they are (core/pixel.h), and floating types too.
using RawF16 = UnitF16;
using RawBF16 = UnitBF16;
using RawF32 = UnitF32;

// Three channels become gray first. Of integers it is rounded to the nearest, so that R = G = B = v counts as v and a
// gray file gives the same levels as its RGB copy.
template <class Pixel>
struct RawGray {
  IUSCORE_HD float of(float r, float g, float b) {
    const float gray = gray_of(r, g, b);
    if constexpr (Pixel::kCanBeNonFinite) return gray;
    return static_cast<float>(static_cast<std::int32_t>(gray + 0.5f));
  }
};

}  // namespace iuscore
