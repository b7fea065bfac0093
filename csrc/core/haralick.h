// Co-occurrence features from integer sums. Names, formulas and sources: docs/glcm_features.md.
//
// c[i, j] is the number of pairs with level i at the first and j at the second pixel; N is the number of all pairs;
// levels are 0 .. L - 1. All sums are integers, so that the bits depend neither on their order nor on the number of
// threads. `symmetric` asks for features of c + c^T, whose sum is 2N. Then pairs may be counted unordered, as c[min,
// max].
#pragma once

#include <cmath>
#include <cstdint>

#include "core/entropy.h"
#include "core/macros.h"

namespace iuscore {

enum class GlcmFeature : std::int32_t {
  contrast,
  dissimilarity,
  homogeneity,
  angular_second_moment,
  energy,
  correlation,
  mean,
  variance,
  standard_deviation,
  entropy_nats,
  joint_entropy,
  joint_maximum,
  joint_average,
  sum_average,
  sum_average_zero_based,
  sum_variance,
  sum_entropy,
  difference_variance,
  difference_variance_of_bins,
  difference_entropy,
  imc1,
  imc2,
  inverse_difference,
  inverse_difference_normalized,
  inverse_difference_moment_normalized,
  inverse_variance,
  autocorrelation,
  cluster_shade,
  cluster_prominence,
};
constexpr std::int32_t kGlcmFeatures = 29;

// Weights of the difference histogram.
enum GlcmWeight : std::int32_t { kHomogeneity, kInverse, kInverseNormalized, kMomentNormalized, kInverseSquare };
constexpr std::int32_t kGlcmWeights = 5;

// Bits for what a feature needs besides the plain sums; weight w is the bit kNeedsWeight << w.
constexpr std::uint32_t kNeedsJoint = 1;             // joint_square, joint_largest
constexpr std::uint32_t kNeedsJointEntropy = 2;      // joint_entropy
constexpr std::uint32_t kNeedsMarginalEntropy = 4;   // row_entropy, column_entropy
constexpr std::uint32_t kNeedsHistogramEntropy = 8;  // sum_entropy, difference_entropy
constexpr std::uint32_t kNeedsWeight = 16;
constexpr std::uint32_t kNeedsSums = kNeedsWeight << kGlcmWeights;  // sum1 .. sum4

IUSCORE_HD std::uint32_t glcm_needs(GlcmFeature feature) {
  switch (feature) {
    case GlcmFeature::angular_second_moment:
    case GlcmFeature::energy:
    case GlcmFeature::joint_maximum:
      return kNeedsJoint;
    case GlcmFeature::entropy_nats:
    case GlcmFeature::joint_entropy:
      return kNeedsJointEntropy;
    case GlcmFeature::imc1:
    case GlcmFeature::imc2:
      return kNeedsJointEntropy | kNeedsMarginalEntropy;
    case GlcmFeature::sum_entropy:
      return kNeedsHistogramEntropy | kNeedsSums;
    case GlcmFeature::difference_entropy:
      return kNeedsHistogramEntropy;
    case GlcmFeature::sum_average:
    case GlcmFeature::sum_average_zero_based:
    case GlcmFeature::sum_variance:
    case GlcmFeature::cluster_shade:
    case GlcmFeature::cluster_prominence:
      return kNeedsSums;
    case GlcmFeature::homogeneity:
      return kNeedsWeight << kHomogeneity;
    case GlcmFeature::inverse_difference:
      return kNeedsWeight << kInverse;
    case GlcmFeature::inverse_difference_normalized:
      return kNeedsWeight << kInverseNormalized;
    case GlcmFeature::inverse_difference_moment_normalized:
      return kNeedsWeight << kMomentNormalized;
    case GlcmFeature::inverse_variance:
      return kNeedsWeight << kInverseSquare;
    default:
      return 0;
  }
}

// Sums over a matrix c. All are additive, except joint_largest. T is entropy_term() with the context's shift.
struct GlcmSums {
  std::uint64_t pairs;                   // N
  std::uint64_t row, row_square;         // sum c i, sum c i^2; of unordered pairs only row + column means something
  std::uint64_t column, column_square;   // sum c j, sum c j^2
  std::int64_t sum1, sum2, sum3, sum4;   // sum c t^n, t = i + j - (L - 1)
  std::uint64_t difference, contrast;    // sum c |i - j|, sum c (i - j)^2
  std::uint64_t difference_square;       // sum over k of (sum of c where |i - j| = k)^2
  std::uint64_t weighted[kGlcmWeights];  // sum c glcm_weight(w, |i - j|)
  std::uint64_t row_entropy;             // sum T(row sum of c); symmetric: sum T(row sum + column sum)
  std::uint64_t column_entropy;          // sum T(column sum of c); symmetric: not read
  std::uint64_t sum_entropy;             // sum T(diagonal sum of c where i + j = k)
  std::uint64_t difference_entropy;      // sum T(sum of c where |i - j| = k)
  std::uint64_t joint_entropy;  // sum T(c); symmetric: of c[i, j] + c[j, i], i < j, and T(c[i, i]) + c[i, i] 2^shift
  std::uint64_t joint_square;   // sum c^2; symmetric: of the sum with the transpose, all L x L cells
  std::uint64_t joint_largest;  // largest c; symmetric: largest of the sum with the transpose
};

struct GlcmContext {
  std::int32_t levels;  // L
  bool symmetric;
  std::int32_t entropy_shift;  // of T
  std::int32_t weight_shift;   // of glcm_weight
  // Largest level of the image's counted pixels, whether they are in a pair or not; of matrices, the largest level with
  // a count in any offset. largest_level + 1 is IBSI's Ng, used by difference_variance_of_bins and normalized weights.
  std::int32_t largest_level;
};

// most_pairs: an upper bound of N, at most 2^30: the pixels of the image, or the sum of the matrix.
IUSCORE_HD GlcmContext glcm_context(std::int32_t levels, bool symmetric, std::uint64_t most_pairs) {
  const std::int32_t shift = entropy_shift(2 * most_pairs);
  // A weight is at most 1, so a weighted sum stays below 2^62.
  return {levels, symmetric, shift, shift + 4 < 52 ? shift + 4 : 52, 0};
}

// Whether a weight depends on the largest level, and so on the image.
IUSCORE_HD bool is_normalized(std::int32_t which) { return which == kInverseNormalized || which == kMomentNormalized; }

// round(weight 2^shift), weight <= 1; one IEEE division.
IUSCORE_HD std::uint64_t glcm_weight(std::int32_t which, std::int32_t k, const GlcmContext& context) {
  const auto d = static_cast<double>(k);
  const double n = static_cast<double>(context.largest_level) + 1.0;
  double above = 1.0;
  double below = 1.0;
  switch (which) {
    case kHomogeneity:
      below = 1.0 + d * d;
      break;
    case kInverse:
      below = 1.0 + d;
      break;
    case kInverseNormalized:
      above = n;
      below = n + d;
      break;
    case kMomentNormalized:
      above = n * n;
      below = n * n + d * d;
      break;
    default:
      above = k == 0 ? 0.0 : 1.0;
      below = k == 0 ? 1.0 : d * d;
  }
  return static_cast<std::uint64_t>(above * power_of_two(context.weight_shift) / below + 0.5);
}

// Add one count of a histogram to the sums. term: T(count), or 0 if no entropy is asked for.

IUSCORE_HD void add_row(GlcmSums& to, std::int32_t level, std::uint32_t count) {
  const auto i = static_cast<std::uint64_t>(level);
  to.pairs += count;
  to.row += i * count;
  to.row_square += i * i * count;
}

IUSCORE_HD void add_column(GlcmSums& to, std::int32_t level, std::uint32_t count) {
  const auto j = static_cast<std::uint64_t>(level);
  to.column += j * count;
  to.column_square += j * j * count;
}

// k = i + j
IUSCORE_HD void add_sum(GlcmSums& to, std::int32_t k, std::uint32_t count, std::uint64_t term, std::int32_t levels) {
  const std::int64_t t = k - (levels - 1);
  const std::int64_t c = count;
  to.sum1 += t * c;
  to.sum2 += t * t * c;
  to.sum3 += t * t * t * c;
  to.sum4 += t * t * t * t * c;
  to.sum_entropy += term;
}

// k = |i - j|; without the weighted sums.
IUSCORE_HD void add_difference(GlcmSums& to, std::int32_t k, std::uint32_t count, std::uint64_t term) {
  const auto d = static_cast<std::uint64_t>(k);
  to.difference += d * count;
  to.contrast += d * d * count;
  to.difference_square += std::uint64_t{count} * count;
  to.difference_entropy += term;
}

}  // namespace iuscore
