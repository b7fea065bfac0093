// From a matrix's histograms and what was found in its cells to the sums of core/haralick.h, one warp a matrix.
#pragma once

#include <cstddef>

#include "core/haralick.h"
#include "cuda/block.cuh"

namespace iuscore {

// Terms of entropy and weights, from tables where there are any: computing one takes a division in double.
struct GlcmTerms {
  const std::uint64_t* terms;  // entropy_term of counts below term_count, or null
  std::uint32_t term_count;
  const std::uint64_t* weights;  // [kGlcmWeights, levels], of the normalized ones nothing; or null
  GlcmContext context;
  std::uint32_t needs;  // of the features asked for

  __device__ bool need(std::uint32_t what) const { return (needs & what) != 0; }

  __device__ std::uint64_t term(std::uint32_t count) const {
    return count < term_count ? terms[count] : entropy_term(count, context.entropy_shift);
  }

  __device__ std::uint64_t weight(std::int32_t which, std::int32_t k) const {
    const bool made = weights != nullptr && !is_normalized(which);
    return made ? weights[which * context.levels + k] : glcm_weight(which, k, context);
  }
};

// Histograms of a matrix c: kLineSlots * levels counts.
struct GlcmLines {
  std::uint32_t* rows;         // [levels]
  std::uint32_t* columns;      // [levels]
  std::uint32_t* differences;  // [levels], |i - j|
  std::uint32_t* sums;         // [2 levels - 1], i + j
};

__device__ inline GlcmLines glcm_lines(std::uint32_t* lines, std::int32_t levels) {
  return {lines, lines + levels, lines + 2 * levels, lines + 3 * levels};
}

// Whether rows and columns are counted. Those of a symmetric matrix are needed for their entropy alone.
IUSCORE_HD bool has_marginals(bool symmetric, std::uint32_t needs) {
  return !symmetric || (needs & kNeedsMarginalEntropy) != 0;
}

// What threads or warps found in the cells of c, or of c + c^T where that is asked for.
struct GlcmJoint {
  std::uint64_t terms;
  std::uint64_t square;
  std::uint64_t largest;
};

// A cell off the diagonal (twice in c + c^T), or any cell of a matrix that is not symmetric; one on the diagonal of c,
// where symmetric. Of a triangle: count is c[i, j] + c[j, i].
__device__ inline void add_cell(GlcmJoint& to, std::uint32_t count, bool symmetric, const GlcmTerms& terms) {
  if (count == 0) return;
  if (terms.need(kNeedsJointEntropy)) to.terms += terms.term(count);
  to.square += (symmetric ? 2 : 1) * (std::uint64_t{count} * count);
  to.largest = count > to.largest ? count : to.largest;
}
// Makes a diagonal cell out of one that add_cell took as symmetric.
__device__ inline void mend_diagonal(GlcmJoint& to, std::uint32_t count, const GlcmTerms& terms) {
  if (terms.need(kNeedsJointEntropy)) to.terms += std::uint64_t{count} << terms.context.entropy_shift;
  to.square += 2 * (std::uint64_t{count} * count);
  to.largest = 2 * count > to.largest ? 2 * count : to.largest;
}

__device__ inline std::uint64_t warp_sum(std::uint64_t value) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(kAllLanes, value, offset);
  return value;
}

__device__ inline std::uint64_t warp_largest(std::uint64_t value) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    const std::uint64_t other = __shfl_xor_sync(kAllLanes, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

constexpr std::int32_t kGlcmSums = sizeof(GlcmSums) / sizeof(std::uint64_t);
static_assert(kGlcmSums <= kWarpSize && sizeof(GlcmSums) == kGlcmSums * sizeof(std::uint64_t));

// Adds up one field after the other; lane i keeps the i-th of GlcmSums.
class GlcmCollector {
 public:
  __device__ explicit GlcmCollector(std::int32_t lane) : lane_(lane) {}

  // The field at `offset` bytes: the sum of the lanes' values, which all lanes get.
  __device__ std::uint64_t sum(std::size_t offset, std::uint64_t value) { return keep(offset, warp_sum(value)); }
  __device__ std::uint64_t keep(std::size_t offset, std::uint64_t value) {
    if (lane_ == static_cast<std::int32_t>(offset / sizeof(std::uint64_t))) mine_ = value;
    return value;
  }
  __device__ void write(std::uint64_t* sums) const {
    if (lane_ < kGlcmSums) sums[lane_] = mine_;
  }

 private:
  std::int32_t lane_;
  std::uint64_t mine_ = 0;
};

#define IUSCORE_SUM_FIELD(collector, sums, field) \
  (collector).sum(offsetof(GlcmSums, field), static_cast<std::uint64_t>((sums).field))

__device__ inline void collect_marginals(GlcmCollector& to, const GlcmLines& lines, const GlcmTerms& terms,
                                         std::int32_t lane) {
  GlcmSums s{};
  for (std::int32_t i = lane; i < terms.context.levels; i += kWarpSize) {
    const std::uint32_t row = lines.rows[i];
    const std::uint32_t column = lines.columns[i];
    add_row(s, i, row);
    add_column(s, i, column);
    if (!terms.need(kNeedsMarginalEntropy)) continue;
    s.row_entropy += terms.term(terms.context.symmetric ? row + column : row);
    if (!terms.context.symmetric) s.column_entropy += terms.term(column);
  }
  IUSCORE_SUM_FIELD(to, s, pairs);
  IUSCORE_SUM_FIELD(to, s, row);
  IUSCORE_SUM_FIELD(to, s, row_square);
  IUSCORE_SUM_FIELD(to, s, column);
  IUSCORE_SUM_FIELD(to, s, column_square);
  IUSCORE_SUM_FIELD(to, s, row_entropy);
  IUSCORE_SUM_FIELD(to, s, column_entropy);
}

// Returns sum c |i - j|^2 in `contrast` and N.
__device__ inline void collect_differences(GlcmCollector& to, const GlcmLines& lines, const GlcmTerms& terms,
                                           std::int32_t lane, std::uint64_t& contrast, std::uint64_t& pairs) {
  GlcmSums s{};
  for (std::int32_t k = lane; k < terms.context.levels; k += kWarpSize) {
    const std::uint32_t count = lines.differences[k];
    add_difference(s, k, count, terms.need(kNeedsHistogramEntropy) ? terms.term(count) : 0);
    s.pairs += count;
  }
  IUSCORE_SUM_FIELD(to, s, difference);
  contrast = IUSCORE_SUM_FIELD(to, s, contrast);
  pairs = warp_sum(s.pairs);
  IUSCORE_SUM_FIELD(to, s, difference_square);
  IUSCORE_SUM_FIELD(to, s, difference_entropy);
  IUSCORE_ROLLED
  for (std::int32_t w = 0; w < kGlcmWeights; ++w) {
    if (!terms.need(kNeedsWeight << w)) continue;
    std::uint64_t sum = 0;
    for (std::int32_t k = lane; k < terms.context.levels; k += kWarpSize)
      if (lines.differences[k] > 0) sum += lines.differences[k] * terms.weight(w, k);
    to.sum(offsetof(GlcmSums, weighted) + static_cast<std::size_t>(w) * sizeof(std::uint64_t), sum);
  }
}

// Also what rows and columns together have, where no histogram of them was counted: i^2 + j^2 is half of
// (i + j)^2 + (i - j)^2.
__device__ inline void collect_sums(GlcmCollector& to, const GlcmLines& lines, const GlcmTerms& terms,
                                    std::int32_t lane, bool marginals, std::uint64_t contrast, std::uint64_t pairs) {
  GlcmSums s{};
  const std::int32_t levels = terms.context.levels;
  for (std::int32_t k = lane; k < 2 * levels - 1; k += kWarpSize) {
    const std::uint32_t count = lines.sums[k];
    add_sum(s, k, count, terms.need(kNeedsHistogramEntropy) ? terms.term(count) : 0, levels);
  }
  const std::uint64_t sum1 = IUSCORE_SUM_FIELD(to, s, sum1);
  const std::uint64_t sum2 = IUSCORE_SUM_FIELD(to, s, sum2);
  IUSCORE_SUM_FIELD(to, s, sum3);
  IUSCORE_SUM_FIELD(to, s, sum4);
  IUSCORE_SUM_FIELD(to, s, sum_entropy);
  if (marginals) return;
  const auto top = static_cast<std::uint64_t>(levels - 1);
  to.keep(offsetof(GlcmSums, pairs), pairs);
  to.keep(offsetof(GlcmSums, row), sum1 + top * pairs);
  to.keep(offsetof(GlcmSums, row_square), (sum2 + 2 * top * sum1 + top * top * pairs + contrast) / 2);
}

// The sums of one matrix: called by one warp, written to global memory.
__device__ inline void write_glcm_sums(const GlcmLines& lines, const GlcmJoint* joints, std::int32_t joint_count,
                                       const GlcmTerms& terms, std::uint64_t* sums) {
  const auto lane = static_cast<std::int32_t>(threadIdx.x) % kWarpSize;
  const bool marginals = has_marginals(terms.context.symmetric, terms.needs);
  GlcmCollector to(lane);
  if (marginals) collect_marginals(to, lines, terms, lane);
  std::uint64_t contrast = 0;
  std::uint64_t pairs = 0;
  collect_differences(to, lines, terms, lane, contrast, pairs);
  collect_sums(to, lines, terms, lane, marginals, contrast, pairs);
  GlcmJoint joint{};
  for (std::int32_t i = lane; i < joint_count; i += kWarpSize) {
    joint.terms += joints[i].terms;
    joint.square += joints[i].square;
    joint.largest = joints[i].largest > joint.largest ? joints[i].largest : joint.largest;
  }
  to.sum(offsetof(GlcmSums, joint_entropy), joint.terms);
  to.sum(offsetof(GlcmSums, joint_square), joint.square);
  to.keep(offsetof(GlcmSums, joint_largest), warp_largest(joint.largest));
  to.write(sums);
}

#undef IUSCORE_SUM_FIELD

}  // namespace iuscore
