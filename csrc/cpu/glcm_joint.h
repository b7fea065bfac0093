// Pairs of up to 32 levels, three pixels at a time: a pixel p with those at p + a and p + b is one of 32^3 cells, and
// the sums over one index of the three are the pairs of offset a, of offset b, and of b - a if that is asked for too.
// One increment then counts two or three pairs; a processor does about one a cycle, so that is what counting costs. At
// distance 1 the four usual offsets take two increments a pixel instead of four. Included by files that are compiled
// for each instruction set only.
#pragma once

#include "cpu/equal_values.h"
#include "cpu/glcm_pairs.h"

namespace iuscore::IUSCORE_ISA {
namespace {

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

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
