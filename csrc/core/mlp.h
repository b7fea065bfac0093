// Arithmetic of networks. A sum of products begins with a start value, and adds its terms in ascending order with one
// fused multiply-add each: one rounding for each term, on every processor.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/half.h"
#include "core/macros.h"

namespace iuscore {

// Gradients of weights are sums over chunks of this many rows; then the sums of the chunks are added in order. The
// number is fixed, so that gradients depend neither on the number of threads nor on the device.
constexpr std::int32_t kGradientRows = 512;

IUSCORE_HD float multiply_add(float a, float b, float sum) {
#if defined(__CUDACC__)
  return fmaf(a, b, sum);
#else
  return __builtin_fmaf(a, b, sum);
#endif
}

// NaN stays NaN, -0 stays -0.
IUSCORE_HD float relu(float z) { return 0.0f > z ? 0.0f : z; }

// The gradient before a ReLU, from that after it; h: output of the ReLU. If h is NaN the gradient stays.
IUSCORE_HD float relu_gradient(float h, float gradient) { return h <= 0.0f ? 0.0f : gradient; }

// The same NaN everywhere: processors differ in the bits of the NaN that they make.
IUSCORE_HD float canonical_nan(float value) { return value != value ? float_of(0x7fc00000u) : value; }

}  // namespace iuscore
