#include "ops/glcm_features.h"

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "core/haralick_values.h"
#include "cpu/glcm_scratch.h"
#include "cpu/parallel_for.h"

namespace iuscore {
namespace {

constexpr std::int32_t kShifts = 59;
constexpr std::int64_t kMaxTerms = 65536;

void write_features(const GlcmSums& sums, const GlcmContext& context, const GlcmFeaturesArgs& args, std::int64_t at) {
  for (std::int32_t f = 0; f < args.feature_count; ++f) {
    const double value = glcm_feature(args.features[f], sums, context);
    if (args.wide)
      static_cast<double*>(args.values)[at + f] = value;
    else
      static_cast<float*>(args.values)[at + f] = static_cast<float>(value);
  }
}

std::uint32_t needs_of(const GlcmFeature* features, std::int32_t count) {
  std::uint32_t needs = 0;
  for (std::int32_t f = 0; f < count; ++f) needs |= glcm_needs(features[f]);
  return needs;
}

// The sum of a matrix. Raises largest_level to the largest level that has a count.
std::uint64_t check_matrix(const std::int32_t* counts, std::int32_t levels, std::int32_t& largest_level) {
  std::uint64_t total = 0;
  bool negative = false;
  for (std::int32_t i = 0; i < levels; ++i) {
    std::uint64_t row = 0;
    std::int32_t last = 0;
    for (std::int32_t j = 0; j < levels; ++j) {
      const std::int32_t count = counts[i * levels + j];
      negative |= count < 0;
      row += static_cast<std::uint32_t>(count);
      last = count != 0 ? j : last;
    }
    if (row > 0) largest_level = std::max({largest_level, i, last});
    total += row;
  }
  if (negative || total > static_cast<std::uint64_t>(kMaxGlcmPixels))
    throw std::invalid_argument("images: expected counts >= 0, and a sum of at most 2^30 in each matrix");
  return total;
}

void matrix_features(const GlcmFeaturesArgs& args, std::uint32_t needs, GlcmThreadScratch& own, std::int64_t i) {
  const std::int32_t levels = args.quantization.levels;
  const std::int64_t size = std::int64_t{levels} * levels;
  std::int32_t largest_level = 0;
  std::vector<std::uint64_t> totals;
  for (std::int32_t k = 0; k < args.offset_count; ++k)
    totals.push_back(check_matrix(args.counts + (i * args.offset_count + k) * size, levels, largest_level));
  for (std::int32_t k = 0; k < args.offset_count; ++k) {
    const std::int64_t at = i * args.offset_count + k;
    const GlcmTables tables =
        own.tables(levels, args.symmetric, totals[static_cast<std::size_t>(k)], largest_level, needs);
    GlcmSums sums;
    own.kernels().sum_matrix(args.counts + at * size, tables, own.scratch(levels, kMaxGlcmPixels), &sums);
    write_features(sums, tables.context, args, at * args.feature_count);
  }
}

std::int32_t image_features(const GlcmFeaturesArgs& args, std::uint32_t needs, GlcmThreadScratch& own, std::int64_t i) {
  const MaskView* mask = args.masks == nullptr ? nullptr : args.masks + i;
  const QuantizeResult image = own.plane(args.images[i], mask, args.channels, args.pixel_type, args.quantization);
  const LevelPlane& plane = image.plane;
  const std::int64_t pixels = plane.height * plane.width;
  const GlcmTables tables =
      own.tables(plane.level_count, args.symmetric, static_cast<std::uint64_t>(pixels), plane.highest, needs);
  GlcmSums* sums = own.sums(args.offset_count);
  const GlcmScratch scratch = own.scratch(plane.level_count, pixels);
  own.kernels().sum(plane, args.offsets, args.offset_count, tables, scratch, sums);
  for (std::int32_t k = 0; k < args.offset_count; ++k)
    write_features(sums[k], tables.context, args, (i * args.offset_count + k) * args.feature_count);
  return image.largest;
}

}  // namespace

std::int64_t entropy_table_size(std::int32_t shift) {
  // entropy_shift(total) = 58 - bits of total.
  const std::int32_t bits = 58 - shift;
  return bits >= 16 ? kMaxTerms : std::int64_t{1} << bits;
}

const std::uint64_t* entropy_table(std::int32_t shift) {
  static std::once_flag made[kShifts];
  static std::vector<std::uint64_t> tables[kShifts];
  std::vector<std::uint64_t>& table = tables[shift];
  std::call_once(made[shift], [&] {
    table.resize(static_cast<std::size_t>(entropy_table_size(shift)));
    for (std::size_t c = 0; c < table.size(); ++c) table[c] = entropy_term(static_cast<std::uint32_t>(c), shift);
  });
  return table.data();
}

GlcmTables GlcmThreadScratch::tables(std::int32_t levels, bool symmetric, std::uint64_t most_pairs,
                                     std::int32_t largest_level, std::uint32_t needs) {
  GlcmContext context = glcm_context(levels, symmetric, most_pairs);
  context.largest_level = largest_level;
  const auto make = [&](std::int32_t w) {
    for (std::int32_t k = 0; k < levels; ++k)
      weights_[static_cast<std::size_t>(w * levels + k)] = glcm_weight(w, k, context);
  };
  const bool others = levels != weight_levels_ || context.weight_shift != weight_shift_;
  if (others) {
    weights_.resize(static_cast<std::size_t>(kGlcmWeights * levels));
    for (std::int32_t w = 0; w < kGlcmWeights; ++w)
      if (!is_normalized(w)) make(w);
    weight_levels_ = levels;
    weight_shift_ = context.weight_shift;
  }
  constexpr std::uint32_t kNormalized = (kNeedsWeight << kInverseNormalized) | (kNeedsWeight << kMomentNormalized);
  if (others) weight_largest_ = -1;
  if ((needs & kNormalized) != 0 && largest_level != weight_largest_) {
    make(kInverseNormalized);
    make(kMomentNormalized);
    weight_largest_ = largest_level;
  }
  return {entropy_table(context.entropy_shift), entropy_table_size(context.entropy_shift), weights_.data(), context,
          needs};
}

GlcmSums* GlcmThreadScratch::sums(std::int32_t count) {
  sums_.resize(std::max(sums_.size(), static_cast<std::size_t>(count)));
  return sums_.data();
}

void glcm_features_plane(const LevelPlane& plane, const PixelOffset* offsets, std::int32_t offset_count, bool symmetric,
                         const GlcmFeature* features, std::int32_t feature_count, GlcmThreadScratch& own,
                         double* values) {
  const std::int64_t pixels = plane.height * plane.width;
  const GlcmTables tables = own.tables(plane.level_count, symmetric, static_cast<std::uint64_t>(pixels), plane.highest,
                                       needs_of(features, feature_count));
  GlcmSums* sums = own.sums(offset_count);
  own.kernels().sum(plane, offsets, offset_count, tables, own.scratch(plane.level_count, pixels), sums);
  for (std::int32_t k = 0; k < offset_count; ++k)
    for (std::int32_t f = 0; f < feature_count; ++f)
      values[k * feature_count + f] = glcm_feature(features[f], sums[k], tables.context);
}

void glcm_features_cpu(const GlcmFeaturesArgs& args) {
  const std::uint32_t needs = needs_of(args.features, args.feature_count);
  std::vector<GlcmThreadScratch> scratches(static_cast<std::size_t>(args.threads),
                                           GlcmThreadScratch(glcm_kernels(current_isa())));
  std::vector<std::int32_t> largest(static_cast<std::size_t>(args.threads), 0);
  parallel_for(args.batch, args.threads, [&](std::int32_t worker, std::int64_t i) {
    GlcmThreadScratch& own = scratches[static_cast<std::size_t>(worker)];
    auto& most = largest[static_cast<std::size_t>(worker)];
    if (args.counts != nullptr)
      matrix_features(args, needs, own, i);
    else
      most = std::max(most, image_features(args, needs, own, i));
  });
  if (args.largest != nullptr) *args.largest = *std::max_element(largest.begin(), largest.end());
}

}  // namespace iuscore
