// From the cells of three pixels (glcm_pairs.h) to the matrices of pairs. Included by files that are compiled for each
// instruction set only.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/equal_values.h"
#include "cpu/glcm_isa.h"

#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

namespace iuscore::IUSCORE_ISA {

// Counts pairs of levels into matrices in cache. Included by files that are compiled for each instruction set only.

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

// Pairs of up to 32 levels, three pixels at a time: a pixel p with those at p + a and p + b is one of 32^3 cells, and
// the sums over one index of the three are the pairs of offset a, of offset b, and of b - a if that is asked for too.
// One increment then counts two or three pairs; a processor does about one a cycle, so that is what counting costs. At
// distance 1 the four usual offsets take two increments a pixel instead of four. Included by files that are compiled
// for each instruction set only.

constexpr std::int32_t kJointShift = 5;
constexpr std::int32_t kCellBlock = 8;                     // cells that are looked at as a whole
constexpr std::int32_t kJointRow = 2 * kPairChunk;         // from the cells of one stream to those of the other
constexpr std::int32_t kJointChunk = kJointRow - 64;       // cells computed at a time
constexpr std::uint16_t kNoPair = 1 << (2 * kJointShift);  // one past the cells that mean something
constexpr std::uint16_t kNoTriple = 1 << (3 * kJointShift);

// First pixels of pairs: rows and columns, ends exclusive; maybe empty.
struct Region {
  std::int64_t row;
  std::int64_t row_end;
  std::int64_t column;
  std::int64_t column_end;
};

// Offsets counted together, by their places in the group: a and b, and c = b - a where it is one of them, else -1; or a
// alone, where b is -1.
struct JointPlan {
  int streams;  // 1 or 2
  int a[2];
  int b[2];
  int c[2];
};

// The cells of a stream of the plan, for the pixels of a region and those between the end of a row and the beginning of
// the next: the latter become `none`, which costs less than to begin anew in each row.
template <class Count>
struct Stream {
  Region region;
  std::uint16_t none;
  Count* even;  // cells of every other pixel; of the others the same where pixels come in threes
  Count* odd;

  std::int64_t columns() const { return region.column_end - region.column; }
  std::int64_t length(std::int64_t pitch) const {
    return region.row < region.row_end ? (region.row_end - region.row - 1) * pitch + columns() : 0;
  }
};

[[maybe_unused]] bool is_difference(const PixelOffset& c, const PixelOffset& b, const PixelOffset& a) {
  return std::int64_t{c.rows} == std::int64_t{b.rows} - a.rows &&
         std::int64_t{c.columns} == std::int64_t{b.columns} - a.columns;
}

// Of a group of 2 to 4 offsets.
[[maybe_unused]] JointPlan joint_plan(const PixelOffset* offsets, int group) {
  for (int a = 0; a < group; ++a)
    for (int b = 0; b < group; ++b)
      for (int c = 0; c < group; ++c)
        if (a != b && b != c && a != c && is_difference(offsets[c], offsets[b], offsets[a]))
          return {group - 2, {a, group == 4 ? 6 - a - b - c : 0}, {b, -1}, {c, -1}};
  return {(group + 1) / 2, {0, 2}, {1, group == 4 ? 3 : -1}, {-1, -1}};
}

[[maybe_unused]] Region region_of(const PairRange& range) {
  return {range.first_row, range.last_row, range.first_column, range.first_column + range.length};
}

[[maybe_unused]] Region intersection(const Region& x, const Region& y) {
  const auto larger = [](std::int64_t p, std::int64_t q) { return p > q ? p : q; };
  const auto smaller = [](std::int64_t p, std::int64_t q) { return p < q ? p : q; };
  const Region both{larger(x.row, y.row), smaller(x.row_end, y.row_end), larger(x.column, y.column),
                    smaller(x.column_end, y.column_end)};
  return both.row < both.row_end && both.column < both.column_end ? both : Region{0, 0, 0, 0};
}

// Cells of n pixels and the two that belong to each, rounded up to 64 as in pair_cells.
[[maybe_unused]] void joint_cells(const std::uint8_t* __restrict p, const std::uint8_t* __restrict a,
                                  const std::uint8_t* __restrict b, std::int32_t n, std::uint16_t* __restrict cells) {
  for (std::int32_t from = 0; from < n; from += 64)
    for (std::int32_t i = from; i < from + 64; ++i)
      cells[i] = static_cast<std::uint16_t>((p[i] << (2 * kJointShift)) | (a[i] << kJointShift) | b[i]);
}

constexpr int kWordCells = 4;

// Four cells at once: out of a register they cost less than each from memory.
IUSCORE_HD std::uint64_t word_of(const std::uint16_t* cells) {
  std::uint64_t word;
  __builtin_memcpy(&word, cells, sizeof word);
  return word;
}

template <class Count>
inline __attribute__((always_inline)) void add_to(Count* cells, std::uint16_t at, Count n) {
  cells[at] = static_cast<Count>(cells[at] + n);
}

// Adds cells from .. end of one stream.
template <class Count>
void add_stream(const Stream<Count>& x, const std::uint16_t* at, std::int32_t from, std::int32_t end) {
  for (; from + kCellBlock <= end; from += kCellBlock) {
    if (eight_are_equal(at + from)) {
      add_to(x.even, at[from], Count{kCellBlock});
      continue;
    }
    for (int k = 0; k < kCellBlock; k += 2) {
      add_to(x.even, at[from + k], Count{1});
      add_to(x.odd, at[from + k + 1], Count{1});
    }
  }
  for (; from < end; ++from) add_to(x.even, at[from], Count{1});
}

// Adds the first n cells of two streams, in turns, so that equal cells in a row wait less for each other.
template <class Count>
void add_streams(const Stream<Count>& x, const Stream<Count>& y, const std::uint16_t* at, const std::uint16_t* to,
                 std::int32_t n) {
  std::int32_t from = 0;
  for (; from + kCellBlock <= n; from += kCellBlock) {
    if (eight_are_equal(at + from) && eight_are_equal(to + from)) {
      add_to(x.even, at[from], Count{kCellBlock});
      add_to(y.even, to[from], Count{kCellBlock});
      continue;
    }
    for (int k = 0; k < kCellBlock; k += kWordCells) {
      const std::uint64_t of_x = word_of(at + from + k);
      const std::uint64_t of_y = word_of(to + from + k);
      for (int shift = 0; shift < 64; shift += 32) {
        add_to(x.even, static_cast<std::uint16_t>(of_x >> shift), Count{1});
        add_to(y.even, static_cast<std::uint16_t>(of_y >> shift), Count{1});
        add_to(x.odd, static_cast<std::uint16_t>(of_x >> (shift + 16)), Count{1});
        add_to(y.odd, static_cast<std::uint16_t>(of_y >> (shift + 16)), Count{1});
      }
    }
  }
  for (; from < n; ++from) {
    add_to(x.even, at[from], Count{1});
    add_to(y.even, to[from], Count{1});
  }
}

// Cells from .. from + n of a stream.
template <class Count>
void compute_cells(const LevelPlane& plane, const PixelOffset* offsets, const JointPlan& plan, int s,
                   const Stream<Count>& x, std::int64_t from, std::int32_t n, std::uint16_t* cells) {
  const std::uint8_t* p = plane.levels + x.region.row * plane.pitch + x.region.column + from;
  const auto at = [&](int k) { return p + offsets[k].rows * plane.pitch + offsets[k].columns; };
  if (plan.b[s] >= 0)
    joint_cells(p, at(plan.a[s]), at(plan.b[s]), n, cells);
  else
    pair_cells<kJointShift>(p, at(plan.a[s]), n, false, cells);
  const std::int64_t end = from + n;
  for (std::int64_t row = from / plane.pitch * plane.pitch; row < end; row += plane.pitch) {
    const std::int64_t gap = row + x.columns();
    const std::int64_t gap_end = row + plane.pitch < end ? row + plane.pitch : end;
    for (std::int64_t i = gap < from ? from : gap; i < gap_end; ++i) cells[i - from] = x.none;
  }
}

template <class Count>
void count_streams(const LevelPlane& plane, const PixelOffset* offsets, const JointPlan& plan,
                   const Stream<Count> (&streams)[2], const GlcmScratch& scratch) {
  const std::int64_t pixels = plane.height * plane.pitch;
  for (std::int64_t from = 0; from < pixels; from += kJointChunk) {
    std::int32_t n[2] = {0, 0};
    for (int s = 0; s < plan.streams; ++s) {
      const std::int64_t left = streams[s].length(plane.pitch) - from;
      if (left <= 0) continue;
      n[s] = static_cast<std::int32_t>(left < kJointChunk ? left : kJointChunk);
      compute_cells(plane, offsets, plan, s, streams[s], from, n[s], scratch.pairs + s * kJointRow);
    }
    const std::int32_t shared = n[0] < n[1] ? n[0] : n[1];
    add_streams(streams[0], streams[1], scratch.pairs, scratch.pairs + kJointRow, shared);
    add_stream(streams[0], scratch.pairs, shared, n[0]);
    add_stream(streams[1], scratch.pairs + kJointRow, shared, n[1]);
  }
  for (int s = 0; s < plan.streams; ++s) streams[s].even[streams[s].none] = streams[s].odd[streams[s].none] = 0;
}

// 32 counts as vectors of the width that the instruction set has. Included by files that are compiled for each
// instruction set only.

constexpr int kRowCounts = 32;
#if defined(__AVX512BW__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class Count>
struct Row {
  typedef Count Lanes __attribute__((vector_size(kVectorBytes)));
  // The same at any address: copied by memcpy, a vector may take a detour through memory in smaller pieces.
  typedef Count Anywhere __attribute__((vector_size(kVectorBytes), aligned(sizeof(Count)), may_alias));
  static constexpr int kParts = kRowCounts * sizeof(Count) / kVectorBytes;
  static constexpr int kLanes = kVectorBytes / sizeof(Count);
  Lanes part[kParts];
};

template <class Count>
inline __attribute__((always_inline)) void load(const Count* from, Row<Count>& row) {
  for (int k = 0; k < Row<Count>::kParts; ++k)
    row.part[k] = *reinterpret_cast<const typename Row<Count>::Anywhere*>(from + k * Row<Count>::kLanes);
}

template <class Count>
inline __attribute__((always_inline)) void store(const Row<Count>& row, Count* to) {
  for (int k = 0; k < Row<Count>::kParts; ++k)
    *reinterpret_cast<typename Row<Count>::Anywhere*>(to + k * Row<Count>::kLanes) = row.part[k];
}

template <class Count>
inline __attribute__((always_inline)) void clear(Count* to) {
  store(Row<Count>{}, to);
}

template <class Count>
inline __attribute__((always_inline)) void add(const Row<Count>& row, Row<Count>& to) {
  for (int k = 0; k < Row<Count>::kParts; ++k) to.part[k] += row.part[k];
}

template <class Count>
inline __attribute__((always_inline)) void add_at(const Row<Count>& row, Count* to) {
  Row<Count> sum;
  load(to, sum);
  add(row, sum);
  store(sum, to);
}

template <class Count>
inline __attribute__((always_inline)) void widen_to(const Row<Count>& row, Row<Count>& largest) {
  for (int k = 0; k < Row<Count>::kParts; ++k)
    largest.part[k] = row.part[k] > largest.part[k] ? row.part[k] : largest.part[k];
}

// Whether a count is above 1.
template <class Count>
inline __attribute__((always_inline)) bool any_above_one(const Count* row) {
#if defined(__AVX512BW__)
  if constexpr (sizeof(Count) == 2) return _mm512_cmpgt_epu16_mask(_mm512_loadu_si512(row), _mm512_set1_epi16(1)) != 0;
#endif
  std::uint64_t words[kRowCounts * sizeof(Count) / 8];
  std::memcpy(words, row, sizeof words);
  std::uint64_t any = 0;
  for (const std::uint64_t word : words) any |= word;
  return (any & (sizeof(Count) == 2 ? 0xfffefffefffefffeu : 0xfffffffefffffffeu)) != 0;
}

// Adds the sums of eight rows of 32 counts, which lie one after another, to sums[8]; whether one is above 0.
template <class Count>
bool add_row_sums(const Count* rows, Count* sums) {
  bool any = false;
  for (int k = 0; k < 8; ++k) {
    Count sum = 0;
    for (int j = 0; j < kRowCounts; ++j) sum = static_cast<Count>(sum + rows[kRowCounts * k + j]);
    sums[k] = static_cast<Count>(sums[k] + sum);
    any |= sum != 0;
  }
  return any;
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
// Of 16 bits: eight vectors of partial sums are added in a tree of interleaved halves.
[[maybe_unused]] inline __attribute__((always_inline)) bool add_row_sums(const std::uint16_t* rows,
                                                                         std::uint16_t* sums) {
  typedef std::uint16_t Eight __attribute__((vector_size(16)));
  typedef std::uint16_t Anywhere __attribute__((vector_size(16), aligned(2), may_alias));
  Eight v[8];
  for (int k = 0; k < 8; ++k) {
    const auto* quarters = reinterpret_cast<const Anywhere*>(rows + kRowCounts * k);
    v[k] = quarters[0] + quarters[1] + quarters[2] + quarters[3];
  }
  for (int half = 4; half > 0; half /= 2)
    for (int k = 0; k < half; ++k)
      v[k] = __builtin_shufflevector(v[k], v[k + half], 0, 8, 1, 9, 2, 10, 3, 11) +
             __builtin_shufflevector(v[k], v[k + half], 4, 12, 5, 13, 6, 14, 7, 15);
  *reinterpret_cast<Anywhere*>(sums) += v[0];
  std::uint64_t words[2];
  std::memcpy(words, v, sizeof words);
  return (words[0] | words[1]) != 0;
}
#endif
#endif

// Pairs in both orders become pairs without order. Included by files that are compiled for each instruction set only.

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

// Adds cells [p, a, b] to the matrices [p, a], [p, b] and, where kThird, [a, b], and clears them.
template <class Count, bool kThird>
void spread(Count* cells, const LevelPlane& plane, Count* first, Count* second, Count* third) {
  const std::int32_t from = plane.lowest & ~7;
  const std::int32_t to = plane.highest | 7;
  for (std::int32_t p = plane.lowest; p <= plane.highest; ++p) {
    Row<Count> column;
    load(second + (p << kJointShift), column);
    for (std::int32_t a0 = from; a0 <= to; a0 += 8) {
      Count* eight = cells + (p << (2 * kJointShift)) + (a0 << kJointShift);
      if (!add_row_sums(eight, first + (p << kJointShift) + a0)) continue;
      for (int k = 0; k < 8; ++k) {
        Row<Count> row;
        load(eight + (k << kJointShift), row);
        add(row, column);
        if (kThird) add_at(row, third + ((a0 + k) << kJointShift));
        clear(eight + (k << kJointShift));
      }
    }
    store(column, second + (p << kJointShift));
  }
}

// Adds the pairs of an offset whose first pixel is outside of `covered`.
template <class Count>
void count_rest(const LevelPlane& plane, PixelOffset offset, const Region& covered, Count* matrix) {
  const Region all = region_of(pair_range(plane, offset));
  const auto add = [&](std::int64_t row, std::int64_t from, std::int64_t to) {
    const std::uint8_t* p = plane.levels + row * plane.pitch;
    const std::uint8_t* q = p + offset.rows * plane.pitch + offset.columns;
    for (std::int64_t c = from; c < to; ++c)
      add_to(matrix, static_cast<std::uint16_t>((p[c] << kJointShift) | q[c]), Count{1});
  };
  for (std::int64_t row = all.row; row < all.row_end; ++row) {
    if (row < covered.row || row >= covered.row_end) {
      add(row, all.column, all.column_end);
    } else {
      add(row, all.column, covered.column);
      add(row, covered.column_end, all.column_end);
    }
  }
}

// Whether counting three pixels at a time pays: spreading the cells costs as much as some thousand increments.
[[maybe_unused]] bool joint_pays(const LevelPlane& plane, const GlcmShape& shape) {
  return shape.shift == kJointShift && plane.valid == nullptr && plane.height * plane.width >= 4096;
}

// Counts a group of 2 to 4 offsets; matrix k begins at k * kSmallSpacing.
template <class Count>
void count_joint(const LevelPlane& plane, const PixelOffset* offsets, int group, bool symmetric,
                 const GlcmScratch& scratch) {
  auto* cells = static_cast<Count*>(scratch.cells);
  const JointPlan plan = joint_plan(offsets, group);
  Stream<Count> streams[2] = {};
  for (int s = 0; s < plan.streams; ++s) {
    const Region first = region_of(pair_range(plane, offsets[plan.a[s]]));
    if (plan.b[s] >= 0) {
      Count* table = cells + 8 * kSmallSpacing + s * kJointSpacing;
      const Region second = region_of(pair_range(plane, offsets[plan.b[s]]));
      streams[s] = {intersection(first, second), kNoTriple, table, table};
    } else {
      Count* alone = cells + plan.a[s] * kSmallSpacing;
      streams[s] = {first, kNoPair, alone, alone + 4 * kSmallSpacing};
    }
  }
  count_streams(plane, offsets, plan, streams, scratch);
  for (int s = 0; s < plan.streams; ++s) {
    if (plan.b[s] < 0) {
      join_copies(streams[s].even, streams[s].odd, 1 << (2 * kJointShift));
      continue;
    }
    const Region& region = streams[s].region;
    const PixelOffset shift = offsets[plan.a[s]];
    const Region moved{region.row + shift.rows, region.row_end + shift.rows, region.column + shift.columns,
                       region.column_end + shift.columns};
    Count* matrices[3] = {cells + plan.a[s] * kSmallSpacing, cells + plan.b[s] * kSmallSpacing,
                          plan.c[s] < 0 ? nullptr : cells + plan.c[s] * kSmallSpacing};
    if (region.row < region.row_end && matrices[2] != nullptr)
      spread<Count, true>(streams[s].even, plane, matrices[0], matrices[1], matrices[2]);
    else if (region.row < region.row_end)
      spread<Count, false>(streams[s].even, plane, matrices[0], matrices[1], nullptr);
    const int places[3] = {plan.a[s], plan.b[s], plan.c[s]};
    for (int k = 0; k < 3; ++k)
      if (matrices[k] != nullptr) count_rest(plane, offsets[places[k]], k < 2 ? region : moved, matrices[k]);
  }
  if (symmetric)
    for (int k = 0; k < group; ++k) fold(cells + k * kSmallSpacing, plane);
}

// Counts the offsets group by group and hands each matrix to use(k, first copy, second copy or null), which must leave
// both 0.
template <class Count, class Use>
void for_each_matrix(const LevelPlane& plane, const PixelOffset* offsets, std::int32_t offset_count,
                     const GlcmShape& shape, bool symmetric, const GlcmScratch& scratch, const Use& use) {
  auto* cells = static_cast<Count*>(scratch.cells);
  const bool small = shape.group == 4;
  const std::int64_t spacing = small ? kSmallSpacing : kLargeSpacing;
  for (std::int32_t done = 0; done < offset_count;) {
    const std::int32_t left = offset_count - done;
    const std::int32_t group = small && left >= 4 ? 4 : left >= 2 ? 2 : 1;
    const PixelOffset* these = offsets + done;
    const bool joint = left >= 2 && joint_pays(plane, shape);
    if (joint)
      count_joint<Count>(plane, these, group, symmetric, scratch);
    else if (group == 4)
      count_group<Count, 4, kSmallSpacing>(plane, these, shape, symmetric, scratch);
    else if (group == 2 && small)
      count_group<Count, 2, kSmallSpacing>(plane, these, shape, symmetric, scratch);
    else if (small)
      count_group<Count, 1, kSmallSpacing>(plane, these, shape, symmetric, scratch);
    else if (group == 2)
      count_group<Count, 2, kLargeSpacing>(plane, these, shape, symmetric, scratch);
    else
      count_group<Count, 1, kLargeSpacing>(plane, these, shape, symmetric, scratch);
    for (std::int32_t k = 0; k < group; ++k) {
      Count* first = cells + k * spacing;
      const bool copied = !joint && shape.copies == 2;
      use(done + k, first, copied ? first + group * spacing : nullptr);
    }
    done += group;
  }
}

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
