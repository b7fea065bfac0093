// Arithmetic of the op `image_views`: area averages, patches and what filters answer to them. docs/image_views.md has
// the formulas. Every sum has one order, so that all back ends give the same bits.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/macros.h"
#include "core/mlp.h"

namespace iuscore {

constexpr std::int32_t kThumbSide = 8;
constexpr std::int32_t kPatchSide = 32;  // of the image that patches are taken from
constexpr std::int32_t kPatchWindow = 6;
constexpr std::int32_t kPatchArea = kPatchWindow * kPatchWindow;
constexpr std::int32_t kPatchPositions = kPatchSide - kPatchWindow + 1;  // along a side
constexpr std::int32_t kPatchHalf = kPatchPositions / 2 + 1;             // the middle belongs to both halves
constexpr std::int32_t kPatchFilters = 64;
constexpr std::int32_t kPatchResponses = 8 * kPatchFilters;  // two signs and four quarters
constexpr float kPatchVariance = 10.0f;                      // in squared gray levels
constexpr float kPatchThreshold = 0.5f;

// The gray level of a color pixel, ITU-R BT.601, halves to even.
IUSCORE_HD std::uint8_t luma_of(std::uint8_t r, std::uint8_t g, std::uint8_t b) {
  const float level = static_cast<float>(r) * 0.299f + static_cast<float>(g) * 0.587f + static_cast<float>(b) * 0.114f;
  return static_cast<std::uint8_t>(rintf(level));
}

// First pixel of window i of n, and the one after the last: n windows over `size` pixels, as adaptive_avg_pool2d.
IUSCORE_HD std::int64_t window_begin(std::int64_t i, std::int64_t n, std::int64_t size) { return i * size / n; }
IUSCORE_HD std::int64_t window_end(std::int64_t i, std::int64_t n, std::int64_t size) {
  return ((i + 1) * size + n - 1) / n;
}

// Sums of up to 2^16 bytes are exact floats, and so are their numbers.
constexpr std::int64_t kFloatArea = 1 << 16;

IUSCORE_HD float float_mean(std::int64_t sum, std::int64_t area) {
  return static_cast<float>(static_cast<std::int32_t>(sum)) / static_cast<float>(static_cast<std::int32_t>(area));
}
IUSCORE_HD float double_mean(std::int64_t sum, std::int64_t area) {
  return static_cast<float>(static_cast<double>(sum) / static_cast<double>(area));
}
IUSCORE_HD float area_mean(std::int64_t sum, std::int64_t area) {
  return area <= kFloatArea ? float_mean(sum, area) : double_mean(sum, area);
}

// One over the root of the variance plus 10; squares: the sum of n squared differences from the mean.
IUSCORE_HD float patch_scale(float squares, float n) { return 1.0f / sqrtf(squares / n + kPatchVariance); }

// How far an answer is above the threshold, on either side.
IUSCORE_HD float above(float answer) { return relu(answer - kPatchThreshold); }
IUSCORE_HD float below(float answer) { return relu(-kPatchThreshold - answer); }

// Of the sum over the positions of a quarter.
IUSCORE_HD float patch_response(float sum) {
  return canonical_nan(sqrtf(sum / static_cast<float>(kPatchHalf * kPatchHalf)));
}

// Column of a response: signs (0: positive), then filters, then quarters.
IUSCORE_HD std::int32_t response_column(std::int32_t filter, std::int32_t sign, std::int32_t bottom,
                                        std::int32_t right) {
  return 4 * (kPatchFilters * sign + filter) + 2 * bottom + right;
}

}  // namespace iuscore
