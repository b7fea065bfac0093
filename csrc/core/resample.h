// Bicubic resampling weights, PyTorch's two conventions, computed in float32 as PyTorch does.
#pragma once

#include <cstdint>

#include "core/macros.h"

namespace iuscore {

// The longest side of an image or a map: float32 holds every pixel index up to here.
constexpr std::int32_t kMaxSide = 1 << 24;

// Weights of one direction: output o = sum over j < taps of weight[j * out + o] * input[start[o] + j], ascending j.
// An output with fewer taps has weights 0 at the end; start[o] + taps <= in.
struct TapTable {
  const std::int32_t* start;  // [out]
  const float* weight;        // [taps, out]
  std::int32_t taps;
  std::int32_t out;
};

// Keys' cubic convolution kernel (1981) with parameter a.
IUSCORE_HD float cubic_kernel(float x, float a) {
  x = x < 0.0f ? -x : x;
  if (x < 1.0f) return ((a + 2.0f) * x - (a + 3.0f)) * x * x + 1.0f;
  if (x < 2.0f) return (((x - 5.0f) * x + 8.0f) * x - 4.0f) * a;
  return 0.0f;
}

IUSCORE_HD float resample_scale(std::int32_t in, std::int32_t out) {
  return static_cast<float>(in) / static_cast<float>(out);
}

IUSCORE_HD std::int32_t resample_taps(std::int32_t in, std::int32_t out, bool antialias) {
  if (!antialias) return in < 4 ? in : 4;
  const float scale = resample_scale(in, out);
  const auto widest = static_cast<std::int32_t>(4.0f * (scale > 1.0f ? scale : 1.0f)) + 2;
  return in < widest ? in : widest;
}

// Weights of output `o` for input pixels start .. start + taps - 1, written `stride` apart; returns start.
// Without antialias: a = -0.75, four taps about the half-pixel centre, indices clamped (their weights add up at the
// edge). With: a = -0.5, the kernel stretched by the scale where it shrinks, taps outside the image dropped, weights
// divided by their sum.
IUSCORE_HD std::int32_t resample_weights(std::int32_t o, std::int32_t in, std::int32_t out, bool antialias,
                                         std::int32_t taps, float* weight, std::int64_t stride) {
  const float scale = resample_scale(in, out);
  for (std::int32_t j = 0; j < taps; ++j) weight[j * stride] = 0.0f;
  if (!antialias) {
    const float center = scale * (static_cast<float>(o) + 0.5f) - 0.5f;
    auto first = static_cast<std::int32_t>(center);
    if (static_cast<float>(first) > center) --first;  // floor
    const float t = center - static_cast<float>(first);
    const std::int32_t low = first - 1 < 0 ? 0 : first - 1;
    const std::int32_t start = low + taps > in ? in - taps : low;
    for (std::int32_t j = 0; j < 4; ++j) {
      const std::int32_t raw = first - 1 + j;
      const std::int32_t index = raw < 0 ? 0 : (raw > in - 1 ? in - 1 : raw);
      weight[(index - start) * stride] += cubic_kernel(t + 1.0f - static_cast<float>(j), -0.75f);
    }
    return start;
  }
  const float stretch = scale > 1.0f ? scale : 1.0f;
  const float center = scale * (static_cast<float>(o) + 0.5f);
  const auto reach_low = static_cast<std::int32_t>(center - 2.0f * stretch + 0.5f);
  const auto reach_high = static_cast<std::int32_t>(center + 2.0f * stretch + 0.5f);
  const std::int32_t low = reach_low < 0 ? 0 : reach_low;
  const std::int32_t start = low + taps > in ? in - taps : low;
  // start + taps <= in. Rounding makes the reach longer than the table where a side is above kMaxSide.
  const std::int32_t end = reach_high > start + taps ? start + taps : reach_high;
  float total = 0.0f;
  for (std::int32_t index = low; index < end; ++index) {
    const float distance = (static_cast<float>(index) - center + 0.5f) * (1.0f / stretch);
    const float w = cubic_kernel(distance, -0.5f);
    weight[(index - start) * stride] = w;
    total += w;
  }
  for (std::int32_t j = 0; j < taps; ++j) weight[j * stride] /= total;
  return start;
}

}  // namespace iuscore
