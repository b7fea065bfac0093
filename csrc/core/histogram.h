// The bin of a value. Bins are [edge[i], edge[i + 1]), the last one closed, with equally spaced float64
// edges. `edges` holds, for i < bins, the smallest float32 >= edge i, and at `bins` the smallest float32 > the last
// edge: then edges[i] <= v < edges[i + 1] says of every float32 v exactly what the float64 edges say.
#pragma once

#include "core/color.h"
#include "core/half.h"
#include "core/macros.h"
#include "core/range.h"

namespace iuscore {

constexpr std::int32_t kMaxBins = 1024;       // of a channel
constexpr std::int32_t kMaxJointBins = 32;    // of a channel of a joint histogram
constexpr std::int32_t kOutOfRangeSlots = 3;  // below, above, not a number

// The slot in which a value is counted: its bin, or one of four slots that follow the bins. In a joint histogram a
// pixel with channels out of range is counted in the last of their slots, in this order.
enum ExtraSlot : std::int32_t { kBelow, kAbove, kNotANumber, kMasked, kExtraSlots };

struct BinAxis {
  const float* edges;  // [bins + 1]
  float low;
  float scale;  // bins per unit
  std::int32_t bins;
  bool close;  // whether guessed_bin() is never more than one bin off
};

// Monotonic in v; 0 for NaN.
IUSCORE_HD std::int32_t guessed_bin(float v, const BinAxis& axis) {
  const float x = larger((v - axis.low) * axis.scale, 0.0f);
  return static_cast<std::int32_t>(smaller(x, static_cast<float>(axis.bins - 1)));
}

IUSCORE_HD std::int32_t searched_bin(float v, const BinAxis& axis) {
  std::int32_t low = -1;
  std::int32_t high = axis.bins + 1;
  while (high - low > 1) {
    const std::int32_t middle = (low + high) / 2;
    (v >= axis.edges[middle] ? low : high) = middle;
  }
  return low;
}

// bin: -1 (below) .. bins (above).
IUSCORE_HD std::int32_t slot_of_bin(std::int32_t bin, float v, std::int32_t bins) {
  const std::int32_t inside = bin < 0 ? bins + kBelow : bin == bins ? bins + kAbove : bin;
  return v != v ? bins + kNotANumber : inside;
}

template <bool kClose>
IUSCORE_HD std::int32_t slot_of(float v, const BinAxis& axis) {
  std::int32_t bin;
  if (kClose) {
    const std::int32_t guess = guessed_bin(v, axis);
    bin = guess + static_cast<std::int32_t>(v >= axis.edges[guess + 1]) -
          static_cast<std::int32_t>(v < axis.edges[guess]);
  } else {
    bin = searched_bin(v, axis);
  }
  return slot_of_bin(bin, v, axis.bins);
}

IUSCORE_HD std::int32_t slot_of(float v, const BinAxis& axis) {
  return axis.close ? slot_of<true>(v, axis) : slot_of<false>(v, axis);
}

IUSCORE_HD float next_below(float v) {
  const std::uint32_t bits = bits_of(v);
  return v == 0.0f ? float_of(0x80000001u) : float_of(v > 0.0f ? bits - 1u : bits + 1u);
}

// Tries both ends of each bin; in between the guess is monotonic.
IUSCORE_HD bool guesses_are_close(const BinAxis& axis) {
  for (std::int32_t i = -1; i <= axis.bins; ++i) {
    const bool has_first = i >= 0;
    const bool has_last = i < axis.bins && axis.edges[i + 1] > -INFINITY;
    if (has_first && has_last && !(axis.edges[i] < axis.edges[i + 1])) continue;  // an empty bin
    if (has_first && guessed_bin(axis.edges[i], axis) < i - 1) return false;
    if (has_last && guessed_bin(next_below(axis.edges[i + 1]), axis) > i + 1) return false;
  }
  return true;
}

IUSCORE_HD BinAxis bin_axis(const float* edges, std::int32_t bins) {
  const float low = edges[0];
  BinAxis axis{edges, low, static_cast<float>(bins) / (edges[bins] - low), bins, false};
  axis.close = guesses_are_close(axis);
  return axis;
}

// Clamped to [0, 1]; NaN becomes 1.
IUSCORE_HD float clamped_unit(float v) { return larger(smaller(v, 1.0f), 0.0f); }

// Gray of three integers, rounded to nearest, halves up.
IUSCORE_HD float rounded_gray(float r, float g, float b) {
  return static_cast<float>(static_cast<std::int32_t>(gray_of(r, g, b) + 0.5f));
}

// The cell of a joint histogram, or a slot that follows the cells, from the slots of three channels.
IUSCORE_HD std::int32_t joint_slot(const std::int32_t (&slots)[3], const std::int32_t (&bins)[3]) {
  std::int32_t out_of_range = slots[0] - bins[0];
  for (int c = 1; c < 3; ++c) out_of_range = slots[c] - bins[c] > out_of_range ? slots[c] - bins[c] : out_of_range;
  const std::int32_t cell = (slots[0] * bins[1] + slots[1]) * bins[2] + slots[2];
  return out_of_range >= 0 ? bins[0] * bins[1] * bins[2] + out_of_range : cell;
}

// In a joint histogram of bytes each channel has a key, and the sum of three keys gives the slot: the cell if all are
// in range. Up to three times kKeyBelow, and up to three times kKeyAbove, can be in the sum without overlap.
constexpr std::uint32_t kKeyBelow = 1u << 16;
constexpr std::uint32_t kKeyAbove = 1u << 18;

// stride: cells from one bin of the channel to the next.
IUSCORE_HD std::uint32_t key_of_slot(std::int32_t slot, std::int32_t bins, std::int32_t stride) {
  return slot < bins ? static_cast<std::uint32_t>(slot * stride) : slot == bins + kBelow ? kKeyBelow : kKeyAbove;
}

IUSCORE_HD std::uint32_t slot_of_key(std::uint32_t key, std::uint32_t cells) {
  return key < kKeyBelow ? key : cells + (key < kKeyAbove ? kBelow : kAbove);
}

// How many of the bytes 0..255 lie below an edge.
IUSCORE_HD std::int32_t bytes_below(float edge) {
  if (!(edge > 0.0f)) return 0;
  if (edge > 255.0f) return 256;
  const auto whole = static_cast<std::int32_t>(edge);
  return static_cast<float>(whole) < edge ? whole + 1 : whole;
}

}  // namespace iuscore
