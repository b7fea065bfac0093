// Stored pixels as values of the unit scale: integers over their largest value, floating types as they are.
#pragma once

#include "core/half.h"
#include "core/macros.h"

namespace iuscore {

// Products, not quotients: on a GPU, PyTorch divides by a constant with a product, and the bits must be equal. 255 and
// 65535 give exactly 1.
struct UnitU8 {
  using Storage = std::uint8_t;
  static constexpr bool kCanBeNonFinite = false;
  IUSCORE_HD float load(Storage v) { return static_cast<float>(v) * (1.0f / 255.0f); }
};
struct UnitU16 {
  using Storage = std::uint16_t;
  static constexpr bool kCanBeNonFinite = false;
  IUSCORE_HD float load(Storage v) { return static_cast<float>(v) * (1.0f / 65535.0f); }
};
struct UnitF16 {
  using Storage = std::uint16_t;
  static constexpr bool kCanBeNonFinite = true;
  IUSCORE_HD float load(Storage v) { return f16_to_float(v); }
};
struct UnitBF16 {
  using Storage = std::uint16_t;
  static constexpr bool kCanBeNonFinite = true;
  IUSCORE_HD float load(Storage v) { return bf16_to_float(v); }
};
struct UnitF32 {
  using Storage = float;
  static constexpr bool kCanBeNonFinite = true;
  IUSCORE_HD float load(Storage v) { return v; }
};

// Integers as they are.
struct RawU8 {
  using Storage = std::uint8_t;
  static constexpr bool kCanBeNonFinite = false;
  IUSCORE_HD float load(Storage v) { return static_cast<float>(v); }
};
struct RawU16 {
  using Storage = std::uint16_t;
  static constexpr bool kCanBeNonFinite = false;
  IUSCORE_HD float load(Storage v) { return static_cast<float>(v); }
};

IUSCORE_HD bool is_finite(float value) { return (bits_of(value) & 0x7f800000u) != 0x7f800000u; }

}  // namespace iuscore
