// Counts pairs of gray levels into matrices that stay in cache, two pixels at a time, or three where that pays. Only
// for files that are compiled for each instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/equal_values.h"
#include "cpu/glcm_isa.h"

#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

namespace iuscore::IUSCORE_ISA {

// ---- Pairs, counted one by one

namespace {

// First pixels of the pairs of one offset.
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

// Cells of n pairs. Computes up to a multiple of 64 from the bytes that follow; those cells are not used.
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

// A constant shift in each loop, so that the loop needs no wider lanes than those of the cells.
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

// Adds pairs of up to kPairChunk columns to the matrices of kGroup offsets, n[k] pairs of offset k. Even columns are
// counted in the first copy of a matrix, odd ones in the second, which begins `copy` cells later (0: there is one
// copy).
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

// Counts kGroup offsets. Matrix k begins at cells + k * kSpacing, its second copy, if any, kGroup * kSpacing later.
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

// Adds n cells, a multiple of 32, of the second copy to the first, and clears them.
template <class Count>
void join_copies(Count* __restrict first, Count* __restrict second, std::int32_t n) {
  if (second == nullptr) return;
  for (std::int32_t from = 0; from < n; from += 32)
    for (std::int32_t j = from; j < from + 32; ++j) {
      first[j] = static_cast<Count>(first[j] + second[j]);
      second[j] = 0;
    }
}

// ---- Triplets, with up to 32 levels
//
// The pixels p, p + a and p + b are one of 32^3 triplet cells. Summed over one of the three levels, the cells are the
// pairs of offset a, of offset b, and of b - a, which counts if it is asked for too. So one increment counts two or
// three pairs; increments, about one a cycle, are what counting costs. The four usual offsets at distance 1 take two
// increments a pixel instead of four.

constexpr std::int32_t kTripletShift = 5;
constexpr std::int32_t kCellBlock = 8;                       // cells that are compared at a time
constexpr std::int32_t kStreamRow = 2 * kPairChunk;          // from the cells of one stream to those of the other
constexpr std::int32_t kStreamChunk = kStreamRow - 64;       // cells computed at a time
constexpr std::uint16_t kNoPair = 1 << (2 * kTripletShift);  // one past the cells that mean something
constexpr std::uint16_t kNoTriplet = 1 << (3 * kTripletShift);

// First pixels of pairs or triplets: rows and columns, ends exclusive; may be empty.
struct Region {
  std::int64_t row;
  std::int64_t row_end;
  std::int64_t column;
  std::int64_t column_end;
};

// Which offsets of a group are counted together, by their numbers in the group: a and b, and c = b - a if the group has
// it, else -1; or a alone, then b is -1.
struct TripletPlan {
  int streams;  // 1 or 2
  int a[2];
  int b[2];
  int c[2];
};

// The cells of one stream of the plan: of the pixels of a region, and of the pixels between the end of one of its rows
// and the begin of the next. The latter are counted as `none`, which costs less than a new start in each row.
template <class Count>
struct Stream {
  Region region;
  std::uint16_t none;
  Count* even;  // counters for pixels at even positions
  Count* odd;   // and at odd ones; of triplets the same counters

  std::int64_t columns() const { return region.column_end - region.column; }
  std::int64_t length(std::int64_t pitch) const {
    return region.row < region.row_end ? (region.row_end - region.row - 1) * pitch + columns() : 0;
  }
};

[[maybe_unused]] bool is_difference(const PixelOffset& c, const PixelOffset& b, const PixelOffset& a) {
  return std::int64_t{c.rows} == std::int64_t{b.rows} - a.rows &&
         std::int64_t{c.columns} == std::int64_t{b.columns} - a.columns;
}

// For a group of 2 to 4 offsets.
[[maybe_unused]] TripletPlan triplet_plan(const PixelOffset* offsets, int group) {
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

// Triplet cells of n pixels; computes up to a multiple of 64, as pair_cells().
[[maybe_unused]] void triplet_cells(const std::uint8_t* __restrict p, const std::uint8_t* __restrict a,
                                    const std::uint8_t* __restrict b, std::int32_t n, std::uint16_t* __restrict cells) {
  for (std::int32_t from = 0; from < n; from += 64)
    for (std::int32_t i = from; i < from + 64; ++i)
      cells[i] = static_cast<std::uint16_t>((p[i] << (2 * kTripletShift)) | (a[i] << kTripletShift) | b[i]);
}

constexpr int kWordCells = 4;

// Four cells in a word: taking them from a register costs less than four loads.
IUSCORE_HD std::uint64_t word_of(const std::uint16_t* cells) {
  std::uint64_t word;
  __builtin_memcpy(&word, cells, sizeof word);
  return word;
}

template <class Count>
inline __attribute__((always_inline)) void add_to(Count* cells, std::uint16_t at, Count n) {
  cells[at] = static_cast<Count>(cells[at] + n);
}

// Counts cells from .. end of one stream.
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

// Counts the first n cells of two streams, in turns, so that equal cells in a row wait less for each other.
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

// Computes cells from .. from + n of a stream.
template <class Count>
void compute_cells(const LevelPlane& plane, const PixelOffset* offsets, const TripletPlan& plan, int s,
                   const Stream<Count>& x, std::int64_t from, std::int32_t n, std::uint16_t* cells) {
  const std::uint8_t* p = plane.levels + x.region.row * plane.pitch + x.region.column + from;
  const auto at = [&](int k) { return p + offsets[k].rows * plane.pitch + offsets[k].columns; };
  if (plan.b[s] >= 0)
    triplet_cells(p, at(plan.a[s]), at(plan.b[s]), n, cells);
  else
    pair_cells<kTripletShift>(p, at(plan.a[s]), n, false, cells);
  const std::int64_t end = from + n;
  for (std::int64_t row = from / plane.pitch * plane.pitch; row < end; row += plane.pitch) {
    const std::int64_t gap = row + x.columns();
    const std::int64_t gap_end = row + plane.pitch < end ? row + plane.pitch : end;
    for (std::int64_t i = gap < from ? from : gap; i < gap_end; ++i) cells[i - from] = x.none;
  }
}

template <class Count>
void count_streams(const LevelPlane& plane, const PixelOffset* offsets, const TripletPlan& plan,
                   const Stream<Count> (&streams)[2], const GlcmScratch& scratch) {
  const std::int64_t pixels = plane.height * plane.pitch;
  for (std::int64_t from = 0; from < pixels; from += kStreamChunk) {
    std::int32_t n[2] = {0, 0};
    for (int s = 0; s < plan.streams; ++s) {
      const std::int64_t left = streams[s].length(plane.pitch) - from;
      if (left <= 0) continue;
      n[s] = static_cast<std::int32_t>(left < kStreamChunk ? left : kStreamChunk);
      compute_cells(plane, offsets, plan, s, streams[s], from, n[s], scratch.pairs + s * kStreamRow);
    }
    const std::int32_t shared = n[0] < n[1] ? n[0] : n[1];
    add_streams(streams[0], streams[1], scratch.pairs, scratch.pairs + kStreamRow, shared);
    add_stream(streams[0], scratch.pairs, shared, n[0]);
    add_stream(streams[1], scratch.pairs + kStreamRow, shared, n[1]);
  }
  for (int s = 0; s < plan.streams; ++s) streams[s].even[streams[s].none] = streams[s].odd[streams[s].none] = 0;
}

// ---- 32 counts as vectors of the width that the instruction set has

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
  // The same at any address. (A memcpy may copy a vector in smaller pieces.)
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

// Adds the sums of eight consecutive rows of 32 counts to sums[8]; returns whether one of them is above 0.
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
// The same with 16-bit counts: eight vectors of partial sums are added in a tree, interleaving halves.
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

// ---- From ordered to unordered pairs: below the diagonal a matrix is added to its transpose and cleared

constexpr std::int32_t kFoldSide = 8;  // of a block that is transposed

// Adds the transpose of the block `below` the diagonal to the one above it, and clears it.
template <class Count>
void fold_block(Count* above, Count* below) {
  for (std::int32_t i = 0; i < kFoldSide; ++i)
    for (std::int32_t j = 0; j < kFoldSide; ++j) {
      Count& from = below[(j << kTripletShift) + i];
      Count& to = above[(i << kTripletShift) + j];
      to = static_cast<Count>(to + from);
      from = 0;
    }
}

// The same for a block on the diagonal.
template <class Count>
void fold_diagonal(Count* block) {
  for (std::int32_t i = 0; i < kFoldSide; ++i)
    for (std::int32_t j = i + 1; j < kFoldSide; ++j) {
      Count& from = block[(j << kTripletShift) + i];
      Count& to = block[(i << kTripletShift) + j];
      to = static_cast<Count>(to + from);
      from = 0;
    }
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
typedef std::uint16_t FoldRow __attribute__((vector_size(2 * kFoldSide)));

inline __attribute__((always_inline)) void load_block(const std::uint16_t* block, FoldRow (&rows)[kFoldSide]) {
  for (std::int32_t k = 0; k < kFoldSide; ++k) std::memcpy(&rows[k], block + (k << kTripletShift), sizeof rows[k]);
}

// Interleaves rows 0 and 4, 1 and 5, 2 and 6, 3 and 7, three times.
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
    std::memcpy(above + (k << kTripletShift), &to[k], sizeof to[k]);
    std::memset(below + (k << kTripletShift), 0, sizeof to[k]);
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
    std::memcpy(block + (k << kTripletShift), &to[k], sizeof to[k]);
  }
}
#endif
#endif

// Folds levels lowest .. highest of a matrix of 32 x 32.
template <class Count>
void fold(Count* matrix, const LevelPlane& plane) {
  for (std::int32_t i = plane.lowest & ~(kFoldSide - 1); i <= plane.highest; i += kFoldSide) {
    fold_diagonal(matrix + (i << kTripletShift) + i);
    for (std::int32_t j = i + kFoldSide; j <= plane.highest; j += kFoldSide)
      fold_block(matrix + (i << kTripletShift) + j, matrix + (j << kTripletShift) + i);
  }
}

// ---- From triplets to matrices of pairs

// Adds cells [p, a, b] to the matrices [p, a], [p, b] and, if kThird, [a, b]; clears the cells.
template <class Count, bool kThird>
void spread(Count* cells, const LevelPlane& plane, Count* first, Count* second, Count* third) {
  const std::int32_t from = plane.lowest & ~7;
  const std::int32_t to = plane.highest | 7;
  for (std::int32_t p = plane.lowest; p <= plane.highest; ++p) {
    Row<Count> column;
    load(second + (p << kTripletShift), column);
    for (std::int32_t a0 = from; a0 <= to; a0 += 8) {
      Count* eight = cells + (p << (2 * kTripletShift)) + (a0 << kTripletShift);
      if (!add_row_sums(eight, first + (p << kTripletShift) + a0)) continue;
      for (int k = 0; k < 8; ++k) {
        Row<Count> row;
        load(eight + (k << kTripletShift), row);
        add(row, column);
        if (kThird) add_at(row, third + ((a0 + k) << kTripletShift));
        clear(eight + (k << kTripletShift));
      }
    }
    store(column, second + (p << kTripletShift));
  }
}

// Counts the pairs of an offset whose first pixel is not in `covered`.
template <class Count>
void count_rest(const LevelPlane& plane, PixelOffset offset, const Region& covered, Count* matrix) {
  const Region all = region_of(pair_range(plane, offset));
  const auto add = [&](std::int64_t row, std::int64_t from, std::int64_t to) {
    const std::uint8_t* p = plane.levels + row * plane.pitch;
    const std::uint8_t* q = p + offset.rows * plane.pitch + offset.columns;
    for (std::int64_t c = from; c < to; ++c)
      add_to(matrix, static_cast<std::uint16_t>((p[c] << kTripletShift) | q[c]), Count{1});
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

// Whether counting triplets pays: spread() costs as much as some thousand increments.
[[maybe_unused]] bool triplets_pay(const LevelPlane& plane, const GlcmShape& shape) {
  return shape.shift == kTripletShift && plane.valid == nullptr && plane.height * plane.width >= 4096;
}

// Counts a group of 2 to 4 offsets as triplets. Matrix k begins at k * kSmallSpacing.
template <class Count>
void count_triplets(const LevelPlane& plane, const PixelOffset* offsets, int group, bool symmetric,
                    const GlcmScratch& scratch) {
  auto* cells = static_cast<Count*>(scratch.cells);
  const TripletPlan plan = triplet_plan(offsets, group);
  Stream<Count> streams[2] = {};
  for (int s = 0; s < plan.streams; ++s) {
    const Region first = region_of(pair_range(plane, offsets[plan.a[s]]));
    if (plan.b[s] >= 0) {
      Count* table = cells + 8 * kSmallSpacing + s * kTripletSpacing;
      const Region second = region_of(pair_range(plane, offsets[plan.b[s]]));
      streams[s] = {intersection(first, second), kNoTriplet, table, table};
    } else {
      Count* alone = cells + plan.a[s] * kSmallSpacing;
      streams[s] = {first, kNoPair, alone, alone + 4 * kSmallSpacing};
    }
  }
  count_streams(plane, offsets, plan, streams, scratch);
  for (int s = 0; s < plan.streams; ++s) {
    if (plan.b[s] < 0) {
      join_copies(streams[s].even, streams[s].odd, 1 << (2 * kTripletShift));
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

// Counts the offsets, a group at a time, and calls use(k, first copy, second copy or null) with the matrix of each
// offset k; use() must leave both copies 0.
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
    const bool triplets = left >= 2 && triplets_pay(plane, shape);
    if (triplets)
      count_triplets<Count>(plane, these, group, symmetric, scratch);
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
      const bool copied = !triplets && shape.copies == 2;
      use(done + k, first, copied ? first + group * spacing : nullptr);
    }
    done += group;
  }
}

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
