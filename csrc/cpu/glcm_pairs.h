// Counts pairs of levels into matrices in cache. Included by files that are compiled for each instruction set only.
#pragma once

#include <cstdint>

#include "cpu/glcm_plane.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// Where the pairs of one offset begin and how many a row has.
struct PairRange {
  std::int64_t rows;     // of the offset
  std::int64_t columns;  // of the offset
  std::int64_t first_row;
  std::int64_t last_row;  // exclusive
  std::int64_t first_column;
  std::int64_t length;
};

[[maybe_unused]] PairRange pair_range(const LevelPlane& plane, PixelOffset offset) {
  const std::int64_t rows = offset.rows;
  const std::int64_t columns = offset.columns;
  const std::int64_t tall = plane.height - (rows < 0 ? -rows : rows);
  const std::int64_t wide = plane.width - (columns < 0 ? -columns : columns);
  if (tall <= 0 || wide <= 0) return {rows, columns, 0, 0, 0, 0};
  const std::int64_t first = rows < 0 ? -rows : 0;
  return {rows, columns, first, first + tall, columns < 0 ? -columns : 0, wide};
}

// Cells of n pairs, rounded up to 64: what lies beyond is computed from whatever follows and not used.
template <int kShift, bool kSymmetric>
void pair_cells_of(const std::uint8_t* __restrict a, const std::uint8_t* __restrict b, std::int32_t n,
                   std::uint16_t* __restrict cells) {
  for (std::int32_t from = 0; from < n; from += 64) {
    for (std::int32_t c = from; c < from + 64; ++c) {
      const std::uint8_t low = kSymmetric && b[c] < a[c] ? b[c] : a[c];
      const std::uint8_t high = kSymmetric && b[c] < a[c] ? a[c] : b[c];
      cells[c] = static_cast<std::uint16_t>((low << kShift) | high);
    }
  }
}

template <int kShift>
void pair_cells(const std::uint8_t* a, const std::uint8_t* b, std::int32_t n, bool symmetric, std::uint16_t* cells) {
  if (symmetric)
    pair_cells_of<kShift, true>(a, b, n, cells);
  else
    pair_cells_of<kShift, false>(a, b, n, cells);
}

// The shift is a constant in each loop, so that it needs no wider lanes than the cells.
[[maybe_unused]] void pair_cells(const std::uint8_t* a, const std::uint8_t* b, std::int32_t n, std::int32_t shift,
                                 bool symmetric, std::uint16_t* cells) {
  if (shift == 5) return pair_cells<5>(a, b, n, symmetric, cells);
  if (shift == 6) return pair_cells<6>(a, b, n, symmetric, cells);
  if (shift == 7) return pair_cells<7>(a, b, n, symmetric, cells);
  pair_cells<8>(a, b, n, symmetric, cells);
}

[[maybe_unused]] void pair_weights(const std::uint8_t* __restrict a, const std::uint8_t* __restrict b, std::int32_t n,
                                   std::uint8_t* __restrict weights) {
  for (std::int32_t from = 0; from < n; from += 64)
    for (std::int32_t c = from; c < from + 64; ++c) weights[c] = a[c] & b[c];
}

template <class Count, bool kMasked>
inline __attribute__((always_inline)) void add_pair(Count* matrix, const std::uint16_t* pairs,
                                                    const std::uint8_t* weights, std::int32_t c) {
  Count& cell = matrix[pairs[c]];
  cell = static_cast<Count>(cell + (kMasked ? weights[c] : 1));
}

// Adds the pairs of up to kPairChunk columns of kGroup offsets, n[k] of offset k, to their matrices. Even columns count
// in the first copy, odd ones in the second, `copy` cells further (or 0).
template <class Count, int kGroup, std::int64_t kSpacing, bool kMasked>
void add_pairs(Count* cells, std::int64_t copy, const GlcmScratch& scratch, const std::int32_t (&n)[kGroup]) {
  const std::uint16_t* pairs = scratch.pairs;
  const std::uint8_t* weights = scratch.weights;
  Count* odd = cells + copy;
  std::int32_t shared = n[0];
  for (int k = 1; k < kGroup; ++k) shared = n[k] < shared ? n[k] : shared;
  shared &= ~1;
  for (std::int32_t c = 0; c < shared; c += 2) {
    for (int k = 0; k < kGroup; ++k)
      add_pair<Count, kMasked>(cells + k * kSpacing, pairs + k * kPairChunk, weights + k * kPairChunk, c);
    for (int k = 0; k < kGroup; ++k)
      add_pair<Count, kMasked>(odd + k * kSpacing, pairs + k * kPairChunk, weights + k * kPairChunk, c + 1);
  }
  for (int k = 0; k < kGroup; ++k)
    for (std::int32_t c = shared; c < n[k]; ++c)
      add_pair<Count, kMasked>(cells + k * kSpacing, pairs + k * kPairChunk, weights + k * kPairChunk, c);
}

// Counts kGroup offsets; matrix k begins at cells + k * kSpacing, its second copy, if any, kGroup * kSpacing further.
template <class Count, int kGroup, std::int64_t kSpacing, bool kMasked>
void count_offsets(const LevelPlane& plane, const PixelOffset* offsets, const GlcmShape& shape, bool symmetric,
                   const GlcmScratch& scratch) {
  auto* cells = static_cast<Count*>(scratch.cells);
  const std::int64_t copy = shape.copies == 2 ? kGroup * kSpacing : 0;
  PairRange ranges[kGroup];
  std::int64_t longest = 0;
  for (int k = 0; k < kGroup; ++k) {
    ranges[k] = pair_range(plane, offsets[k]);
    longest = ranges[k].length > longest ? ranges[k].length : longest;
  }
  for (std::int64_t row = 0; row < plane.height; ++row) {
    for (std::int64_t from = 0; from < longest; from += kPairChunk) {
      std::int32_t n[kGroup];
      for (int k = 0; k < kGroup; ++k) {
        const PairRange& range = ranges[k];
        const std::int64_t left = range.length - from;
        n[k] = row < range.first_row || row >= range.last_row || left <= 0
                   ? 0
                   : static_cast<std::int32_t>(left < kPairChunk ? left : kPairChunk);
        if (n[k] == 0) continue;
        const std::int64_t a = row * plane.pitch + range.first_column + from;
        const std::int64_t b = a + range.rows * plane.pitch + range.columns;
        std::uint16_t* pairs = scratch.pairs + k * kPairChunk;
        pair_cells(plane.levels + a, plane.levels + b, n[k], shape.shift, symmetric, pairs);
        if (kMasked) pair_weights(plane.valid + a, plane.valid + b, n[k], scratch.weights + k * kPairChunk);
      }
      add_pairs<Count, kGroup, kSpacing, kMasked>(cells, copy, scratch, n);
    }
  }
}

template <class Count, int kGroup, std::int64_t kSpacing>
void count_group(const LevelPlane& plane, const PixelOffset* offsets, const GlcmShape& shape, bool symmetric,
                 const GlcmScratch& scratch) {
  if (plane.valid != nullptr)
    count_offsets<Count, kGroup, kSpacing, true>(plane, offsets, shape, symmetric, scratch);
  else
    count_offsets<Count, kGroup, kSpacing, false>(plane, offsets, shape, symmetric, scratch);
}

// Adds the second copy to n cells, a multiple of 32, of the first and clears it.
template <class Count>
void join_copies(Count* __restrict first, Count* __restrict second, std::int32_t n) {
  if (second == nullptr) return;
  for (std::int32_t from = 0; from < n; from += 32)
    for (std::int32_t j = from; j < from + 32; ++j) {
      first[j] = static_cast<Count>(first[j] + second[j]);
      second[j] = 0;
    }
}

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
