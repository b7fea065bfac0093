// Pairs in both orders become pairs without order. Included by files that are compiled for each instruction set only.
#pragma once

#include <cstring>

#include "cpu/glcm_joint.h"

namespace iuscore::IUSCORE_ISA {
namespace {

constexpr std::int32_t kFoldSide = 8;  // of the blocks that are transposed at a time

// Adds the transpose of the block `below` the diagonal to the one above it, and clears it.
template <class Count>
void fold_block(Count* above, Count* below) {
  for (std::int32_t i = 0; i < kFoldSide; ++i)
    for (std::int32_t j = 0; j < kFoldSide; ++j) {
      Count& from = below[(j << kJointShift) + i];
      Count& to = above[(i << kJointShift) + j];
      to = static_cast<Count>(to + from);
      from = 0;
    }
}

// The same of a block on the diagonal.
template <class Count>
void fold_diagonal(Count* block) {
  for (std::int32_t i = 0; i < kFoldSide; ++i)
    for (std::int32_t j = i + 1; j < kFoldSide; ++j) {
      Count& from = block[(j << kJointShift) + i];
      Count& to = block[(i << kJointShift) + j];
      to = static_cast<Count>(to + from);
      from = 0;
    }
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
typedef std::uint16_t FoldRow __attribute__((vector_size(2 * kFoldSide)));

inline __attribute__((always_inline)) void load_block(const std::uint16_t* block, FoldRow (&rows)[kFoldSide]) {
  for (std::int32_t k = 0; k < kFoldSide; ++k) std::memcpy(&rows[k], block + (k << kJointShift), sizeof rows[k]);
}

// Rows 0 and 4, 1 and 5, ... are shuffled together, and so are the results, three times in all.
inline __attribute__((always_inline)) void transpose(FoldRow (&v)[kFoldSide]) {
  for (int step = 0; step < 3; ++step) {
    FoldRow next[kFoldSide];
    for (int k = 0; k < kFoldSide / 2; ++k) {
      next[2 * k] = __builtin_shufflevector(v[k], v[k + 4], 0, 8, 1, 9, 2, 10, 3, 11);
      next[2 * k + 1] = __builtin_shufflevector(v[k], v[k + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    std::memcpy(v, next, sizeof next);
  }
}

[[maybe_unused]] void fold_block(std::uint16_t* above, std::uint16_t* below) {
  FoldRow to[kFoldSide];
  FoldRow from[kFoldSide];
  load_block(above, to);
  load_block(below, from);
  transpose(from);
  for (std::int32_t k = 0; k < kFoldSide; ++k) {
    to[k] += from[k];
    std::memcpy(above + (k << kJointShift), &to[k], sizeof to[k]);
    std::memset(below + (k << kJointShift), 0, sizeof to[k]);
  }
}

[[maybe_unused]] void fold_diagonal(std::uint16_t* block) {
  const FoldRow columns = {0, 1, 2, 3, 4, 5, 6, 7};
  FoldRow to[kFoldSide];
  FoldRow from[kFoldSide];
  load_block(block, to);
  load_block(block, from);
  transpose(from);
  for (std::uint16_t k = 0; k < kFoldSide; ++k) {
    const FoldRow right = reinterpret_cast<FoldRow>(columns > k);
    const FoldRow here = reinterpret_cast<FoldRow>(columns >= k);
    to[k] = (to[k] & here) + (from[k] & right);
    std::memcpy(block + (k << kJointShift), &to[k], sizeof to[k]);
  }
}
#endif
#endif

// Of the levels from lowest to highest of a matrix of 32 x 32.
template <class Count>
void fold(Count* matrix, const LevelPlane& plane) {
  for (std::int32_t i = plane.lowest & ~(kFoldSide - 1); i <= plane.highest; i += kFoldSide) {
    fold_diagonal(matrix + (i << kJointShift) + i);
    for (std::int32_t j = i + kFoldSide; j <= plane.highest; j += kFoldSide)
      fold_block(matrix + (i << kJointShift) + j, matrix + (j << kJointShift) + i);
  }
}

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
