#include <cstring>

#include "cpu/glcm_pairs.h"
#include "cpu/glcm_plane.h"

namespace iuscore::IUSCORE_ZONE {
namespace {

// Which cells of a matrix are read: rows and columns lowest .. highest; only columns >= row where pairs have no order.
struct CellRange {
  std::int32_t lowest;
  std::int32_t highest;
  std::int32_t shift;
};

constexpr std::int32_t kChunk = 32;
constexpr std::int32_t kDiagonal = 256;  // index of i = j in the histogram of j - i

// Marginals and the histograms of i + j and j - i. A chunk is added as a whole, so the ends have room for one more.
template <class Count>
struct Histograms {
  alignas(64) std::uint32_t row[kMostLevels];
  alignas(64) Count column[kMostLevels];
  alignas(64) Count sum[2 * kMostLevels + kChunk];
  alignas(64) Count difference[2 * kMostLevels + kChunk];
};

std::uint64_t term_of(const GlcmTables& tables, std::uint32_t count) {
  return count < tables.term_count ? tables.terms[count] : entropy_term(count, tables.context.entropy_shift);
}

template <class Count>
inline __attribute__((always_inline)) void add_chunk(Count* __restrict to, const Count* __restrict chunk) {
  for (int k = 0; k < kChunk; ++k) to[k] = static_cast<Count>(to[k] + chunk[k]);
}

// Adds a row to the histograms; returns its sum, and its largest count through `largest`.
template <class Count>
std::uint32_t add_row_cells(const Count* row, std::int32_t i, std::int32_t from, std::int32_t to, Histograms<Count>& h,
                            Count (&largest)[kChunk]) {
  Count total[kChunk] = {};
  for (std::int32_t j = from; j < to; j += kChunk) {
    const Count* chunk = row + j;
    for (int k = 0; k < kChunk; ++k) {
      total[k] = static_cast<Count>(total[k] + chunk[k]);
      largest[k] = chunk[k] > largest[k] ? chunk[k] : largest[k];
    }
    add_chunk(h.column + j, chunk);
    add_chunk(h.sum + i + j, chunk);
    add_chunk(h.difference + kDiagonal + j - i, chunk);
  }
  std::uint32_t sum = 0;
  for (int k = 0; k < kChunk; ++k) sum += total[k];
  return sum;
}

// sum T(c) and sum c^2 of a row. Chunks without a count above 1 are their own squares and have no entropy.
template <class Count>
void add_joint(const Count* row, std::int32_t from, std::int32_t to, const GlcmTables& tables, std::uint64_t& terms,
               std::uint64_t& squares) {
  for (std::int32_t j = from; j < to; j += kChunk) {
    const Count* chunk = row + j;
    Count any = 0;
    std::uint32_t sum = 0;
    for (int k = 0; k < kChunk; ++k) any = static_cast<Count>(any | chunk[k]);
    if (any < 2) {
      for (int k = 0; k < kChunk; ++k) sum += chunk[k];
      squares += sum;
      continue;
    }
    for (int k = 0; k < kChunk; ++k) {
      const std::uint32_t c = chunk[k];
      squares += std::uint64_t{c} * c;
      // 16-bit counts are all in the table.
      terms += sizeof(Count) == 2 ? tables.terms[c] : term_of(tables, c);
    }
  }
}

template <class Count>
void finish_histograms(const Histograms<Count>& h, const CellRange& range, const GlcmTables& tables, GlcmSums& s) {
  const GlcmContext& context = tables.context;
  const bool marginal = (tables.needs & kNeedsMarginalEntropy) != 0;
  const bool histogram = (tables.needs & kNeedsHistogramEntropy) != 0;
  for (std::int32_t i = range.lowest; i <= range.highest; ++i) {
    add_row(s, i, h.row[i]);
    add_column(s, i, h.column[i]);
    if (!marginal) continue;
    if (context.symmetric) {
      s.row_entropy += term_of(tables, h.row[i] + h.column[i]);
    } else {
      s.row_entropy += term_of(tables, h.row[i]);
      s.column_entropy += term_of(tables, h.column[i]);
    }
  }
  for (std::int32_t k = 2 * range.lowest; k <= 2 * range.highest; ++k)
    add_sum(s, k, h.sum[k], histogram ? term_of(tables, h.sum[k]) : 0, context.levels);
  for (std::int32_t k = 0; k <= range.highest - range.lowest; ++k) {
    std::uint32_t count = h.difference[kDiagonal + k];
    if (k > 0) count += h.difference[kDiagonal - k];
    add_difference(s, k, count, histogram ? term_of(tables, count) : 0);
    for (std::int32_t w = 0; w < kGlcmWeights; ++w) s.weighted[w] += tables.weights[w * context.levels + k] * count;
  }
}

// Reads a matrix once, clears it, and writes its sums.
template <class Count>
void read_matrix(Count* first, Count* second, const CellRange& range, const GlcmTables& tables, GlcmSums& s) {
  Histograms<Count> h;
  std::memset(&h, 0, sizeof h);
  s = GlcmSums{};
  Count largest[kChunk] = {};
  std::uint64_t diagonal_largest = 0;
  const bool symmetric = tables.context.symmetric;
  const bool joint = (tables.needs & (kNeedsJoint | kNeedsJointEntropy)) != 0;
  const std::int32_t to = (range.highest & ~(kChunk - 1)) + kChunk;
  for (std::int32_t i = range.lowest; i <= range.highest; ++i) {
    const std::int32_t from = (symmetric ? i : range.lowest) & ~(kChunk - 1);
    Count* row = first + (i << range.shift);
    join_copies(row + from, second == nullptr ? nullptr : second + (i << range.shift) + from, to - from);
    h.row[i] = add_row_cells(row, i, from, to, h, largest);
    if (h.row[i] == 0) continue;
    if (joint) {
      std::uint64_t squares = 0;
      add_joint(row, from, to, tables, s.joint_entropy, squares);
      const std::uint64_t on = row[i];
      s.joint_square += symmetric ? 2 * (squares + on * on) : squares;
      if (symmetric) {
        s.joint_entropy += on << tables.context.entropy_shift;
        diagonal_largest = 2 * on > diagonal_largest ? 2 * on : diagonal_largest;
      }
    }
    for (std::int32_t j = from; j < to; j += kChunk) std::memset(row + j, 0, kChunk * sizeof(Count));
  }
  s.joint_largest = diagonal_largest;
  for (int k = 0; k < kChunk; ++k) s.joint_largest = largest[k] > s.joint_largest ? largest[k] : s.joint_largest;
  finish_histograms(h, range, tables, s);
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
  if (shape.narrow)
    sum_all<std::uint16_t>(plane, offsets, offset_count, shape, tables, scratch, sums);
  else
    sum_all<std::uint32_t>(plane, offsets, offset_count, shape, tables, scratch, sums);
}

void sum_matrix(const std::int32_t* counts, const GlcmTables& tables, const GlcmScratch& scratch, GlcmSums* sums) {
  const std::int32_t levels = tables.context.levels;
  const std::int32_t shift = glcm_shape(levels, kMostGlcmPixels).shift;
  auto* cells = static_cast<std::uint32_t*>(scratch.cells);
  for (std::int32_t i = 0; i < levels; ++i)
    for (std::int32_t j = 0; j < levels; ++j) {
      const bool below = tables.context.symmetric && j < i;
      cells[below ? (j << shift) + i : (i << shift) + j] += static_cast<std::uint32_t>(counts[i * levels + j]);
    }
  read_matrix<std::uint32_t>(cells, nullptr, {0, levels - 1, shift}, tables, *sums);
}

}  // namespace iuscore::IUSCORE_ZONE
