// Cube root and the power 2.4 on the narrow ranges CIELab needs, in multiplications and additions only: the same bits
// on every CPU zone and on the device, and a loop over them vectorises.
#pragma once

#include <cstdint>

#include "core/half.h"
#include "core/macros.h"

namespace iuscore {

// x^(-1/3) for x in [2^-7, 4]: a linear guess on the exponent bits, then Newton's r <- r (4 - x r^3) / 3. The last step
// is in residual form, which keeps the rounding of the result near one ulp.
IUSCORE_HD float inverse_cbrt(float x) {
  float r = float_of(0x54a22aaau - bits_of(x) / 3u);
  r = r * (1.3333334f - 0.33333334f * (x * r) * (r * r));
  r = r * (1.3333334f - 0.33333334f * (x * r) * (r * r));
  return r + r * (0.33333334f * (1.0f - (x * r) * (r * r)));
}

// Cube root for x in [2^-7, 4], one Newton step y - (y^3 - x) / (3 y^2) after x r^2. Relative error
// at most 1.5 x 2^-24.
IUSCORE_HD float cbrt_narrow(float x) {
  const float r = inverse_cbrt(x);
  const float r2 = r * r;
  const float y = x * r2;
  return y - (y * y * y - x) * (0.33333334f * r2);
}

// x^2.4 for x in [2^-4, 4] as (x x^(-1/5))^3, r <- r (6 - x r^5) / 5. Relative error at most 8.3 x 2^-24.
IUSCORE_HD float pow_2_4(float x) {
  float r = float_of(0x4c2bb333u - bits_of(x) / 5u);
  for (int step = 0; step < 2; ++step) {
    const float r2 = r * r;
    r = r * (1.2f - 0.2f * (x * r) * (r2 * r2));
  }
  const float r2 = r * r;
  r = r + r * (0.2f * (1.0f - (x * r) * (r2 * r2)));
  const float p = x * r;
  return p * p * p;
}

}  // namespace iuscore
