// From the counts of an image to its results, one warp a plane or an offset. Functions of their own, because
// their registers would else be missing where pixels are counted.
#pragma once

#include "core/haralick_values.h"
#include "core/texture.h"
#include "cuda/block.cuh"
#include "ops/texture_stats.h"

namespace iuscore {

template <class... Values>
__device__ void add_over_warp(Values&... values) {
  ((values = sum_over_warp(values)), ...);
}

// fine: shared, uint32 [256]. histogram: [bins]; statistics: [8]; counted: one.
__device__ IUSCORE_APART void finish_plane(const std::uint32_t* fine, std::int32_t lane, std::int32_t bins,
                                           std::int32_t* histogram, float* statistics, std::int32_t* counted) {
  constexpr int kOwn = kCodes / kWarpSize;  // consecutive codes of a lane
  for (int bin = lane; bin < bins; bin += kWarpSize) {
    std::int32_t pixels = 0;
    for (int code = bin * (kCodes / bins); code < (bin + 1) * (kCodes / bins); ++code)
      pixels += static_cast<std::int32_t>(fine[code]);
    histogram[bin] = pixels;
  }
  CodeSums sums{};
  std::int64_t own = 0;
  std::int64_t sum = 0;
  for (int code = lane * kOwn; code < (lane + 1) * kOwn; ++code) {
    own += fine[code];
    sum += std::int64_t{fine[code]} * code;
  }
  sums.count = sum_over_warp(own);
  sum = sum_over_warp(sum);
  if (lane == 0) *counted = static_cast<std::int32_t>(sums.count);
  if (sums.count == 0) {
    if (lane < kStatistics) statistics[lane] = 0.0f;
    return;
  }
  sums.center = center_code(sums.count, sum);
  std::int64_t cumulative = own;
  for (int offset = 1; offset < kWarpSize; offset *= 2) {
    const std::int64_t before = __shfl_up_sync(kAllLanes, cumulative, static_cast<unsigned>(offset));
    if (lane >= offset) cumulative += before;
  }
  cumulative -= own;  // of the lanes before
  const std::int32_t shift = entropy_shift(static_cast<std::uint64_t>(sums.count));
  std::uint64_t terms = 0;
  std::int64_t ranks[kPercentiles] = {};
  for (int code = lane * kOwn; code < (lane + 1) * kOwn; ++code) {
    std::int64_t term = fine[code];
    for (std::int64_t& power : sums.powers) power += term *= code - sums.center;
    terms += entropy_term(fine[code], shift);
    cumulative += fine[code];
    for (int q = 0; q < kPercentiles; ++q) ranks[q] += reaches(cumulative, sums.count, q) ? 0 : 1;
  }
  add_over_warp(sums.powers[0], sums.powers[1], sums.powers[2], sums.powers[3], ranks[0], ranks[1], ranks[2], terms);
  if (lane == 0) plane_statistics(sums, terms, shift, ranks, statistics);
}

// matrix: shared or global, uint32 [levels, levels + 1], pairs in the order of their offset; the properties are those
// of the symmetric matrix. weights: glcm_weight(kHomogeneity, k). properties: [10].
__device__ IUSCORE_APART void finish_offset(const std::uint32_t* matrix, const std::uint64_t* weights,
                                            GlcmContext context, std::int32_t lane, float* properties) {
  const std::int32_t levels = context.levels;
  GlcmSums sums{};
  IUSCORE_ROLLED
  for (std::int32_t cell = lane; cell < levels * levels; cell += kWarpSize) {
    const std::int32_t i = cell / levels;
    const std::int32_t j = cell % levels;
    if (i > j) continue;
    std::uint32_t pairs = matrix[i * (levels + 1) + j];
    if (i < j) pairs += matrix[j * (levels + 1) + i];
    if (pairs == 0) continue;
    add_row(sums, i, pairs);
    add_column(sums, j, pairs);
    const auto gap = static_cast<std::uint64_t>(j - i);
    sums.difference += gap * pairs;
    sums.contrast += gap * gap * pairs;
    sums.weighted[kHomogeneity] += pairs * weights[j - i];
    const std::uint64_t square = std::uint64_t{pairs} * pairs;
    sums.joint_square += i == j ? 4 * square : 2 * square;
    sums.joint_entropy += entropy_term(pairs, context.entropy_shift);
    if (i == j) sums.joint_entropy += std::uint64_t{pairs} << context.entropy_shift;
  }
  add_over_warp(sums.pairs, sums.row, sums.row_square, sums.column, sums.column_square, sums.difference, sums.contrast,
                sums.weighted[kHomogeneity], sums.joint_square, sums.joint_entropy);
  if (lane < kTextureProperties)
    properties[lane] = static_cast<float>(glcm_feature(texture_property(lane), sums, context));
}

}  // namespace iuscore
