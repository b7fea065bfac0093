// The smallest and the largest of many values; the same in any order.
#pragma once

#include <cmath>

#include "core/macros.h"

namespace iuscore {

IUSCORE_HD float smaller(float x, float y) { return x < y ? x : y; }
IUSCORE_HD float larger(float x, float y) { return x > y ? x : y; }

// No default values for the members: the constructor they imply would have external linkage (core/macros.h).
struct Range {
  float low;
  float high;
};

IUSCORE_HD Range empty_range() { return {INFINITY, -INFINITY}; }

IUSCORE_HD void widen(Range& range, float low, float high) {
  range.low = smaller(low, range.low);
  range.high = larger(high, range.high);
}

IUSCORE_HD void widen(Range& range, float value) { widen(range, value, value); }

// Replaces each range by that of all three together.
IUSCORE_HD void merge(Range (&ranges)[3]) {
  for (int c = 1; c < 3; ++c) widen(ranges[0], ranges[c].low, ranges[c].high);
  ranges[1] = ranges[2] = ranges[0];
}

}  // namespace iuscore
