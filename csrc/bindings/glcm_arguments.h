// What `glcm` and `glcm_features` take besides images, checked; for the CPU and the CUDA module.
#pragma once

#include <cmath>

#include "bindings/arguments.h"
#include "ops/glcm_features.h"

namespace iuscore {

using OffsetTable = pybind11::array_t<std::int32_t, pybind11::array::c_style>;
using FeatureTable = pybind11::array_t<std::int32_t, pybind11::array::c_style>;

inline std::int32_t checked_levels(std::int32_t levels) {
  if (levels < kFewestLevels || levels > kMostLevels) throw pybind11::value_error("levels: expected 2..256");
  return levels;
}

// low, divisor: NaN where they come from each image.
inline Quantization quantization_of(const std::string& mode, std::int32_t levels, double low, double divisor) {
  const bool has_low = !std::isnan(low);
  const bool has_divisor = divisor > 0.0;
  checked_levels(levels);
  if (mode == "minmax") return {QuantizeMode::minmax, levels, false, 0.0, 0.0};
  if (mode == "levels") return {QuantizeMode::levels, levels, false, 0.0, 1.0};
  if (mode == "width" && has_divisor) return {QuantizeMode::width, levels, has_low, has_low ? low : 0.0, divisor};
  if (mode == "range" && has_low && has_divisor) return {QuantizeMode::range, levels, true, low, divisor};
  throw pybind11::value_error("quantize: expected range with low and divisor, width with divisor, minmax or levels");
}

inline std::vector<PixelOffset> offsets_of(const OffsetTable& table) {
  if (table.ndim() != 2 || table.shape(1) != 2 || table.shape(0) < 1 || table.shape(0) > kMostOffsets)
    throw pybind11::value_error("offsets: expected an int32 array [O, 2], O = 1.." + std::to_string(kMostOffsets));
  const auto rows = table.unchecked<2>();
  std::vector<PixelOffset> offsets;
  for (pybind11::ssize_t i = 0; i < rows.shape(0); ++i) offsets.push_back({rows(i, 0), rows(i, 1)});
  return offsets;
}

// Of `glcm`, whose counts are int32.
inline void check_counts_fit(const std::vector<ImageView>& images, const std::vector<PixelOffset>& offsets,
                             bool symmetric) {
  bool in_place = false;
  for (const PixelOffset& offset : offsets) in_place |= offset.rows == 0 && offset.columns == 0;
  for (const ImageView& image : images)
    if (symmetric && in_place && image.height * image.width >= kMostGlcmPixels)
      throw pybind11::value_error("images: expected fewer than 2^30 pixels each with symmetric and offset (0, 0)");
}

inline std::vector<GlcmFeature> features_of(const FeatureTable& table) {
  if (table.ndim() != 1 || table.shape(0) < 1 || table.shape(0) > kGlcmFeatures)
    throw pybind11::value_error("features: expected an int32 array [F], F = 1.." + std::to_string(kGlcmFeatures));
  std::vector<GlcmFeature> features;
  for (pybind11::ssize_t i = 0; i < table.shape(0); ++i) {
    const std::int32_t feature = table.at(i);
    if (feature < 0 || feature >= kGlcmFeatures) throw pybind11::value_error("features: expected numbers of features");
    features.push_back(static_cast<GlcmFeature>(feature));
  }
  return features;
}

inline void check_glcm_images(const std::vector<ImageView>& images, std::int32_t channels, PixelType type,
                              const Quantization& by) {
  if (channels != 1 && channels != 3) throw pybind11::value_error("channels: expected 1 or 3");
  if (by.mode == QuantizeMode::levels && (channels != 1 || (type != PixelType::u8 && type != PixelType::u16)))
    throw pybind11::value_error("quantize: levels needs one channel of uint8 or uint16");
  for (const ImageView& image : images)
    if (image.height > kMostGlcmPixels / image.width)
      throw pybind11::value_error("images: expected at most " + std::to_string(kMostGlcmPixels) + " pixels each");
}

}  // namespace iuscore
