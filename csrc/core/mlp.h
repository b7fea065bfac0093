// The additive model's arithmetic. A sum of products starts from its start value and takes its terms one by one, in
// ascending order, each by one fused multiplication and addition: one rounding a term, wherever it is computed.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/half.h"
#include "core/macros.h"

namespace iuscore {

// Rows whose products are summed before the sum is added to the sum of the rows before: fixed, so that gradients of
// weights depend neither on the number of threads nor on the device.
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

// What a ReLU lets through of a gradient; h is its output. A NaN there lets all through.
IUSCORE_HD float relu_gradient(float h, float gradient) { return h <= 0.0f ? 0.0f : gradient; }

// Processors differ in the bits of the NaN they make.
IUSCORE_HD float canonical_nan(float value) { return value != value ? float_of(0x7fc00000u) : value; }

}  // namespace iuscore
