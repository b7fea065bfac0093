// The row filters of PNG (ISO/IEC 15948, 9.2 and 9.4), undone byte by byte.
#pragma once

#include "core/macros.h"

namespace iuscore {

// Of left a, above b and upper left c the one nearest to a + b - c; a before b before c where they tie.
IUSCORE_HD int png_paeth(int a, int b, int c) {
  const int from_a = b - c < 0 ? c - b : b - c;
  const int from_b = a - c < 0 ? c - a : a - c;
  const int sum = a + b - 2 * c;
  const int from_c = sum < 0 ? -sum : sum;
  const int nearer = from_b <= from_c ? b : c;
  return from_a <= from_b && from_a <= from_c ? a : nearer;
}

}  // namespace iuscore
