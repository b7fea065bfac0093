// The two maps that depend on neighboring pixels: Gaussian and Sobel magnitude.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/macros.h"

namespace iuscore {

constexpr int kGaussianRadius = 3;

// Gaussian of sigma 3 over seven samples in ascending order; taps exp(-k^2 / 18) / sum.
IUSCORE_HD float gaussian_7(float p0, float p1, float p2, float p3, float p4, float p5, float p6) {
  float sum = 0.10628852f * p0;
  sum += 0.14032133f * p1;
  sum += 0.16577007f * p2;
  sum += 0.17524014f * p3;
  sum += 0.16577007f * p4;
  sum += 0.14032133f * p5;
  sum += 0.10628852f * p6;
  return sum;
}

// Reflected border, without repeating the edge pixel: -1 -> 1, n -> n - 2. index: -n < index < 2 n - 1.
IUSCORE_HD std::int32_t reflect(std::int32_t index, std::int32_t n) {
  if (index < 0) return -index;
  return index < n ? index : 2 * n - 2 - index;
}

IUSCORE_HD std::int32_t replicate(std::int32_t index, std::int32_t n) {
  return index < 0 ? 0 : (index < n ? index : n - 1);
}

// Gradient magnitude from the 3x3 neighbourhood: Sobel kernels divided by 8, 1e-6 under the root (kornia's `sobel`).
// n, c, s: the rows above, of and below the pixel, already at the pixel's column; w, e: offsets to its left and right.
IUSCORE_HD float sobel_magnitude(const float* n, const float* c, const float* s, std::int32_t w, std::int32_t e) {
  const float gx = ((n[e] - n[w]) + 2.0f * (c[e] - c[w]) + (s[e] - s[w])) * 0.125f;
  const float gy = ((s[w] - n[w]) + 2.0f * (s[0] - n[0]) + (s[e] - n[e])) * 0.125f;
  return sqrtf(gx * gx + gy * gy + 1e-6f);
}

}  // namespace iuscore
