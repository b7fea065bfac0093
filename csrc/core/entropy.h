// Entropies of counts, as sums of integers: the order of the sums does not matter, and host and device give the same
// bits. Logarithm and exponential use only +, -, *, / of doubles, which every processor rounds correctly.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/macros.h"

namespace iuscore {

constexpr double kLn2 = 0.69314718055994530942;

IUSCORE_HD std::uint64_t bits_of_double(double value) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

IUSCORE_HD double double_of_bits(std::uint64_t bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// 2^exponent for -1022 <= exponent <= 1023.
IUSCORE_HD double power_of_two(std::int32_t exponent) {
  return double_of_bits(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

// log2 of a normal x > 0; exact for powers of two, else the error is a few 2^-53. With x = m 2^e, m in [1/sqrt 2, sqrt
// 2) and z = (m - 1) / (m + 1): log2 m = 2 / ln 2 (z + z^3/3 + z^5/5 + ...), |z| < 0.1716.
IUSCORE_HD double log2_of(double x) {
  const std::uint64_t bits = bits_of_double(x);
  auto exponent = static_cast<std::int32_t>(bits >> 52) - 1023;
  double m = double_of_bits((bits & 0x000fffffffffffffu) | 0x3ff0000000000000u);
  const bool upper = m > 1.4142135623730951;
  m = upper ? 0.5 * m : m;
  exponent = upper ? exponent + 1 : exponent;
  const double z = (m - 1.0) / (m + 1.0);
  const double y = z * z;
  double series = 1.0 / 21.0;
  series = series * y + 1.0 / 19.0;
  series = series * y + 1.0 / 17.0;
  series = series * y + 1.0 / 15.0;
  series = series * y + 1.0 / 13.0;
  series = series * y + 1.0 / 11.0;
  series = series * y + 1.0 / 9.0;
  series = series * y + 1.0 / 7.0;
  series = series * y + 1.0 / 5.0;
  series = series * y + 1.0 / 3.0;
  series = series * y + 1.0;
  return static_cast<double>(exponent) + (2.0 / kLn2) * (z * series);
}

// 1 - exp(-x) for x >= 0, with a relative error of a few 2^-53 near 0. x = k ln 2 + r, |r| <= ln 2 / 2, and the Taylor
// series of exp(-r) - 1 to the power 14.
IUSCORE_HD double one_minus_exp(double x) {
  if (!(x < 40.0)) return 1.0;  // exp(-40) is below half a unit in the last place
  const auto k = static_cast<std::int32_t>(x * (1.0 / kLn2) + 0.5);
  // ln 2 in two parts, the first of which times k is exact.
  const double r = (static_cast<double>(k) * 1.90821492927058770002e-10 - (x - k * 6.93147180369123816490e-01));
  double series = 1.0 / 14.0;
  for (std::int32_t n = 13; n >= 1; --n) series = (1.0 + r * series) / static_cast<double>(n);
  const double grown = r * series;  // exp(r) - 1, where r is minus the remainder
  const double scale = power_of_two(-k);
  return (1.0 - scale) - scale * grown;
}

// Fraction bits of entropy_term for counts whose sum is at most `total` (< 2^32): a sum of c log2 c is at most
// total log2(total) < 2^5 * 2^bits, so a sum of terms stays below 2^63 but for their roundings.
IUSCORE_HD std::int32_t entropy_shift(std::uint64_t total) {
  std::int32_t bits = 0;
  while (bits < 33 && (total >> bits) != 0) ++bits;
  return 58 - bits;
}

// t = count log2(count) 2^shift, rounded. Powers of two are exact. Of the others, at most total / 3, each is off by at
// most 1 for the step to an integer (1/2 where t < 2^52) and t (2 + 4 / log2(count)) 2^-53 for the roundings of log2_of
// and of the product. So an entropy is off by at most 2^-shift / 3 + (2 log2(total) + 4) 2^-53 for its terms.
IUSCORE_HD std::uint64_t entropy_term(std::uint32_t count, std::int32_t shift) {
  if (count < 2) return 0;
  const auto c = static_cast<double>(count);
  return static_cast<std::uint64_t>(c * log2_of(c) * power_of_two(shift) + 0.5);
}

// more + log2(total) - sum c log2 c / total: the entropy in bits of counts c that add up to total >= 1. terms: the sum
// of their entropy_term. Counts 1 and total - 1 have the smallest entropy that is not 0: at least (log2(total) + 1) /
// total, and more than 16.2 / 2^30 for totals up to 2^31. A result below 16 / 2^30 is a rounding error, and becomes 0.
IUSCORE_HD double entropy_of(std::uint64_t total, std::uint64_t terms, std::int32_t shift, double more) {
  const auto n = static_cast<double>(total);
  const double entropy = more + (log2_of(n) - static_cast<double>(terms) * power_of_two(-shift) / n);
  return entropy > 1.4901161193847656e-8 ? entropy : 0.0;
}

}  // namespace iuscore
