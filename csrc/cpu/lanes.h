// One vector register of floats, as wide as the instruction set's. Only for files that are compiled for each
// instruction set. Intrinsics, because plain C++ has no vector multiply-add that the compiler must keep fused; the
// scalar form at the end gives the same bits.
#pragma once

#include "core/mlp.h"

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#endif

#if defined(__clang__)
#define IUSCORE_UNROLLED _Pragma("unroll")
#else
#define IUSCORE_UNROLLED _Pragma("GCC unroll 16")
#endif

namespace iuscore::IUSCORE_ISA {

#if defined(__AVX512F__)

constexpr int kLanes = 16;
using Lanes = __m512;
IUSCORE_HD Lanes load(const float* p) { return _mm512_loadu_ps(p); }
IUSCORE_HD void store(float* p, Lanes v) { _mm512_storeu_ps(p, v); }
IUSCORE_HD Lanes in_all_lanes(float value) { return _mm512_set1_ps(value); }
IUSCORE_HD Lanes add(Lanes a, Lanes b) { return _mm512_add_ps(a, b); }
IUSCORE_HD Lanes subtract(Lanes a, Lanes b) { return _mm512_sub_ps(a, b); }
IUSCORE_HD Lanes multiply(Lanes a, Lanes b) { return _mm512_mul_ps(a, b); }
IUSCORE_HD Lanes larger(Lanes a, Lanes b) { return _mm512_maskz_max_ps(0xffff, a, b); }
IUSCORE_HD Lanes multiply_add(Lanes a, Lanes b, Lanes sum) { return _mm512_fmadd_ps(a, b, sum); }
// As relu() of core/mlp.h: the instruction gives the second operand if one is NaN or both are zero.
// (Without the mask g++ 12 warns about an uninitialized register.)
IUSCORE_HD Lanes relu(Lanes z) { return _mm512_maskz_max_ps(0xffff, _mm512_setzero_ps(), z); }
IUSCORE_HD Lanes relu_gradient(Lanes h, Lanes gradient) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(h, _mm512_setzero_ps(), _CMP_NLE_UQ), gradient);
}

#elif defined(__AVX2__) && defined(__FMA__)

constexpr int kLanes = 8;
using Lanes = __m256;
IUSCORE_HD Lanes load(const float* p) { return _mm256_loadu_ps(p); }
IUSCORE_HD void store(float* p, Lanes v) { _mm256_storeu_ps(p, v); }
IUSCORE_HD Lanes in_all_lanes(float value) { return _mm256_set1_ps(value); }
IUSCORE_HD Lanes add(Lanes a, Lanes b) { return _mm256_add_ps(a, b); }
IUSCORE_HD Lanes subtract(Lanes a, Lanes b) { return _mm256_sub_ps(a, b); }
IUSCORE_HD Lanes multiply(Lanes a, Lanes b) { return _mm256_mul_ps(a, b); }
IUSCORE_HD Lanes larger(Lanes a, Lanes b) { return _mm256_max_ps(a, b); }
IUSCORE_HD Lanes multiply_add(Lanes a, Lanes b, Lanes sum) { return _mm256_fmadd_ps(a, b, sum); }
IUSCORE_HD Lanes relu(Lanes z) { return _mm256_max_ps(_mm256_setzero_ps(), z); }
IUSCORE_HD Lanes relu_gradient(Lanes h, Lanes gradient) {
  return _mm256_and_ps(_mm256_cmp_ps(h, _mm256_setzero_ps(), _CMP_NLE_UQ), gradient);
}

#else

constexpr int kLanes = 4;
struct Lanes {
  float lane[kLanes];
};
IUSCORE_HD Lanes load(const float* p) { return {{p[0], p[1], p[2], p[3]}}; }
IUSCORE_HD void store(float* p, Lanes v) {
  for (int i = 0; i < kLanes; ++i) p[i] = v.lane[i];
}
IUSCORE_HD Lanes in_all_lanes(float value) { return {{value, value, value, value}}; }
IUSCORE_HD Lanes add(Lanes a, Lanes b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] += b.lane[i];
  return a;
}
IUSCORE_HD Lanes subtract(Lanes a, Lanes b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] -= b.lane[i];
  return a;
}
IUSCORE_HD Lanes multiply(Lanes a, Lanes b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] *= b.lane[i];
  return a;
}
// If one operand is NaN the second one, as the instructions do.
IUSCORE_HD Lanes larger(Lanes a, Lanes b) {
  for (int i = 0; i < kLanes; ++i) a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
  return a;
}
IUSCORE_HD Lanes multiply_add(Lanes a, Lanes b, Lanes sum) {
  for (int i = 0; i < kLanes; ++i) sum.lane[i] = iuscore::multiply_add(a.lane[i], b.lane[i], sum.lane[i]);
  return sum;
}
IUSCORE_HD Lanes relu(Lanes z) {
  for (int i = 0; i < kLanes; ++i) z.lane[i] = iuscore::relu(z.lane[i]);
  return z;
}
IUSCORE_HD Lanes relu_gradient(Lanes h, Lanes gradient) {
  for (int i = 0; i < kLanes; ++i) gradient.lane[i] = iuscore::relu_gradient(h.lane[i], gradient.lane[i]);
  return gradient;
}

#endif

}  // namespace iuscore::IUSCORE_ISA
