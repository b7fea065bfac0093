// IEEE binary16 and bfloat16 <-> float, in integer arithmetic so that host and device agree in every bit.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/macros.h"

namespace iuscore {

IUSCORE_HD std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

IUSCORE_HD float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

IUSCORE_HD float bf16_to_float(std::uint16_t half) { return float_of(std::uint32_t{half} << 16); }

IUSCORE_HD float f16_to_float(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16;
  const std::uint32_t magnitude = half & 0x7fffu;
  // Scaling by 2^112 moves the exponent bias from 15 to 127 and makes binary16's subnormals normal.
  const float scaled = float_of(magnitude << 13) * 5.192296858534828e+33f;
  const std::uint32_t finite = bits_of(scaled);
  const std::uint32_t special = 0x7f800000u | (magnitude << 13);
  return float_of(sign | (magnitude >= 0x7c00u ? special : finite));
}

// Round to nearest even; NaN stays NaN.
IUSCORE_HD std::uint16_t float_to_bf16(float value) {
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0u;
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

IUSCORE_HD std::uint16_t float_to_f16(float value) {
  const std::uint32_t bits = bits_of(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x38800000u) {
    // Adding 0.5 leaves the subnormal's mantissa, correctly rounded, in the low bits of the sum.
    const std::uint32_t sum = bits_of(float_of(magnitude) + 0.5f);
    return static_cast<std::uint16_t>(sign | (sum - 0x3f000000u));
  }
  const std::uint32_t rounded = magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | (rounded >> 13));
}

}  // namespace iuscore
