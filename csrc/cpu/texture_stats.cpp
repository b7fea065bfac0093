#include "ops/texture_stats.h"

#include <algorithm>
#include <vector>

#include "core/pixel.h"
#include "cpu/glcm_scratch.h"
#include "cpu/isa.h"
#include "cpu/parallel_for.h"
#include "cpu/texture_stats_isa.h"

namespace iuscore {
namespace {

using CodesKernel = void (*)(const TextureCodesJob&);

void write_blocks(const BlockSum* blocks, float* out) {
  BlockSum image{0, 0};
  for (int i = 0; i < kGrid * kGrid; ++i) {
    image.sum += blocks[i].sum;
    image.count += blocks[i].count;
  }
  for (int i = 0; i < kGrid * kGrid; ++i) out[i] = block_mean(blocks[i].count > 0 ? blocks[i] : image);
}

void finish_plane(const std::uint32_t* copies, std::int32_t bins, std::int32_t* histogram, float* statistics,
                  std::int32_t* counted) {
  std::int64_t fine[kCodes];
  CodeSums sums{};
  std::int64_t sum = 0;
  for (int code = 0; code < kCodes; ++code) {
    fine[code] = 0;
    for (int k = 0; k < kCopies; ++k) fine[code] += copies[k * kCodes + code];
    sums.count += fine[code];
    sum += fine[code] * code;
  }
  std::fill(histogram, histogram + bins, 0);
  for (int code = 0; code < kCodes; ++code) histogram[code * bins / kCodes] += static_cast<std::int32_t>(fine[code]);
  *counted = static_cast<std::int32_t>(sums.count);
  std::fill(statistics, statistics + kStatistics, 0.0f);
  if (sums.count == 0) return;
  sums.center = center_code(sums.count, sum);
  for (int code = 0; code < kCodes; ++code) {
    std::int64_t term = fine[code];
    for (std::int64_t& power : sums.powers) power += term *= code - sums.center;
  }
  const std::int32_t shift = entropy_shift(static_cast<std::uint64_t>(sums.count));
  const std::uint64_t* table = entropy_table(shift);
  const std::int64_t table_size = entropy_table_size(shift);
  std::uint64_t terms = 0;
  std::int64_t ranks[kPercentiles] = {};
  std::int64_t cumulative = 0;
  for (int code = 0; code < kCodes; ++code) {
    terms += fine[code] < table_size ? table[fine[code]] : entropy_term(static_cast<std::uint32_t>(fine[code]), shift);
    cumulative += fine[code];
    for (int q = 0; q < kPercentiles; ++q) ranks[q] += reaches(cumulative, sums.count, q) ? 0 : 1;
  }
  plane_statistics(sums, terms, shift, ranks, statistics);
}

class Worker {
 public:
  Worker(const TextureStatsArgs& args, const float* linear)
      : args_(args),
        planes_(args.color ? kColorPlanes : kGrayPlanes),
        linear_(linear),
        glcm_(glcm_kernels(current_isa())) {}

  void run(CodesKernel kernel, std::int64_t i) {
    const ImageView& image = args_.images[i];
    const MaskView mask = args_.masks == nullptr ? MaskView{nullptr, 0, 0} : args_.masks[i];
    const auto pixels = static_cast<std::size_t>(image.height * image.width);
    const bool all_valid =
        mask.data == nullptr && (args_.pixel_type == PixelType::u8 || args_.pixel_type == PixelType::u16);
    lightness_.resize(pixels);
    if (args_.n_offsets > 0) levels_.resize(pixels + kPlaneSlack);
    if (!all_valid) valid_.resize(pixels + kPlaneSlack);
    rows_.resize(static_cast<std::size_t>(texture_codes_rows(image.width)));
    copies_.assign(static_cast<std::size_t>(planes_ * kCopies * kCodes), 0);
    BlockSum blocks[kGrid * kGrid];
    kernel({image, mask, args_.channels, args_.pixel_type, args_.color, lightness_.data(),
            all_valid ? nullptr : valid_.data(), args_.levels, args_.n_offsets > 0 ? levels_.data() : nullptr,
            copies_.data(), blocks, linear_, rows_.data()});
    for (int p = 0; p < planes_; ++p) {
      const std::int64_t at = i * planes_ + p;
      finish_plane(copies_.data() + p * kCopies * kCodes, args_.bins, args_.histograms + at * args_.bins,
                   args_.statistics + at * kStatistics, args_.counted + at);
    }
    write_blocks(blocks, args_.blocks + i * kGrid * kGrid);
    write_properties(image, all_valid ? nullptr : valid_.data(), i);
  }

 private:
  void write_properties(const ImageView& image, const std::uint8_t* valid, std::int64_t i) {
    if (args_.n_offsets == 0) return;
    const auto [lowest, highest] = counted_levels();
    const LevelPlane plane{levels_.data(), valid,        image.height, image.width,
                           image.width,    args_.levels, lowest,       highest};
    GlcmFeature features[kTextureProperties];
    for (std::int32_t k = 0; k < kTextureProperties; ++k) features[k] = texture_property(k);
    values_.resize(static_cast<std::size_t>(args_.n_offsets * kTextureProperties));
    glcm_features_plane(plane, args_.offsets, args_.n_offsets, true, features, kTextureProperties, glcm_,
                        values_.data());
    float* properties = args_.properties + i * args_.n_offsets * kTextureProperties;
    std::transform(values_.begin(), values_.end(), properties, [](double value) { return static_cast<float>(value); });
  }

  // Smallest and largest counted level of lightness, which is the first plane.
  std::pair<std::int32_t, std::int32_t> counted_levels() const {
    std::int32_t lowest = kCodes;
    std::int32_t highest = 0;
    for (std::int32_t cell = 0; cell < kCopies * kCodes; ++cell) {
      if (copies_[static_cast<std::size_t>(cell)] == 0) continue;
      lowest = std::min(lowest, cell % kCodes);
      highest = std::max(highest, cell % kCodes);
    }
    const auto level = [&](std::int32_t code) { return level_of_code(static_cast<std::uint8_t>(code), args_.levels); };
    return {lowest == kCodes ? 0 : level(lowest), level(highest)};
  }

  const TextureStatsArgs& args_;
  int planes_;
  const float* linear_;
  std::vector<std::uint8_t> lightness_;
  std::vector<std::uint8_t> valid_;
  std::vector<std::uint8_t> levels_;
  std::vector<float> rows_;
  std::vector<std::uint32_t> copies_;
  std::vector<double> values_;
  GlcmThreadScratch glcm_;
};

}  // namespace

void texture_stats_cpu(const TextureStatsArgs& args) {
  float linear[kCodes];
  for (int byte = 0; byte < kCodes; ++byte)
    linear[byte] = srgb_to_linear(UnitU8::load(static_cast<std::uint8_t>(byte)));
  std::vector<Worker> workers(static_cast<std::size_t>(args.threads), Worker(args, linear));
  const CodesKernel kernel = IUSCORE_FOR_ISA(current_isa(), texture_codes_image);
  parallel_for(args.batch, args.threads,
               [&](std::int32_t worker, std::int64_t i) { workers[static_cast<std::size_t>(worker)].run(kernel, i); });
}

}  // namespace iuscore
