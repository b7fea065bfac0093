// Value rules of the perceptual maps in both modes (docs/perceptual_maps.md).
#pragma once

#include "core/half.h"
#include "core/macros.h"
#include "core/range.h"

namespace iuscore {

constexpr int kMaps = 4;
constexpr float kMaxMagnitude = 1e30f;  // on the 0..255 scale; a larger value counts as not finite
constexpr float kMinMaxEpsilon = 1e-6f;
constexpr float kMinImageRange = 255.0f / 4096.0f;

// Channels that are resized and normalised: three for color maps of RGB images, else one. Gray maps of RGB images need
// the gray value only, which is computed before resizing.
IUSCORE_HD std::int32_t kept_channels(bool color, std::int32_t channels) { return color && channels == 3 ? 3 : 1; }

// Pixel types -> float32 on the 0..255 scale.
struct PixelU8 {
  using Storage = std::uint8_t;
  static constexpr bool kCanBeNonFinite = false;
  IUSCORE_HD float load(Storage v) { return static_cast<float>(v); }
};
struct PixelU16 {
  using Storage = std::uint16_t;
  static constexpr bool kCanBeNonFinite = false;
  IUSCORE_HD float load(Storage v) { return static_cast<float>(v) / 257.0f; }
};
struct PixelF16 {
  using Storage = std::uint16_t;
  static constexpr bool kCanBeNonFinite = true;
  IUSCORE_HD float load(Storage v) { return f16_to_float(v) * 255.0f; }
};
struct PixelBF16 {
  using Storage = std::uint16_t;
  static constexpr bool kCanBeNonFinite = true;
  IUSCORE_HD float load(Storage v) { return bf16_to_float(v) * 255.0f; }
};
struct PixelF32 {
  using Storage = float;
  static constexpr bool kCanBeNonFinite = true;
  IUSCORE_HD float load(Storage v) { return v * 255.0f; }
};

IUSCORE_HD bool is_usable(float value) { return value <= kMaxMagnitude && value >= -kMaxMagnitude; }

struct Normalizer {
  float low;
  float divisor;
};

IUSCORE_HD float normalized(float x, Normalizer by) { return (x - by.low) / by.divisor; }

// +0 for -0: which of the two is found as the smallest value depends on the order of the search, and x - low must not.
IUSCORE_HD float positive_zero(float low) { return low + 0.0f; }

// The published min-max, of a channel or a map.
IUSCORE_HD Normalizer min_max(Range range) {
  return {positive_zero(range.low), range.high - range.low + kMinMaxEpsilon};
}

// Normalizes the image before its maps are computed.
IUSCORE_HD Normalizer image_normalizer(Range range, bool clean) {
  if (!clean) return min_max(range);
  return {positive_zero(range.low), larger(range.high - range.low, kMinImageRange)};
}

// Whether a channel's whole range is rounding errors of the resize. The published min-max would stretch them to full
// range.
IUSCORE_HD bool is_rounding_noise(Range range) {
  const float magnitude = larger(range.high, -range.low);
  return range.high > range.low && range.high - range.low < 1e-5f * magnitude;
}

IUSCORE_HD float clean_opponent(float value) { return (value + 110.0f) / 220.0f; }

IUSCORE_HD float clean_coarse_fine(float magnitude) {
  const float edge = magnitude - 1e-3f;  // a flat neighbourhood has magnitude sqrt(1e-6)
  return edge / (edge + 0.05f);
}

IUSCORE_HD float band_one(float g) { return g >= 0.0f && g < 0.3f ? g : 0.0f; }
IUSCORE_HD float band_two(float g) { return g >= 0.3f && g < 0.6f ? g : 0.0f; }

}  // namespace iuscore
