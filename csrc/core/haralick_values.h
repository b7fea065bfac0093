// From the sums of core/haralick.h to the features, in double.
#pragma once

#include "core/haralick.h"

namespace iuscore {

// Mean and variance of n integers x with sum s1 and sum of squares s2. The sums are first shifted, exactly, by the
// integer nearest to the mean, so that nothing cancels. Unsigned products may wrap around; the shifted sums fit.
struct Moments {
  double n;
  std::int64_t center;  // integer nearest to the mean
  std::int64_t rest;    // sum of x - center, at most n / 2 in magnitude
  double mean;
  double variance;
};

IUSCORE_HD Moments moments_of(std::uint64_t n, std::int64_t s1, std::uint64_t s2) {
  const auto count = static_cast<std::int64_t>(n);
  const std::int64_t half = s1 < 0 ? -(count / 2) : count / 2;
  const std::int64_t center = (s1 + half) / count;
  const std::int64_t rest = s1 - center * count;
  const auto c = static_cast<std::uint64_t>(center);
  const std::uint64_t square = s2 - 2 * c * static_cast<std::uint64_t>(s1) + c * c * n;
  const auto total = static_cast<double>(n);
  const auto r = static_cast<double>(rest);
  return {total, center, rest, static_cast<double>(center) + r / total,
          (static_cast<double>(square) - r * r / total) / total};
}

// Moments of the first and the second level of the pairs; of a symmetric matrix, with its transpose.
struct JointMoments {
  Moments row;
  Moments column;
  std::uint64_t product;  // sum i j
  std::uint64_t total;
};

IUSCORE_HD JointMoments joint_moments(const GlcmSums& s, bool symmetric) {
  const std::uint64_t product = (s.row_square + s.column_square - s.contrast) / 2;
  if (!symmetric)
    return {moments_of(s.pairs, static_cast<std::int64_t>(s.row), s.row_square),
            moments_of(s.pairs, static_cast<std::int64_t>(s.column), s.column_square), product, s.pairs};
  const Moments both =
      moments_of(2 * s.pairs, static_cast<std::int64_t>(s.row + s.column), s.row_square + s.column_square);
  return {both, both, 2 * product, 2 * s.pairs};
}

IUSCORE_HD double correlation_of(const GlcmSums& s, bool symmetric) {
  const JointMoments m = joint_moments(s, symmetric);
  if (m.row.variance == 0.0 || m.column.variance == 0.0) return 1.0;
  // sum (i - a)(j - b) for the integer centers a and b: exact although unsigned products may wrap around.
  const auto a = static_cast<std::uint64_t>(m.row.center);
  const auto b = static_cast<std::uint64_t>(m.column.center);
  const std::uint64_t row = a * m.total + static_cast<std::uint64_t>(m.row.rest);
  const std::uint64_t column = b * m.total + static_cast<std::uint64_t>(m.column.rest);
  const auto moved = static_cast<std::int64_t>(m.product - a * column - b * row + a * b * m.total);
  const double shift = static_cast<double>(m.row.rest) * static_cast<double>(m.column.rest) / m.row.n;
  const double covariance = (static_cast<double>(moved) - shift) / m.row.n;
  return covariance / (sqrt(m.row.variance) * sqrt(m.column.variance));
}

// Third and fourth central moment of i + j.
struct ClusterMoments {
  double third;
  double fourth;
};

IUSCORE_HD ClusterMoments cluster_moments(const GlcmSums& s) {
  const Moments m = moments_of(s.pairs, s.sum1, static_cast<std::uint64_t>(s.sum2));
  const auto c = static_cast<std::uint64_t>(m.center);
  const auto s1 = static_cast<std::uint64_t>(s.sum1);
  const auto s2 = static_cast<std::uint64_t>(s.sum2);
  const auto s3 = static_cast<std::uint64_t>(s.sum3);
  const auto s4 = static_cast<std::uint64_t>(s.sum4);
  // Shifted to the center, exactly. The fourth power is below 2^63 for any 2^30 pairs.
  const std::uint64_t square = s2 - 2 * c * s1 + c * c * s.pairs;
  const std::uint64_t cube = s3 - 3 * c * s2 + 3 * c * c * s1 - c * c * c * s.pairs;
  const std::uint64_t power4 = s4 - 4 * c * s3 + 6 * c * c * s2 - 4 * c * c * c * s1 + c * c * c * c * s.pairs;
  const double d = static_cast<double>(m.rest) / m.n;
  const double m2 = static_cast<double>(square) / m.n;
  const double m3 = static_cast<double>(static_cast<std::int64_t>(cube)) / m.n;
  const double m4 = static_cast<double>(power4) / m.n;
  return {m3 - 3.0 * d * m2 + 2.0 * d * d * d, m4 - 4.0 * d * m3 + 6.0 * d * d * m2 - 3.0 * d * d * d * d};
}

struct Information {
  double joint;   // HXY
  double row;     // HX
  double column;  // HY; HXY1 = HXY2 = HX + HY
};

IUSCORE_HD Information information_of(const GlcmSums& s, const GlcmContext& context) {
  const std::int32_t shift = context.entropy_shift;
  if (!context.symmetric)
    return {entropy_of(s.pairs, s.joint_entropy, shift, 0.0), entropy_of(s.pairs, s.row_entropy, shift, 0.0),
            entropy_of(s.pairs, s.column_entropy, shift, 0.0)};
  // In c + c^T a cell u off the diagonal occurs twice, and one on it is 2u: log2(2N) - sum (u log2 u + [diagonal] u) /
  // N.
  const double joint = entropy_of(s.pairs, s.joint_entropy, shift, 1.0);
  const double both = entropy_of(2 * s.pairs, s.row_entropy, shift, 0.0);
  return {joint, both, both};
}

IUSCORE_HD double imc1_of(const Information& h) {
  const double larger_one = h.row > h.column ? h.row : h.column;
  return larger_one == 0.0 ? 0.0 : (h.joint - h.row - h.column) / larger_one;
}

IUSCORE_HD double imc2_of(const Information& h) {
  const double shared = h.row + h.column - h.joint;
  return shared > 0.0 ? sqrt(one_minus_exp(2.0 * shared)) : 0.0;
}

// Variance of the entries p[k] of the difference histogram, k = 0 .. largest_level; not of the differences k.
IUSCORE_HD double variance_of_bins(const GlcmSums& s, const GlcmContext& context) {
  const auto n = static_cast<double>(s.pairs);
  const double bins = static_cast<double>(context.largest_level) + 1.0;
  return (static_cast<double>(s.difference_square) / (n * n) - 1.0 / bins) / bins;
}

IUSCORE_HD double glcm_feature(GlcmFeature feature, const GlcmSums& s, const GlcmContext& context) {
  if (s.pairs == 0) return 0.0;
  const auto n = static_cast<double>(s.pairs);
  const double total = context.symmetric ? 2.0 * n : n;
  const auto levels = static_cast<double>(context.levels);
  const auto weighted = [&](std::int32_t which) {
    return static_cast<double>(s.weighted[which]) * power_of_two(-context.weight_shift) / n;
  };
  switch (feature) {
    case GlcmFeature::contrast:
      return static_cast<double>(s.contrast) / n;
    case GlcmFeature::dissimilarity:
      return static_cast<double>(s.difference) / n;
    case GlcmFeature::homogeneity:
      return weighted(kHomogeneity);
    case GlcmFeature::angular_second_moment:
      return static_cast<double>(s.joint_square) / (total * total);
    case GlcmFeature::energy:
      return sqrt(static_cast<double>(s.joint_square)) / total;
    case GlcmFeature::correlation:
      return correlation_of(s, context.symmetric);
    case GlcmFeature::mean:
      return joint_moments(s, context.symmetric).row.mean;
    case GlcmFeature::variance:
      return joint_moments(s, context.symmetric).row.variance;
    case GlcmFeature::standard_deviation:
      return sqrt(joint_moments(s, context.symmetric).row.variance);
    case GlcmFeature::entropy_nats:
      return kLn2 * information_of(s, context).joint;
    case GlcmFeature::joint_entropy:
      return information_of(s, context).joint;
    case GlcmFeature::joint_maximum:
      return static_cast<double>(s.joint_largest) / total;
    case GlcmFeature::joint_average:
      return joint_moments(s, context.symmetric).row.mean + 1.0;
    case GlcmFeature::sum_average:
      return static_cast<double>(s.sum1) / n + (levels + 1.0);
    case GlcmFeature::sum_average_zero_based:
      return static_cast<double>(s.sum1) / n + (levels - 1.0);
    case GlcmFeature::sum_variance:
      return moments_of(s.pairs, s.sum1, static_cast<std::uint64_t>(s.sum2)).variance;
    case GlcmFeature::sum_entropy:
      return entropy_of(s.pairs, s.sum_entropy, context.entropy_shift, 0.0);
    case GlcmFeature::difference_variance:
      return moments_of(s.pairs, static_cast<std::int64_t>(s.difference), s.contrast).variance;
    case GlcmFeature::difference_variance_of_bins:
      return variance_of_bins(s, context);
    case GlcmFeature::difference_entropy:
      return entropy_of(s.pairs, s.difference_entropy, context.entropy_shift, 0.0);
    case GlcmFeature::imc1:
      return imc1_of(information_of(s, context));
    case GlcmFeature::imc2:
      return imc2_of(information_of(s, context));
    case GlcmFeature::inverse_difference:
      return weighted(kInverse);
    case GlcmFeature::inverse_difference_normalized:
      return weighted(kInverseNormalized);
    case GlcmFeature::inverse_difference_moment_normalized:
      return weighted(kMomentNormalized);
    case GlcmFeature::inverse_variance:
      return weighted(kInverseSquare);
    case GlcmFeature::autocorrelation: {
      const JointMoments m = joint_moments(s, context.symmetric);
      return static_cast<double>(m.product) / total + m.row.mean + m.column.mean + 1.0;
    }
    case GlcmFeature::cluster_shade:
      return cluster_moments(s).third;
    case GlcmFeature::cluster_prominence:
      return cluster_moments(s).fourth;
  }
  return 0.0;
}

}  // namespace iuscore
