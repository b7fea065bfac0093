// sRGB (D65) to gray, to CIELab and to HSV. Constants as in scikit-image and kornia (ITU-R BT.601 luma for
// gray, IEC 61966-2-1 transfer curve, CIE 1976 L*a*b* with the threshold .008856 and slope 7.787).
#pragma once

#include <cstdint>

#include "core/half.h"
#include "core/macros.h"
#include "core/range.h"

namespace iuscore {

// The cube root and the power 2.4, on the ranges that CIELab needs. They use multiplications and additions only, so
// that all instruction sets and GPUs give the same bits, and loops over them vectorise.

// Cube root for x in [2^-7, 4]: r ~ x^(-1/3) by a linear guess on the exponent bits and two Newton steps
// r <- r (4 - x r^3) / 3, then y = x r^2 and one step y - (y^3 - x) / (3 y^2). Relative error at most 1.62 x 2^-24.
IUSCORE_HD float cbrt_in_range(float x) {
  float r = float_of(0x54a22aaau - bits_of(x) / 3u);
  r = r * (1.3333334f - 0.33333334f * (x * r) * (r * r));
  r = r * (1.3333334f - 0.33333334f * (x * r) * (r * r));
  const float r2 = r * r;
  const float y = x * r2;
  return y - (y * y * y - x) * (0.33333334f * r2);
}

// x^2.4 for x in [2^-4, 4] as (x r)^3 with r ~ x^(-1/5): the same guess and two steps r <- r (1 + e/5 + 3 e^2/25) with
// e = 1 - x r^5, whose error is cubed each time. Relative error at most 8.75 x 2^-24.
IUSCORE_HD float pow_2_4(float x) {
  float r = float_of(0x4c2bb333u - bits_of(x) / 5u);
  for (int step = 0; step < 2; ++step) {
    const float r2 = r * r;
    const float e = 1.0f - (x * r) * (r2 * r2);
    r = r + r * (e * (0.2f + 0.12f * e));
  }
  const float p = x * r;
  return p * p * p;
}

struct OpponentColor {
  float a;  // red-green, about -86 .. 98 inside sRGB
  float b;  // blue-yellow, about -108 .. 95 inside sRGB
};

IUSCORE_HD float gray_of(float r, float g, float b) { return 0.299f * r + 0.587f * g + 0.114f * b; }

// Gray of R = G = B = v. The weights add up to 1, but the sum is rounded, as it is for an RGB copy of the image.
IUSCORE_HD float gray_of(float v) { return gray_of(v, v, v); }

template <class Pixel>
struct OneAsGray {
  using Storage = typename Pixel::Storage;
  static constexpr bool kCanBeNonFinite = Pixel::kCanBeNonFinite;
  IUSCORE_HD float load(Storage v) { return gray_of(Pixel::load(v)); }
};

// Both branches are computed and one is selected, so that loops vectorise; the clamp keeps the other one in range.
IUSCORE_HD float srgb_to_linear(float value) {
  const float curved = pow_2_4(larger((value + 0.055f) * 0.94786730f, 0.0904f));
  return value > 0.04045f ? curved : value * 0.07739938f;
}

IUSCORE_HD float lab_f(float t) {
  const float root = cbrt_in_range(larger(t, 0.008856f));
  return t > 0.008856f ? root : 7.787f * t + 0.13793103f;
}

struct Lab {
  float lightness;  // 0 .. 100
  float a;          // as in OpponentColor
  float b;
};

// r, g, b linear.
IUSCORE_HD Lab lab_of_linear(float lr, float lg, float lb) {
  // Rows of the sRGB to XYZ matrix divided by the white point (0.95047, 1, 1.08883).
  const float fx = lab_f(0.43394636f * lr + 0.37621387f * lg + 0.18982503f * lb);
  const float fy = lab_f(0.212671f * lr + 0.715160f * lg + 0.072169f * lb);
  const float fz = lab_f(0.017756674f * lr + 0.109468879f * lg + 0.872704646f * lb);
  return {116.0f * fy - 16.0f, 500.0f * (fx - fy), 200.0f * (fy - fz)};
}

// r, g, b in [0, 1].
IUSCORE_HD Lab lab_of(float r, float g, float b) {
  return lab_of_linear(srgb_to_linear(r), srgb_to_linear(g), srgb_to_linear(b));
}

IUSCORE_HD OpponentColor opponent_color(float r, float g, float b) {
  const Lab lab = lab_of(r, g, b);
  return {lab.a, lab.b};
}

struct Hsv {
  float hue;         // [0, 1), red at 0; 0 where all channels are equal
  float saturation;  // (max - min) / max; 0 where max is 0
  float value;       // max
};

// Selections instead of branches, so that loops vectorise. If two channels are equally large, both formulas give the
// same hue.
IUSCORE_HD Hsv hsv_of(float r, float g, float b) {
  const float high = larger(larger(r, g), b);
  const float low = smaller(smaller(r, g), b);
  const float spread = high - low;
  const float difference = b == high ? r - g : g == high ? b - r : g - b;
  const float sextant = b == high ? 4.0f : g == high ? 2.0f : 0.0f;
  const float sixth = difference / (spread == 0.0f ? 1.0f : spread) + sextant;
  const float turned = sixth < 0.0f ? sixth + 6.0f : sixth;
  const float hue = turned * (1.0f / 6.0f);
  return {spread == 0.0f || hue >= 1.0f ? 0.0f : hue, spread / (high == 0.0f ? 1.0f : high), high};
}

}  // namespace iuscore
