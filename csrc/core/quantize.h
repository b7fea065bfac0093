// Pixel values -> gray levels 0 .. levels - 1 (docs/glcm.md).
#pragma once

#include <cstdint>

#include "core/color.h"
#include "core/half.h"
#include "core/macros.h"
#include "core/pixel.h"
#include "core/range.h"

namespace iuscore {

constexpr std::int32_t kMinLevels = 2;
constexpr std::int32_t kMaxLevels = 256;  // a level fits into a byte
constexpr double kMaxFloat = 3.4028234663852886e38;
constexpr double kMinNormalFloat = 1.1754943508222875e-38;

enum class QuantizeMode : std::int32_t { range, minmax, width, levels };

// What is known before the image is seen. position = factor (x - low) / divisor, level = floor(position) clamped to
// 0 .. levels - 1, with factor = levels and divisor = high - low, or factor = 1 and divisor = width: IBSI's fixed bin
// number and fixed bin size. Everything is double, each operation rounded once and in this order, and float pixels are
// converted first. If pixels, low, high and width are integers, the level is exactly that of the rational number: a
// quotient of integers below 2^44 that is not an integer is farther from the next integer than its rounding error.
struct Quantization {
  QuantizeMode mode;
  std::int32_t levels;  // kMinLevels .. kMaxLevels
  bool has_low;         // width: low is given; else it is the smallest counted value of the image
  double low;           // range; width where has_low
  double divisor;       // range: high - low; width: width
};

// Divisions in double are slow, so the position is guessed in float first. The true position is within
// guess +- (doubt |guess| + offset_doubt); if both ends of this interval have the same level, that is the level.
struct Quantizer {
  float low;
  float scale;
  float top;           // levels - 1
  float doubt;         // this and offset_doubt are 0 if the guess gives every level right
  float offset_doubt;  // infinity if no guess in float is possible
  double exact_low;
  double factor;
  double divisor;
};

// Whether levels depend on the image's smallest and largest counted value.
IUSCORE_HD bool needs_range(const Quantization& by) {
  return by.mode == QuantizeMode::minmax || (by.mode == QuantizeMode::width && !by.has_low);
}

// The guess is (x - low) scale in float. Subtraction, scale and product are rounded by 2^-24 each; low moves it by
// scale |low - float(low)|. The doubt of 2^-21 also covers the rounding of the two ends. For positions below 0 the
// interval is too small, which changes no level as long as offset_doubt is below 1.
IUSCORE_HD Quantizer guessing_quantizer(double low, double factor, double divisor, float top) {
  Quantizer by{0.0f, 0.0f, top, 0.0f, INFINITY, low, factor, divisor};
  const double scale = factor / divisor;
  const double size = low < 0.0 ? -low : low;
  if (!(scale >= kMinNormalFloat && scale <= kMaxFloat && size <= kMaxFloat)) return by;
  const auto rounded_low = static_cast<float>(low);
  const double moved = low - static_cast<double>(rounded_low);
  const double offset_doubt = 2.0 * scale * (moved < 0.0 ? -moved : moved);
  if (offset_doubt > 0.25) return by;
  by.low = rounded_low;
  by.scale = static_cast<float>(scale);
  by.doubt = 4.76837158203125e-7f;
  by.offset_doubt = static_cast<float>(offset_doubt);
  // Multiplying by a power of two is exact.
  const bool exact_scale = (bits_of(by.scale) & 0x007fffffu) == 0 && static_cast<double>(by.scale) * divisor == factor;
  if (low == 0.0 && exact_scale) by.doubt = 0.0f;
  return by;
}

// counted: range of the image's counted values, empty_range() if there are none; read only if needs_range().
IUSCORE_HD Quantizer quantizer_of(const Quantization& by, Range counted) {
  const auto top = static_cast<float>(by.levels - 1);
  const auto levels = static_cast<double>(by.levels);
  if (by.mode == QuantizeMode::levels) return guessing_quantizer(0.0, 1.0, 1.0, top);
  if (by.mode == QuantizeMode::range) return guessing_quantizer(by.low, levels, by.divisor, top);
  const bool none = !(counted.low <= counted.high);
  const double smallest = none ? 0.0 : static_cast<double>(counted.low);
  if (by.mode == QuantizeMode::width) return guessing_quantizer(by.has_low ? by.low : smallest, 1.0, by.divisor, top);
  if (none || counted.low == counted.high) return {0.0f, 0.0f, top, 0.0f, 0.0f, 0.0, 0.0, 1.0};  // all of level 0
  return guessing_quantizer(smallest, levels, static_cast<double>(counted.high) - smallest, top);
}

// Clamps, then truncates, which for positions >= 0 is the floor; a loop over it vectorises. NaN gets some level: such a
// pixel is not counted.
template <class Float>
IUSCORE_HD std::int32_t level_at(Float position, float top) {
  position = position > Float(0) ? position : Float(0);
  position = position < static_cast<Float>(top) ? position : static_cast<Float>(top);
  return static_cast<std::int32_t>(position);
}

IUSCORE_HD std::int32_t exact_level_of(float x, const Quantizer& by) {
  return level_at(by.factor * (static_cast<double>(x) - by.exact_low) / by.divisor, by.top);
}

IUSCORE_HD float guess_of(float x, const Quantizer& by) { return (x - by.low) * by.scale; }

struct LevelEnds {
  std::int32_t least;
  std::int32_t most;
};

// Levels at the ends of the guess's interval; equal if the guess decides.
IUSCORE_HD LevelEnds guessed_levels(float x, const Quantizer& by) {
  const float guess = guess_of(x, by);
  const float doubt = guess * by.doubt + by.offset_doubt;
  return {level_at(guess - doubt, by.top), level_at(guess + doubt, by.top)};
}

// Numbers the floats, except NaN, by consecutive integers in their order.
IUSCORE_HD std::int32_t place_of_float(float x) {
  const auto bits = static_cast<std::int32_t>(bits_of(x));
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}

IUSCORE_HD float float_at_place(std::int32_t place) {
  return float_of(static_cast<std::uint32_t>(place < 0 ? place ^ 0x7fffffff : place));
}

// The smallest float whose level is at least `level` > 0; infinity if there is none. Levels are monotonic. It is next
// to the edge of the level, except if low is large and the edge near 0: then all floats are searched.
IUSCORE_HD float first_of_level(std::int32_t level, const Quantizer& by) {
  const double edge = by.exact_low + level * (by.divisor / by.factor);
  const double inside = edge > -kMaxFloat ? (edge < kMaxFloat ? edge : kMaxFloat) : -kMaxFloat;
  const std::int32_t near = place_of_float(static_cast<float>(inside));
  std::int64_t below = near - 2;
  std::int64_t first = near + 1;
  const auto reaches = [&](std::int64_t place) {
    return exact_level_of(float_at_place(static_cast<std::int32_t>(place)), by) >= level;
  };
  if (reaches(below) || !reaches(first)) {
    below = place_of_float(-INFINITY);
    first = place_of_float(INFINITY);
  }
  while (first - below > 1) {
    const std::int64_t middle = below + (first - below) / 2;
    if (reaches(middle)) {
      first = middle;
    } else {
      below = middle;
    }
  }
  return float_at_place(static_cast<std::int32_t>(first));
}

// The level; firsts[k] = first_of_level(k) for 0 < k < levels. Only float arithmetic, for processors with slow double.
IUSCORE_HD std::int32_t level_of(float x, const Quantizer& by, const float* firsts) {
  LevelEnds ends = guessed_levels(x, by);
  while (ends.least != ends.most) {
    const std::int32_t middle = (ends.least + ends.most + 1) / 2;
    if (x >= firsts[middle]) {
      ends.least = middle;
    } else {
      ends.most = middle - 1;
    }
  }
  return ends.least;
}

IUSCORE_HD std::int32_t level_of(float x, const Quantizer& by) {
  const LevelEnds ends = guessed_levels(x, by);
  return ends.least == ends.most ? ends.least : exact_level_of(x, by);
}

// Raw values, which are quantised: integers as they are stored (core/pixel.h), and so are floats.
using RawF16 = UnitF16;
using RawBF16 = UnitBF16;
using RawF32 = UnitF32;

// The gray of three channels; of integers rounded to nearest, so that R = G = B = v gives v, and an RGB copy of a gray
// image has the same levels.
template <class Pixel>
struct RawGray {
  IUSCORE_HD float of(float r, float g, float b) {
    const float gray = gray_of(r, g, b);
    if constexpr (Pixel::kCanBeNonFinite) return gray;
    return static_cast<float>(static_cast<std::int32_t>(gray + 0.5f));
  }
};

}  // namespace iuscore
