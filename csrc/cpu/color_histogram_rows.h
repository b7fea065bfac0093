// Slots of a piece of a row, for any pixel type, color space and stride. Included by color_histogram_isa.cpp alone.
// Every step is a loop over one array, so that it vectorises.
#pragma once

#include "core/color.h"
#include "core/histogram.h"
#include "core/pixel.h"
#include "cpu/color_histogram_isa.h"
#include "cpu/equal_values.h"

namespace iuscore::IUSCORE_ISA {
namespace {

constexpr std::int32_t kPiece = 512;  // pixels at once: all arrays of a piece stay in the first cache

struct Piece {
  std::int32_t n;
  alignas(64) float values[3][kPiece];
  alignas(64) std::uint16_t slots[3][kPiece];
  alignas(64) std::uint8_t usable[kPiece];
};

template <class Pixel>
void load(const typename Pixel::Storage* p, std::int64_t stride, std::int32_t n, float* __restrict__ out) {
  if (stride == 1) {
    for (std::int32_t i = 0; i < n; ++i) out[i] = Pixel::load(p[i]);
  } else if (stride == 3) {
    for (std::int32_t i = 0; i < n; ++i) out[i] = Pixel::load(p[3 * i]);
  } else {
    for (std::int32_t i = 0; i < n; ++i) out[i] = Pixel::load(p[i * stride]);
  }
}

void clamp_to_unit(Piece& piece, bool can_be_non_finite) {
  if (can_be_non_finite)
    for (std::int32_t i = 0; i < piece.n; ++i)
      piece.usable[i] = static_cast<std::uint8_t>(
          int{is_finite(piece.values[0][i])} & int{is_finite(piece.values[1][i])} & int{is_finite(piece.values[2][i])});
  for (float* values : piece.values)
    for (std::int32_t i = 0; i < piece.n; ++i) values[i] = clamped_unit(values[i]);
}

void to_lab(float* __restrict__ r, float* __restrict__ g, float* __restrict__ b, std::int32_t n) {
  for (std::int32_t i = 0; i < n; ++i) {
    const Lab lab = lab_of(r[i], g[i], b[i]);
    r[i] = lab.lightness;
    g[i] = lab.a;
    b[i] = lab.b;
  }
}

void to_hsv(float* __restrict__ r, float* __restrict__ g, float* __restrict__ b, std::int32_t n) {
  for (std::int32_t i = 0; i < n; ++i) {
    const Hsv hsv = hsv_of(r[i], g[i], b[i]);
    r[i] = hsv.hue;
    g[i] = hsv.saturation;
    b[i] = hsv.value;
  }
}

void to_gray(float* __restrict__ r, const float* __restrict__ g, const float* __restrict__ b, std::int32_t n,
             bool rounded) {
  if (rounded) {
    for (std::int32_t i = 0; i < n; ++i) r[i] = rounded_gray(r[i], g[i], b[i]);
  } else {
    for (std::int32_t i = 0; i < n; ++i) r[i] = gray_of(r[i], g[i], b[i]);
  }
}

void find_slots(const float* __restrict__ values, std::int32_t n, const BinAxis& given,
                std::uint16_t* __restrict__ slots) {
  const BinAxis axis = given;
  if (axis.close) {
    for (std::int32_t i = 0; i < n; ++i) slots[i] = static_cast<std::uint16_t>(slot_of<true>(values[i], axis));
  } else {
    for (std::int32_t i = 0; i < n; ++i) slots[i] = static_cast<std::uint16_t>(slot_of<false>(values[i], axis));
  }
}

// Integers of rgb and gray by their table, without arithmetic.
void find_byte_slots(const ColorHistogramJob& job, const std::uint8_t* p, Piece& piece) {
  const ImageView& image = job.image;
  if (job.space == ColorSpace::gray && job.channels == 3) {
    for (int c = 0; c < 3; ++c) load<RawU8>(p + c * image.stride_c, image.stride_w, piece.n, piece.values[c]);
    to_gray(piece.values[0], piece.values[1], piece.values[2], piece.n, true);
    for (std::int32_t i = 0; i < piece.n; ++i)
      piece.slots[0][i] = job.bytes->slots[0][static_cast<std::int32_t>(piece.values[0][i])];
    return;
  }
  for (int c = 0; c < histogram_channels(job.space); ++c)
    for (std::int32_t i = 0; i < piece.n; ++i)
      piece.slots[c][i] = job.bytes->slots[c][p[i * image.stride_w + c * image.stride_c]];
}

// Fills piece.slots for the piece.n pixels from p on.
template <class Pixel>
void find_piece_slots(const ColorHistogramJob& job, const typename Pixel::Storage* p, Piece& piece) {
  const ImageView& image = job.image;
  const bool gray = job.space == ColorSpace::gray;
  const int loaded = gray && job.channels == 1 ? 1 : 3;
  for (int c = 0; c < loaded; ++c) load<Pixel>(p + c * image.stride_c, image.stride_w, piece.n, piece.values[c]);
  const bool bounded = job.space == ColorSpace::hsv || job.space == ColorSpace::lab;
  if (bounded) clamp_to_unit(piece, Pixel::kCanBeNonFinite);
  if (job.space == ColorSpace::hsv) to_hsv(piece.values[0], piece.values[1], piece.values[2], piece.n);
  if (job.space == ColorSpace::lab) to_lab(piece.values[0], piece.values[1], piece.values[2], piece.n);
  if (gray && loaded == 3) to_gray(piece.values[0], piece.values[1], piece.values[2], piece.n, !Pixel::kCanBeNonFinite);
  for (int c = 0; c < histogram_channels(job.space); ++c) {
    find_slots(piece.values[c], piece.n, job.axes[c], piece.slots[c]);
    if (bounded && Pixel::kCanBeNonFinite) {
      const auto unusable = static_cast<std::uint16_t>(job.axes[c].bins + kNotANumber);
      for (std::int32_t i = 0; i < piece.n; ++i) piece.slots[c][i] = piece.usable[i] ? piece.slots[c][i] : unusable;
    }
  }
}

void apply_mask(const std::uint8_t* mask, std::int64_t stride, int channels, const BinAxis* axes, Piece& piece) {
  for (std::int32_t i = 0; i < piece.n; ++i) piece.usable[i] = mask[i * stride];
  for (int c = 0; c < channels; ++c) {
    const auto masked = static_cast<std::uint16_t>(axes[c].bins + kMasked);
    for (std::int32_t i = 0; i < piece.n; ++i) piece.slots[c][i] = piece.usable[i] ? piece.slots[c][i] : masked;
  }
}

// Into piece.slots[0].
void join_slots(const BinAxis* axes, Piece& piece) {
  const std::int32_t bins[3] = {axes[0].bins, axes[1].bins, axes[2].bins};
  for (std::int32_t i = 0; i < piece.n; ++i) {
    const std::int32_t slots[3] = {piece.slots[0][i], piece.slots[1][i], piece.slots[2][i]};
    piece.slots[0][i] = static_cast<std::uint16_t>(joint_slot(slots, bins));
  }
}

// Two histograms in turn, `pitch` apart, so that equal neighbors do not wait for each other.
void add_slots(const std::uint16_t* slots, std::int32_t n, std::int64_t pitch, std::uint32_t* counters) {
  std::uint32_t* odd = counters + pitch;
  std::int32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    if (eight_are_equal(slots + i)) {
      counters[slots[i]] += 8;
      continue;
    }
    for (int k = 0; k < 8; k += 2) {
      ++counters[slots[i + k]];
      ++odd[slots[i + k + 1]];
    }
  }
  for (; i < n; ++i) ++counters[slots[i]];
}

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
