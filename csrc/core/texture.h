// The 8-bit codes of texture_stats, its first-order statistics and its grid (docs/texture_stats.md).
#pragma once

#include <cmath>
#include <cstdint>

#include "core/color.h"
#include "core/entropy.h"

namespace iuscore {

constexpr int kCodes = 256;
constexpr int kColorPlanes = 6;  // lightness, red-green, blue-yellow, saturation, hue, coarse-fine
constexpr int kGrayPlanes = 2;   // lightness, coarse-fine
constexpr int kStatistics = 8;
constexpr int kGrid = 8;
constexpr float kMinHue = 1.0f / 16.0f;  // saturation and value below which a hue is noise

// floor(x) within 0 .. 255.
IUSCORE_HD std::uint8_t code_of(float x) { return static_cast<std::uint8_t>(smaller(larger(x, 0.0f), 255.0f)); }

IUSCORE_HD float unit_clamped(float x) { return smaller(larger(x, 0.0f), 1.0f); }

IUSCORE_HD std::uint8_t lightness_code(const Lab& lab) { return code_of(lab.lightness * 2.56f); }
// Black has a* = b* = 0, on the edge between two codes. In both planes it gets the code of the other grays, whose a* is
// slightly below 0 and whose b* is slightly above: 110 times the rounded factor is just below 128.
IUSCORE_HD std::uint8_t red_green_code(float a) { return code_of((a + 110.0f) * (256.0f / 220.0f)); }
IUSCORE_HD std::uint8_t blue_yellow_code(float b) { return code_of(b * (256.0f / 220.0f) + 128.0f); }
IUSCORE_HD std::uint8_t gray_code(float r, float g, float b) { return code_of(gray_of(r, g, b) * 256.0f); }

// Turned so that red is in the middle: sums over codes then treat reds as neighbors.
IUSCORE_HD std::uint8_t hue_code(float hue) {
  const float turned = hue + 0.5f;
  return code_of((turned >= 1.0f ? turned - 1.0f : turned) * 256.0f);
}

struct HsvCodes {
  std::uint8_t saturation;
  std::uint8_t hue;
  bool has_hue;
};

// r, g, b in [0, 1].
IUSCORE_HD HsvCodes hsv_codes(float r, float g, float b) {
  const Hsv hsv = hsv_of(r, g, b);
  return {code_of(hsv.saturation * 256.0f), hue_code(hsv.hue), hsv.saturation >= kMinHue && hsv.value >= kMinHue};
}

// For integers r, g, b in 0 .. kMax: exactly floor(256 S), floor(256 frac(H + 1/2)), and whether S >= 1/16 and V >=
// 1/16. Each code is the floor of a quotient of integers. A quotient that is not an integer differs from the next
// integer by at least 1 / divisor. Rounding cannot reach that integer if 1 / divisor exceeds half a unit in the last
// place, 2^-17 below 256. That holds for divisors of saturations, up to 65,535, and of hues of bytes, up to 765; hues
// of 16-bit integers have divisors up to 196,605 and are corrected.
template <std::int32_t kMax>
IUSCORE_HD HsvCodes hsv_codes_of_integers(float r, float g, float b) {
  const float high = larger(larger(r, g), b);
  const float low = smaller(smaller(r, g), b);
  const float spread = high - low;
  const float difference = b == high ? r - g : g == high ? b - r : g - b;
  const float sixths = b == high ? 1.0f : g == high ? 5.0f : 3.0f;  // with red in the middle
  const float turned = 128.0f * (difference + sixths * spread);     // 256 frac(H + 1/2) times 3 spread
  const float divisor = 3.0f * (spread == 0.0f ? 1.0f : spread);
  auto hue = static_cast<std::int32_t>(turned / divisor);
  if constexpr (kMax > 255) hue -= hue * static_cast<std::int32_t>(divisor) > static_cast<std::int32_t>(turned) ? 1 : 0;
  return {code_of(256.0f * spread / (high == 0.0f ? 1.0f : high)), static_cast<std::uint8_t>(hue),
          16.0f * spread >= high && 16.0f * high >= static_cast<float>(kMax)};
}

// From the Sobel sums of lightness codes, each at most 1020 in magnitude. An edge of 13 codes a pixel gets half the
// range.
IUSCORE_HD std::uint8_t coarse_fine_code(std::int32_t gx, std::int32_t gy) {
  const float magnitude = sqrtf(static_cast<float>(gx * gx + gy * gy)) * 0.125f;
  return code_of(magnitude * 256.0f / (magnitude + 13.0f));
}

// Level of a code among `levels`.
IUSCORE_HD std::uint8_t level_of_code(std::uint8_t code, std::int32_t levels) {
  return static_cast<std::uint8_t>(static_cast<std::uint16_t>(code * levels) >> 8);  // 16 bits: twice as many lanes
}

// First row or column of block i, of `size` rows or columns.
IUSCORE_HD std::int64_t block_start(std::int64_t size, int i) { return i * size / kGrid; }

struct BlockSum {
  std::int64_t sum;  // of lightness codes
  std::int64_t count;
};

// Mean lightness in [0, 1]; 0 if nothing is counted.
IUSCORE_HD float block_mean(const BlockSum& block) {
  if (block.count == 0) return 0.0f;
  return static_cast<float>((static_cast<double>(block.sum) / static_cast<double>(block.count) + 0.5) / 256.0);
}

// Sums of powers of code - center over a histogram, from which the moments follow. 255^4 times 2^31 pixels fit int64.
struct CodeSums {
  std::int64_t count;
  std::int64_t center;  // the mean, rounded to a code
  std::int64_t powers[4];
};

IUSCORE_HD std::int64_t center_code(std::int64_t count, std::int64_t sum) { return (2 * sum + count) / (2 * count); }

// count > 0: mean, sd, skewness, excess kurtosis.
IUSCORE_HD void code_moments(const CodeSums& sums, float* statistics) {
  const double n = static_cast<double>(sums.count);
  const double s1 = static_cast<double>(sums.powers[0]) / n;
  const double s2 = static_cast<double>(sums.powers[1]) / n;
  const double s3 = static_cast<double>(sums.powers[2]) / n;
  const double s4 = static_cast<double>(sums.powers[3]) / n;
  const double m2 = s2 - s1 * s1;
  const double m3 = s3 - 3.0 * (s1 * s2) + 2.0 * (s1 * s1 * s1);
  const double m4 = s4 - 4.0 * (s1 * s3) + 6.0 * (s1 * s1 * s2) - 3.0 * (s1 * s1 * (s1 * s1));
  const bool flat = m2 <= 0.0;
  const double variance = flat ? 1.0 : m2;
  const double root = sqrt(variance);
  statistics[0] = static_cast<float>((static_cast<double>(sums.center) + s1 + 0.5) / 256.0);
  statistics[1] = flat ? 0.0f : static_cast<float>(root / 256.0);
  statistics[2] = flat ? 0.0f : static_cast<float>(m3 / (variance * root));
  statistics[3] = flat ? 0.0f : static_cast<float>(m4 / (variance * variance) - 3.0);
}

// Whether the first `cumulative` of `count` values reach the 5th, 50th or 95th percentile.
constexpr int kPercentiles = 3;
IUSCORE_HD bool reaches(std::int64_t cumulative, std::int64_t count, int which) {
  return cumulative * 100 >= count * (5 + 45 * which);
}

IUSCORE_HD float code_value(std::int64_t code) { return static_cast<float>((static_cast<double>(code) + 0.5) / 256.0); }

// All statistics of a plane with count > 0. terms: sum of entropy_term(); ranks: number of codes below each percentile.
IUSCORE_HD void plane_statistics(const CodeSums& sums, std::uint64_t terms, std::int32_t shift,
                                 const std::int64_t* ranks, float* statistics) {
  code_moments(sums, statistics);
  statistics[4] = static_cast<float>(entropy_of(static_cast<std::uint64_t>(sums.count), terms, shift, 0.0));
  for (int q = 0; q < kPercentiles; ++q) statistics[5 + q] = code_value(ranks[q]);
}

}  // namespace iuscore
