// One value of the op `resize`, in whole numbers: the same on every back end.
#pragma once

#include <cstdint>

#include "core/macros.h"

namespace iuscore {

// Before a sum of bytes times weights with `shift` fraction bits: one half, so that the shift rounds.
IUSCORE_HD std::int32_t resize_half(std::int32_t shift) { return std::int32_t{1} << (shift - 1); }

// Of a sum that began with resize_half. Weights of one output add up to 2^shift in all and to less than twice that in
// magnitude, and shift is at most 22, so no sum leaves 32 bits.
IUSCORE_HD std::uint8_t resize_byte(std::int32_t sum, std::int32_t shift) {
  const std::int32_t value = sum >> shift;
  return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

}  // namespace iuscore
