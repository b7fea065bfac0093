// Rows of raw values to gray levels. Included by files that are compiled for each instruction set only.
#pragma once

#include <cstring>

#include "core/quantize.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// Of a guess that gives every level right.
void guessed_row(const float* __restrict values, std::int64_t width, const Quantizer& by,
                 std::uint8_t* __restrict levels) {
  const float low = by.low;
  const float scale = by.scale;
  const float top = by.top;
  for (std::int64_t x = 0; x < width; ++x)
    levels[x] = static_cast<std::uint8_t>(level_at((values[x] - low) * scale, top));
}

void exact_row(const float* __restrict values, std::int64_t width, const Quantizer& by,
               std::uint8_t* __restrict levels) {
  const double low = by.exact_low;
  const double factor = by.factor;
  const double divisor = by.divisor;
  const float top = by.top;
  for (std::int64_t x = 0; x < width; ++x)
    levels[x] = static_cast<std::uint8_t>(level_at(factor * (static_cast<double>(values[x]) - low) / divisor, top));
}

struct Integers {
  std::int32_t least;
  std::int32_t most;
};

template <class Pixel>
constexpr Integers kIntegers = {Pixel::kCanBeNonFinite ? -65535 : 0,
                                sizeof(typename Pixel::Storage) == 1 ? 255 : 65535};

struct RowQuantizer {
  Quantizer by;
  bool has_integer_guess;
  Quantizer integer_guess;  // gives every level of kIntegers right
};

// A guess that is a little too large may give every level of integers right, edges included. Neither guesses nor levels
// ever decrease, so the first integer of each level and the one before it show whether it does.
template <class Pixel>
RowQuantizer row_quantizer(const Quantizer by) {
  constexpr Integers all = kIntegers<Pixel>;
  RowQuantizer row{by, false, by};
  if (by.doubt == 0.0f) return row;
  Quantizer& guess = row.integer_guess;
  guess.scale = by.scale * (1.0f + 2.384185791015625e-7f);  // by more than all its roundings
  guess.doubt = guess.offset_doubt = 0.0f;
  const double end = all.most + 1.0;
  const double step = by.divisor / by.factor;
  const auto top = static_cast<std::int32_t>(by.top);
  std::int32_t worst = 0;
  for (std::int32_t level = 1; level <= top; ++level) {
    const double edge = by.exact_low + level * step;
    const double inside = edge > all.least ? (edge < end ? edge : end) : all.least;
    const auto cut = static_cast<std::int32_t>(inside);
    const std::int32_t first = cut + (static_cast<double>(cut) < inside ? 1 : 0);
    const std::int32_t here = exact_level_of(static_cast<float>(first), by);
    const std::int32_t before = exact_level_of(static_cast<float>(first - 1), by);
    const std::int32_t guessed = level_at(guess_of(static_cast<float>(first), guess), by.top);
    const std::int32_t guessed_before = level_at(guess_of(static_cast<float>(first - 1), guess), by.top);
    const std::int32_t low_one = here < guessed ? here : guessed;
    const std::int32_t high_one = before > guessed_before ? before : guessed_before;
    const std::int32_t missing = first <= all.most ? level - low_one : 0;
    const std::int32_t early = first > all.least ? high_one - level + 1 : 0;
    const std::int32_t more = missing > early ? missing : early;
    worst = more > worst ? more : worst;
  }
  row.has_integer_guess = worst == 0;
  return row;
}

constexpr std::int64_t kTogether = 64;  // values whose guesses are looked at together

bool are_integers(const float* values) {
  std::int32_t others = 0;
  for (std::int64_t k = 0; k < kTogether; ++k) {
    const float value = values[k];
    const float inside = smaller(larger(value, -65535.0f), 65535.0f);
    others |= static_cast<float>(static_cast<std::int32_t>(inside)) == value ? 0 : 1;
  }
  return others == 0;
}

// kTogether levels.
void level_block(const float* __restrict values, const RowQuantizer& row, std::uint8_t* __restrict levels) {
  const Quantizer by = row.by;  // a copy: what is written could be the quantizer for all a compiler knows
  std::uint8_t most[kTogether];
  for (std::int64_t k = 0; k < kTogether; ++k) {
    const LevelEnds ends = guessed_levels(values[k], by);
    levels[k] = static_cast<std::uint8_t>(ends.least);
    most[k] = static_cast<std::uint8_t>(ends.most);
  }
  if (std::memcmp(levels, most, kTogether) == 0) return;
  if (row.has_integer_guess && are_integers(values))
    guessed_row(values, kTogether, row.integer_guess, levels);
  else
    exact_row(values, kTogether, by, levels);
}

template <class Pixel>
void level_row(const float* __restrict values, std::int64_t width, const RowQuantizer& row,
               std::uint8_t* __restrict levels) {
  if (row.by.doubt == 0.0f && row.by.offset_doubt == 0.0f) return guessed_row(values, width, row.by, levels);
  if (!Pixel::kCanBeNonFinite && row.has_integer_guess) return guessed_row(values, width, row.integer_guess, levels);
  if (width < kTogether) {
    for (std::int64_t x = 0; x < width; ++x) levels[x] = static_cast<std::uint8_t>(level_of(values[x], row.by));
    return;
  }
  std::int64_t x = 0;
  for (; x + kTogether <= width; x += kTogether) level_block(values + x, row, levels + x);
  if (x < width) level_block(values + width - kTogether, row, levels + width - kTogether);
}

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
