// A function of one variable as a table of values at evenly spaced knots, linear between them. Without fused
// operations, which PyTorch does not have: so PyTorch gives the same bits.
#pragma once

#include <cstdint>

#include "core/half.h"
#include "core/macros.h"

namespace iuscore {

struct TablePlace {
  std::int32_t cell;  // between knots cell and cell + 1
  float part;         // how far between the two knots, in [0, 1]
};

// x outside the table is moved to its nearest end; for NaN any valid cell. scale: knots per unit of x; last: number of
// the last knot, >= 1.
IUSCORE_HD TablePlace table_place(float x, float low, float scale, std::int32_t last) {
  const auto end = static_cast<float>(last);
  const float at = (x - low) * scale;
  const float inside = at > 0.0f ? (at < end ? at : end) : 0.0f;
  const auto knot = static_cast<std::int32_t>(inside);
  const std::int32_t cell = knot < last ? knot : last - 1;
  return {cell, inside - static_cast<float>(cell)};
}

IUSCORE_HD float table_value(float x, float left, float right, float part) {
  const float value = left + part * (right - left);
  return x == x ? value : float_of(0x7fc00000u);
}

}  // namespace iuscore
