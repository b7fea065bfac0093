// Pairs of up to 32 levels, three pixels at a time: a pixel p with those at p + a and p + b is one of 32^3 cells, and
// the sums over one index of the three are the pairs of offset a, of offset b, and of b - a if that is asked for too.
// One increment then counts two or three pairs; a processor does about one a cycle, so that is what counting costs. At
// distance 1 the four usual offsets take two increments a pixel instead of four. Included by zone-compiled files only.
#pragma once

#include <cstring>

#include "cpu/glcm_pairs.h"

#if defined(__AVX512BW__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace iuscore::IUSCORE_ZONE {
namespace {

constexpr std::int32_t kJointShift = 5;
constexpr std::int32_t kTile = 32;                   // columns that are looked at as a whole
constexpr std::int32_t kJointRow = kPairChunk + 64;  // cells of a stream, with room for a tile that is filled up
// Cells that tiles are filled up with, so that a row is whole tiles: one past those that mean something.
constexpr std::uint16_t kNoPair = 1 << (2 * kJointShift);
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

// What is counted along the rows: the cells of a stream of the plan.
template <class Count>
struct Stream {
  Region region;
  Count* even;  // cells of even columns; of odd ones the same where pixels come in threes
  Count* odd;
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

// Whether the cells of a tile are all the first one, as in a black border.
[[maybe_unused]] bool all_equal(const std::uint16_t* cells) {
#if defined(__AVX512BW__)
  const __m512i tile = _mm512_loadu_si512(cells);
  return _mm512_cmpneq_epi16_mask(tile, _mm512_set1_epi16(static_cast<short>(cells[0]))) == 0;
#elif defined(__AVX2__)
  const __m256i first = _mm256_set1_epi16(static_cast<short>(cells[0]));
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(cells));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(cells + 16));
  const __m256i equal = _mm256_and_si256(_mm256_cmpeq_epi16(low, first), _mm256_cmpeq_epi16(high, first));
  return _mm256_movemask_epi8(equal) == -1;
#else
  std::uint64_t first[8];
  std::uint64_t shifted[8];
  std::uint64_t different = 0;
  std::memcpy(first, cells, sizeof first);
  std::memcpy(shifted, cells + 1, sizeof shifted - 2);
  shifted[7] = (first[7] >> 16) | (first[7] & 0xffff000000000000u);
  for (int k = 0; k < 8; ++k) different |= first[k] ^ shifted[k];
  return different == 0;
#endif
}

template <class Count>
inline __attribute__((always_inline)) void add_to(Count* cells, std::uint16_t at, Count n) {
  cells[at] = static_cast<Count>(cells[at] + n);
}

// Adds some tiles of one stream.
template <class Count>
void add_stream(const Stream<Count>& x, const std::uint16_t* at, std::int32_t tiles) {
  for (; tiles > 0; --tiles, at += kTile) {
    if (all_equal(at)) {
      add_to(x.even, at[0], Count{kTile});
      continue;
    }
    for (std::int32_t j = 0; j < kTile; j += 2) {
      add_to(x.even, at[j], Count{1});
      add_to(x.odd, at[j + 1], Count{1});
    }
  }
}

// Adds as many tiles of two streams, in turns, so that equal cells in a row wait less for each other.
template <class Count>
void add_streams(const Stream<Count>& x, const Stream<Count>& y, const std::uint16_t* at, const std::uint16_t* to,
                 std::int32_t tiles) {
  for (; tiles > 0; --tiles, at += kTile, to += kTile) {
    if (all_equal(at) && all_equal(to)) {
      add_to(x.even, at[0], Count{kTile});
      add_to(y.even, to[0], Count{kTile});
      continue;
    }
    for (std::int32_t j = 0; j < kTile; j += 2) {
      add_to(x.even, at[j], Count{1});
      add_to(y.even, to[j], Count{1});
      add_to(x.odd, at[j + 1], Count{1});
      add_to(y.odd, to[j + 1], Count{1});
    }
  }
}

// Computes and adds all cells of the streams, row by row.
template <class Count>
void count_streams(const LevelPlane& plane, const PixelOffset* offsets, const JointPlan& plan, bool symmetric,
                   const Stream<Count> (&streams)[2], const GlcmScratch& scratch) {
  for (std::int64_t row = 0; row < plane.height; ++row) {
    for (std::int64_t from = 0; from < plane.width; from += kPairChunk) {
      std::int32_t tiles[2] = {0, 0};
      for (int s = 0; s < plan.streams; ++s) {
        const Region& region = streams[s].region;
        const std::int64_t left = region.column_end - region.column - from;
        if (row < region.row || row >= region.row_end || left <= 0) continue;
        const auto n = static_cast<std::int32_t>(left < kPairChunk ? left : kPairChunk);
        tiles[s] = (n + kTile - 1) / kTile;
        const auto at = [&](int offset) {
          return plane.levels + (row + offsets[offset].rows) * plane.pitch + region.column + from +
                 offsets[offset].columns;
        };
        const std::uint8_t* p = plane.levels + row * plane.pitch + region.column + from;
        std::uint16_t* cells = scratch.pairs + s * kJointRow;
        if (plan.b[s] >= 0)
          joint_cells(p, at(plan.a[s]), at(plan.b[s]), n, cells);
        else
          pair_cells<kJointShift>(p, at(plan.a[s]), n, symmetric, cells);
        for (std::int32_t i = n; i < n + kTile; ++i) cells[i] = plan.b[s] >= 0 ? kNoTriple : kNoPair;
      }
      const std::int32_t shared = tiles[0] < tiles[1] ? tiles[0] : tiles[1];
      const std::uint16_t* second = scratch.pairs + kJointRow;
      add_streams(streams[0], streams[1], scratch.pairs, second, shared);
      add_stream(streams[0], scratch.pairs + shared * kTile, tiles[0] - shared);
      add_stream(streams[1], second + shared * kTile, tiles[1] - shared);
    }
  }
}

}  // namespace
}  // namespace iuscore::IUSCORE_ZONE
