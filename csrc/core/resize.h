// One value of the op `resize`, in integers: the same on every back end.
#pragma once

#include <cstdint>

#include "core/macros.h"

namespace iuscore {

// The start of a sum of bytes times weights with `shift` fraction bits: one half, so that the shift rounds.
IUSCORE_HD std::int32_t resize_half(std::int32_t shift) { return std::int32_t{1} << (shift - 1); }

// The byte of a sum that began with resize_half(). The weights of an output add up to 2^shift, and their magnitudes to
// less than twice that; shift is at most 22: so every sum fits 32 bits.
IUSCORE_HD std::uint8_t resize_byte(std::int32_t sum, std::int32_t shift) {
  const std::int32_t value = sum >> shift;
  return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

}  // namespace iuscore
