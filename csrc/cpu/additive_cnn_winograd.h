// 3x3 convolutions of 4x4 outputs with 36 instead of 144 multiplications a pair of channels: Winograd, "Arithmetic
// Complexity of Computations", 1980, on tiles as in Lavin and Gray, CVPR 2016. The points are 0, +-3/4, +-3/2 and
// infinity: on random numbers the rounding errors of a layer are 2 to 3 times those of the plain sum, with the usual
// 0, +-1, +-2 they are 4 to 5 times; how points matter: Barabasz et al., ACM TOMS 46(4), 2020. The same numbers stand
// where the kernels are packed (python/iuscore/ops/_native/additive_cnn_pack.py).
#pragma once

#include "cpu/lanes.h"

namespace iuscore::IUSCORE_ISA {
namespace {

constexpr float kA = 0.75f;  // the points, their powers and products are exact
constexpr float kB = 1.5f;
constexpr float kA2 = kA * kA;
constexpr float kB2 = kB * kB;

IUSCORE_HD Lanes times_add(float factor, Lanes v, Lanes sum) { return multiply_add(in_all_lanes(factor), v, sum); }

IUSCORE_HD Lanes times(float factor, Lanes v) { return multiply(in_all_lanes(factor), v); }

// Six numbers in a row, `step` apart, by the transposed matrix B.
IUSCORE_HD void transform_patch(const float* d, std::int64_t step, Lanes (&v)[6]) {
  const Lanes d0 = load(d), d1 = load(d + step), d2 = load(d + 2 * step);
  const Lanes d3 = load(d + 3 * step), d4 = load(d + 4 * step), d5 = load(d + 5 * step);
  const Lanes even_a = times_add(-kB2, d2, d4), odd_a = times_add(-kB2, d1, d3);
  const Lanes even_b = times_add(-kA2, d2, d4), odd_b = times_add(-kA2, d1, d3);
  v[0] = times_add(kA2 * kB2, d0, times_add(-(kA2 + kB2), d2, d4));
  v[1] = times_add(kA, odd_a, even_a);
  v[2] = times_add(-kA, odd_a, even_a);
  v[3] = times_add(kB, odd_b, even_b);
  v[4] = times_add(-kB, odd_b, even_b);
  v[5] = times_add(kA2 * kB2, d1, times_add(-(kA2 + kB2), d3, d5));
}

// Six products to four sums, by the transposed matrix A.
IUSCORE_HD void transform_products(const float* m, std::int64_t step, Lanes (&y)[4]) {
  const Lanes m1 = load(m + step), m2 = load(m + 2 * step), m3 = load(m + 3 * step), m4 = load(m + 4 * step);
  const Lanes even_a = add(m1, m2), odd_a = times(kA, subtract(m1, m2));
  const Lanes even_b = add(m3, m4), odd_b = times(kB, subtract(m3, m4));
  y[0] = add(load(m), add(even_a, even_b));
  y[1] = add(odd_a, odd_b);
  y[2] = times_add(kA2, even_a, times(kB2, even_b));
  y[3] = times_add(kA2, odd_a, times_add(kB2, odd_b, load(m + 5 * step)));
}

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
