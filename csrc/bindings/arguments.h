// Python values -> the plain types of csrc/ops. Raises ValueError for what could read or write outside the buffers.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <limits>
#include <string>
#include <vector>

#include "ops/images.h"
#include "ops/perceptual_maps.h"

namespace iuscore {

using ViewTable = pybind11::array_t<std::int64_t, pybind11::array::c_style>;
using MaskTable = ViewTable;

// For what is read or written: not where a batch is empty, as the address may be null there.
template <class T>
T* checked_address(std::uintptr_t value, const char* name, std::uintptr_t alignment = alignof(T)) {
  if (value == 0 || value % alignment != 0)
    throw pybind11::value_error(std::string(name) + ": expected a nonzero address divisible by " +
                                std::to_string(alignment) + ", got " + std::to_string(value));
  return reinterpret_cast<T*>(value);
}

inline PixelType pixel_type_of(const std::string& name) {
  if (name == "uint8") return PixelType::u8;
  if (name == "uint16") return PixelType::u16;
  if (name == "float16") return PixelType::f16;
  if (name == "bfloat16") return PixelType::bf16;
  if (name == "float32") return PixelType::f32;
  throw pybind11::value_error("pixel_type: expected uint8, uint16, float16, bfloat16 or float32, got " + name);
}

inline MapType map_type_of(const std::string& name) {
  if (name == "float32") return MapType::f32;
  if (name == "float16") return MapType::f16;
  if (name == "bfloat16") return MapType::bf16;
  throw pybind11::value_error("map_type: expected float32, float16 or bfloat16, got " + name);
}

// One row an image: address, height, width, and the strides of rows, columns and channels in elements.
inline std::vector<ImageView> views_of(const ViewTable& table) {
  if (table.ndim() != 2 || table.shape(1) != 6) throw pybind11::value_error("views: expected an int64 array [B, 6]");
  const auto rows = table.unchecked<2>();
  std::vector<ImageView> views;
  views.reserve(static_cast<std::size_t>(rows.shape(0)));
  constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max() / 4;
  for (pybind11::ssize_t i = 0; i < rows.shape(0); ++i) {
    if (rows(i, 0) == 0) throw pybind11::value_error("views: null address");
    for (pybind11::ssize_t k = 1; k <= 2; ++k)
      if (rows(i, k) < 1 || rows(i, k) > kLargest)
        throw pybind11::value_error("views: height and width must be 1.." + std::to_string(kLargest));
    views.push_back(
        {reinterpret_cast<const void*>(rows(i, 0)), rows(i, 1), rows(i, 2), rows(i, 3), rows(i, 4), rows(i, 5)});
  }
  return views;
}

// One row an image: address (0: all pixels count), and the strides of rows and columns in elements. No row: no masks.
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

inline std::uintptr_t map_alignment(MapType type) { return type == MapType::f32 ? 4 : 2; }

inline void check_maps(std::int32_t channels, std::int32_t height, std::int32_t width) {
  if (channels != 1 && channels != 3) throw pybind11::value_error("channels: expected 1 or 3");
  if (height < 4 || width < 4) throw pybind11::value_error("height and width of the maps: expected at least 4");
}

}  // namespace iuscore
