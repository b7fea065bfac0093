// Turns the Python values that several ops take into the plain types of csrc/ops. Raises ValueError for what could read
// or write outside the buffers.
//
// A function of _core gets host memory and `threads`, the number of threads that work. A function of _cuda gets device
// memory, the device's ordinal, `stream`, which is torch's `Stream.cuda_stream`, and `threads`, the threads of a block
// (0: the launcher chooses). Addresses are integers; strides count elements.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "ops/glcm_features.h"
#include "ops/images.h"

namespace iuscore {

using ViewTable = pybind11::array_t<std::int64_t, pybind11::array::c_style>;
using MaskTable = ViewTable;
using ImageNumbers = std::array<std::int64_t, 6>;  // address, height, width, strides of rows, columns, channels
using MaskNumbers = std::array<std::int64_t, 3>;   // address (0: all pixels are counted), strides of rows, columns
// Address, rows, columns, stride of rows, stride of columns.
using FloatMatrix = std::tuple<std::uintptr_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;

// The address of what is read or written. Not for empty batches, whose address may be null.
template <class T>
T* checked_address(std::uintptr_t value, const char* name, std::uintptr_t alignment = alignof(T)) {
  if (value == 0 || value % alignment != 0)
    throw pybind11::value_error(std::string(name) + ": expected a nonzero address divisible by " +
                                std::to_string(alignment) + ", got " + std::to_string(value));
  return reinterpret_cast<T*>(value);
}

// The address of an array of floats; null is allowed if there are no rows.
inline float* float_address(std::uintptr_t value, const char* name, std::int64_t rows = 1) {
  if (value == 0 && rows > 0) throw pybind11::value_error(std::string(name) + ": null address");
  if (value % alignof(float) != 0) throw pybind11::value_error(std::string(name) + ": misaligned address");
  return reinterpret_cast<float*>(value);
}

// Threads of a CUDA block.
inline std::int32_t checked_threads(std::int32_t threads, std::int32_t most) {
  if (threads < 0 || threads > most || threads % 32 != 0)
    throw pybind11::value_error("threads: expected 0 or a multiple of 32 up to " + std::to_string(most));
  return threads;
}

inline void check_channels(std::int32_t channels) {
  if (channels != 1 && channels != 3) throw pybind11::value_error("channels: expected 1 or 3");
}

inline void check_batch(std::int64_t batch) {
  if (batch < 0) throw pybind11::value_error("batch: expected at least 0");
}

inline PixelType pixel_type_of(const std::string& name) {
  if (name == "uint8") return PixelType::u8;
  if (name == "uint16") return PixelType::u16;
  if (name == "float16") return PixelType::f16;
  if (name == "bfloat16") return PixelType::bf16;
  if (name == "float32") return PixelType::f32;
  throw pybind11::value_error("pixel_type: expected uint8, uint16, float16, bfloat16 or float32, got " + name);
}

// A row for each image: address, height, width, strides of rows, columns and channels.
inline std::vector<ImageView> views_of(const ViewTable& table) {
  if (table.ndim() != 2 || table.shape(1) != 6) throw pybind11::value_error("views: expected an int64 array [B, 6]");
  const auto rows = table.unchecked<2>();
  std::vector<ImageView> views;
  views.reserve(static_cast<std::size_t>(rows.shape(0)));
  constexpr std::int64_t kMax = std::numeric_limits<std::int32_t>::max() / 4;
  for (pybind11::ssize_t i = 0; i < rows.shape(0); ++i) {
    if (rows(i, 0) == 0) throw pybind11::value_error("views: null address");
    for (pybind11::ssize_t k = 1; k <= 2; ++k)
      if (rows(i, k) < 1 || rows(i, k) > kMax)
        throw pybind11::value_error("views: height and width must be 1.." + std::to_string(kMax));
    views.push_back(
        {reinterpret_cast<const void*>(rows(i, 0)), rows(i, 1), rows(i, 2), rows(i, 3), rows(i, 4), rows(i, 5)});
  }
  return views;
}

// A row for each image: address (0: all pixels are counted), strides of rows and columns; or no row, without masks.
inline std::vector<MaskView> masks_of(const MaskTable& table, std::size_t batch) {
  if (table.ndim() != 2 || table.shape(1) != 3) throw pybind11::value_error("masks: expected an int64 array [B, 3]");
  const auto rows = table.unchecked<2>();
  if (rows.shape(0) != 0 && static_cast<std::size_t>(rows.shape(0)) != batch)
    throw pybind11::value_error("masks: expected one row per image or none");
  std::vector<MaskView> masks;
  masks.reserve(static_cast<std::size_t>(rows.shape(0)));
  for (pybind11::ssize_t i = 0; i < rows.shape(0); ++i)
    masks.push_back({reinterpret_cast<const std::uint8_t*>(rows(i, 0)), rows(i, 1), rows(i, 2)});
  return masks;
}

// The first image of a batch on a device. Its address may be null here: an empty batch has none.
inline ImageView image_of(const ImageNumbers& image) {
  const auto [data, height, width, stride_h, stride_w, stride_c] = image;
  if (height < 1 || width < 1) throw pybind11::value_error("image: height and width must be at least 1");
  return {reinterpret_cast<const void*>(data), height, width, stride_h, stride_w, stride_c};
}

inline MaskView mask_of(const MaskNumbers& mask) {
  return {reinterpret_cast<const std::uint8_t*>(mask[0]), mask[1], mask[2]};
}

// ---- What `glcm` and `glcm_features` take

using OffsetTable = pybind11::array_t<std::int32_t, pybind11::array::c_style>;
using FeatureTable = pybind11::array_t<std::int32_t, pybind11::array::c_style>;

inline std::int32_t checked_levels(std::int32_t levels) {
  if (levels < kMinLevels || levels > kMaxLevels)
    throw pybind11::value_error("levels: expected " + std::to_string(kMinLevels) + ".." + std::to_string(kMaxLevels));
  return levels;
}

// low, divisor: NaN if they depend on the image.
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
  if (table.ndim() != 2 || table.shape(1) != 2 || table.shape(0) < 1 || table.shape(0) > kMaxOffsets)
    throw pybind11::value_error("offsets: expected an int32 array [O, 2], O = 1.." + std::to_string(kMaxOffsets));
  const auto rows = table.unchecked<2>();
  std::vector<PixelOffset> offsets;
  for (pybind11::ssize_t i = 0; i < rows.shape(0); ++i) offsets.push_back({rows(i, 0), rows(i, 1)});
  return offsets;
}

// For `glcm`, whose counts are int32.
inline void check_counts_fit(const std::vector<ImageView>& images, const std::vector<PixelOffset>& offsets,
                             bool symmetric) {
  bool in_place = false;
  for (const PixelOffset& offset : offsets) in_place |= offset.rows == 0 && offset.columns == 0;
  for (const ImageView& image : images)
    if (symmetric && in_place && image.height * image.width >= kMaxGlcmPixels)
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
  check_channels(channels);
  if (by.mode == QuantizeMode::levels && (channels != 1 || (type != PixelType::u8 && type != PixelType::u16)))
    throw pybind11::value_error("quantize: levels needs one channel of uint8 or uint16");
  for (const ImageView& image : images)
    if (image.height > kMaxGlcmPixels / image.width)
      throw pybind11::value_error("images: expected at most " + std::to_string(kMaxGlcmPixels) + " pixels each");
}

// Args: GlcmCudaArgs or GlcmFeaturesCudaArgs.
template <class Args>
void set_glcm_images(Args& args, const ImageNumbers& image, std::int64_t batch_stride, const MaskNumbers& mask,
                     std::int64_t mask_batch_stride, std::int32_t channels, const std::string& pixel_type) {
  args.image = image_of(image);
  if (args.image.data == nullptr) throw pybind11::value_error("image: null address");
  args.batch_stride = batch_stride;
  args.mask = mask_of(mask);
  args.mask_batch_stride = mask_batch_stride;
  args.channels = channels;
  args.pixel_type = pixel_type_of(pixel_type);
  check_glcm_images({args.image}, channels, args.pixel_type, args.quantization);
}

}  // namespace iuscore
