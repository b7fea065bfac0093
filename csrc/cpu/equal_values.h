// Included by files that are compiled for each instruction set only.
#pragma once

#include <cstdint>

#include "core/macros.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// Whether eight values are equal, as in a black border.
IUSCORE_HD bool eight_are_equal(const std::uint16_t* values) {
  std::uint64_t first;
  std::uint64_t second;
  __builtin_memcpy(&first, values, sizeof first);
  __builtin_memcpy(&second, values + 4, sizeof second);
  return first == second && first == (first << 16 | first >> 48);
}

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
