// Cube root and the power 2.4 on the narrow ranges CIELab needs, in multiplications and additions only: the same bits
// on every instruction set and on the device, and a loop over them vectorises.
#pragma once

#include <cstdint>

#include "core/half.h"
#include "core/macros.h"

namespace iuscore {

// Cube root for x in [2^-7, 4]: r ~ x^(-1/3) by a linear guess on the exponent bits and two Newton steps
// r <- r (4 - x r^3) / 3, then y = x r^2 and one step y - (y^3 - x) / (3 y^2). Relative error at most 1.62 x 2^-24.
IUSCORE_HD float cbrt_narrow(float x) {
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

}  // namespace iuscore
