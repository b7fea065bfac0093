#include "cpu/glcm_features_isa.h"

#include <cstring>

#include "cpu/glcm_pairs.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// The cells of a matrix that are read: rows and columns lowest .. highest; of unordered pairs only columns >= row.
struct CellRange {
  std::int32_t lowest;
  std::int32_t highest;
  std::int32_t shift;
};

constexpr std::int32_t kDiagonal = kMaxLevels;  // where i = j is in the histogram of j - i
// Copies of the two histograms, which successive rows use in turns. Two successive rows overlap in a histogram, shifted
// by one, and reading what was just written at another alignment is slow.
constexpr std::int32_t kTurns = 4;

// Marginals, and the histograms of i + j and j - i. Rows are added 32 counts at a time; hence the room at the ends.
template <class Count>
struct Histograms {
  alignas(64) Count row[kMaxLevels];
  alignas(64) Count column[kMaxLevels];
  alignas(64) Count sum[kTurns][2 * kMaxLevels + kRowCounts];
  alignas(64) Count difference[kTurns][2 * kMaxLevels + kRowCounts];

  // Of matrices with this many columns, a multiple of kRowCounts.
  template <bool kSums>
  void clear_all(std::int32_t columns) {
    for (std::int32_t k = 0; k < columns; k += kRowCounts) {
      clear(row + k);
      clear(column + k);
    }
    for (std::int32_t t = 0; t < kTurns; ++t)
      for (std::int32_t k = 0; k < 2 * columns + kRowCounts; k += kRowCounts) {
        if (kSums) clear(sum[t] + k);
        clear(difference[t] + kDiagonal - columns + k);
      }
  }
};

std::uint64_t term_of(const GlcmTables& tables, std::uint32_t count) {
  return count < tables.term_count ? tables.terms[count] : entropy_term(count, tables.context.entropy_shift);
}

// Adds columns from .. to of row i to the histograms, takes them into `largest`, and writes 32 partial sums of the row.
template <bool kSums, class Count>
void add_row_counts(const Count* counts, std::int32_t i, std::int32_t from, std::int32_t to, Histograms<Count>& h,
                    Row<Count>& largest, Count* partial) {
  Row<Count> total{};
  for (std::int32_t j = from; j < to; j += kRowCounts) {
    Row<Count> row;
    load(counts + j, row);
    add(row, total);
    widen_to(row, largest);
    add_at(row, h.column + j);
    if (kSums) add_at(row, h.sum[i % kTurns] + i + j);
    add_at(row, h.difference[i % kTurns] + kDiagonal + j - i);
  }
  store(total, partial);
}

// Sums over the cells c of a matrix: T(c) and c (c - 1), to which counts of 0 and 1 add nothing; over the diagonal also
// c, c^2 and the largest c. In the sum with the transpose a diagonal cell becomes 2c, and any other cell occurs twice.
template <class Count>
struct Joint {
  std::uint64_t terms;
  std::uint64_t products;
  std::uint64_t diagonal;
  std::uint64_t diagonal_squares;
  std::uint64_t diagonal_largest;
  // The same as `products`, of 16-bit counters: their sum is below 2^16, so all products together stay below 2^32.
  alignas(64) std::uint32_t small_products[kRowCounts];

  void add_diagonal(std::uint64_t c) {
    diagonal += c;
    diagonal_squares += c * c;
    diagonal_largest = c > diagonal_largest ? c : diagonal_largest;
  }

  void write(const Row<Count>& largest, bool symmetric, std::int32_t shift, GlcmSums& s) const {
    std::uint64_t squares = products + s.pairs;
    for (const std::uint32_t small : small_products) squares += small;
    s.joint_entropy = terms + (diagonal << shift);
    s.joint_square = symmetric ? 2 * (squares + diagonal_squares) : squares;
    s.joint_largest = 2 * diagonal_largest;
    Count most[kRowCounts];
    store(largest, most);
    for (const Count count : most) s.joint_largest = count > s.joint_largest ? count : s.joint_largest;
  }
};

// The sum of T over eight 16-bit counts, all below term_count. Two words instead of eight counts: from eight counts the
// compiler would build vectors, and then extract each index from them again.
[[maybe_unused]] std::uint64_t terms_of(const std::uint16_t* counts, const std::uint64_t* terms) {
  std::uint64_t words[2];
  std::memcpy(words, counts, sizeof words);
  if (((words[0] | words[1]) & 0xfffefffefffefffeu) == 0) return 0;
  const auto four = [&](std::uint64_t word) {
    return terms[word & 0xffffu] + terms[word >> 16 & 0xffffu] + terms[word >> 32 & 0xffffu] + terms[word >> 48];
  };
  return four(words[0]) + four(words[1]);
}

template <class Count>
void add_joint(const Count* counts, std::int32_t from, std::int32_t to, const GlcmTables& tables, Joint<Count>& joint) {
  for (std::int32_t j = from & ~(kRowCounts - 1); j < to; j += kRowCounts) {
    const Count* row = counts + j;
    if (!any_above_one(row)) continue;
    const std::int32_t start = j < from ? (from - j) & ~7 : 0;
    if constexpr (sizeof(Count) == 2) {
      for (std::int32_t k = 0; k < kRowCounts; ++k) {
        const std::uint32_t c = row[k];
        joint.small_products[k] += c * (c - 1);
      }
      for (std::int32_t k = start; k < kRowCounts; k += 8) joint.terms += terms_of(row + k, tables.terms);
    } else {
      for (std::int32_t k = start; k < kRowCounts; ++k) {
        const std::uint64_t c = row[k];
        joint.products += c * (c - 1);
        joint.terms += term_of(tables, row[k]);
      }
    }
  }
}

// Adds the copies of the histograms to the first one.
template <bool kSums, class Count>
void join_turns(Histograms<Count>& h, const CellRange& range) {
  const auto join = [](Count(&copies)[kTurns][2 * kMaxLevels + kRowCounts], std::int32_t from, std::int32_t to) {
    for (std::int32_t k = from; k < to; k += kRowCounts) {
      Row<Count> total;
      load(copies[0] + k, total);
      for (std::int32_t t = 1; t < kTurns; ++t) {
        Row<Count> more;
        load(copies[t] + k, more);
        add(more, total);
      }
      store(total, copies[0] + k);
    }
  };
  const std::int32_t steps = range.highest - range.lowest;
  if (kSums) join(h.sum, 2 * range.lowest & ~(kRowCounts - 1), 2 * range.highest + 1);
  join(h.difference, (kDiagonal - steps) & ~(kRowCounts - 1), kDiagonal + steps + 1);
}

template <bool kSums, class Count>
GlcmSums sums_of(Histograms<Count>& h, const CellRange& range, const GlcmTables& tables) {
  GlcmSums s{};
  const GlcmContext& context = tables.context;
  join_turns<kSums>(h, range);
  for (std::int32_t i = range.lowest; i <= range.highest; ++i) {
    add_row(s, i, h.row[i]);
    add_column(s, i, h.column[i]);
  }
  if (kSums)
    for (std::int32_t k = 2 * range.lowest; k <= 2 * range.highest; ++k) add_sum(s, k, h.sum[0][k], 0, context.levels);
  std::uint32_t differences[kMaxLevels];
  const std::int32_t steps = range.highest - range.lowest + 1;
  for (std::int32_t k = 0; k < steps; ++k) {
    const std::uint32_t behind = k > 0 ? h.difference[0][kDiagonal - k] : 0;
    differences[k] = h.difference[0][kDiagonal + k] + behind;
    add_difference(s, k, differences[k], 0);
  }
  if ((tables.needs & kNeedsMarginalEntropy) != 0)
    for (std::int32_t i = range.lowest; i <= range.highest; ++i) {
      const std::uint32_t row = h.row[i];
      const std::uint32_t column = h.column[i];
      s.row_entropy += term_of(tables, context.symmetric ? row + column : row);
      if (!context.symmetric) s.column_entropy += term_of(tables, column);
    }
  if ((tables.needs & kNeedsHistogramEntropy) != 0) {
    for (std::int32_t k = 2 * range.lowest; kSums && k <= 2 * range.highest; ++k)
      s.sum_entropy += term_of(tables, h.sum[0][k]);
    for (std::int32_t k = 0; k < steps; ++k) s.difference_entropy += term_of(tables, differences[k]);
  }
  for (std::int32_t w = 0; w < kGlcmWeights; ++w) {
    if ((tables.needs & (kNeedsWeight << w)) == 0) continue;
    const std::uint64_t* weights = tables.weights + w * context.levels;
    std::uint64_t weighted = 0;
    for (std::int32_t k = 0; k < steps; ++k) weighted += weights[k] * differences[k];
    s.weighted[w] = weighted;
  }
  return s;
}

// Reads a matrix once, clears it, and writes its sums. kSums: also the sums over i + j.
template <bool kSums, class Count>
void read_matrix_sums(Count* first, Count* second, const CellRange& range, const GlcmTables& tables, GlcmSums& s) {
  Histograms<Count> h;
  h.template clear_all<kSums>(1 << range.shift);
  Row<Count> largest{};
  Joint<Count> joint{};
  const bool symmetric = tables.context.symmetric;
  const bool needs_joint = (tables.needs & (kNeedsJoint | kNeedsJointEntropy)) != 0;
  const std::int32_t to = (range.highest & ~(kRowCounts - 1)) + kRowCounts;
  for (std::int32_t block = range.lowest & ~7; block <= range.highest; block += 8) {
    alignas(64) Count partial[8 * kRowCounts];
    for (std::int32_t i = block; i < block + 8; ++i) {
      if (i < range.lowest || i > range.highest) {
        clear(partial + (i - block) * kRowCounts);
        continue;
      }
      const std::int32_t from = (symmetric ? i : range.lowest) & ~(kRowCounts - 1);
      Count* counts = first + (i << range.shift);
      join_copies(counts + from, second == nullptr ? nullptr : second + (i << range.shift) + from, to - from);
      add_row_counts<kSums>(counts, i, from, to, h, largest, partial + (i - block) * kRowCounts);
      if (needs_joint) add_joint(counts, symmetric ? i : from, to, tables, joint);
      if (needs_joint && symmetric) joint.add_diagonal(counts[i]);
      for (std::int32_t j = from; j < to; j += kRowCounts) clear(counts + j);
    }
    add_row_sums(partial, h.row + block);
  }
  s = sums_of<kSums>(h, range, tables);
  joint.write(largest, symmetric, tables.context.entropy_shift, s);
}

template <class Count>
void read_matrix(Count* first, Count* second, const CellRange& range, const GlcmTables& tables, GlcmSums& s) {
  if ((tables.needs & kNeedsSums) != 0)
    read_matrix_sums<true>(first, second, range, tables, s);
  else
    read_matrix_sums<false>(first, second, range, tables, s);
}

template <class Count>
void sum_all(const LevelPlane& plane, const PixelOffset* offsets, std::int32_t offset_count, const GlcmShape& shape,
             const GlcmTables& tables, const GlcmScratch& scratch, GlcmSums* sums) {
  const CellRange range{plane.lowest, plane.highest, shape.shift};
  const auto use = [&](std::int32_t k, Count* first, Count* second) {
    read_matrix(first, second, range, tables, sums[k]);
  };
  for_each_matrix<Count>(plane, offsets, offset_count, shape, tables.context.symmetric, scratch, use);
}

}  // namespace

void sum_plane(const LevelPlane& plane, const PixelOffset* offsets, std::int32_t offset_count, const GlcmTables& tables,
               const GlcmScratch& scratch, GlcmSums* sums) {
  const GlcmShape shape = glcm_shape(plane.level_count, plane.height * plane.width);
  if (shape.counts_in_16_bits)
    sum_all<std::uint16_t>(plane, offsets, offset_count, shape, tables, scratch, sums);
  else
    sum_all<std::uint32_t>(plane, offsets, offset_count, shape, tables, scratch, sums);
}

void sum_matrix(const std::int32_t* counts, const GlcmTables& tables, const GlcmScratch& scratch, GlcmSums* sums) {
  const std::int32_t levels = tables.context.levels;
  const std::int32_t shift = glcm_shape(levels, kMaxGlcmPixels).shift;
  auto* cells = static_cast<std::uint32_t*>(scratch.cells);
  for (std::int32_t i = 0; i < levels; ++i)
    for (std::int32_t j = 0; j < levels; ++j) {
      const bool below = tables.context.symmetric && j < i;
      cells[below ? (j << shift) + i : (i << shift) + j] += static_cast<std::uint32_t>(counts[i * levels + j]);
    }
  read_matrix<std::uint32_t>(cells, nullptr, {0, levels - 1, shift}, tables, *sums);
}

}  // namespace iuscore::IUSCORE_ISA
