// Contract of `png_rows`: the inflated data of a PNG file, with its row filters undone.
#pragma once

#include <cstdint>

namespace iuscore {

struct PngRowsArgs {
  const std::uint8_t* filtered;  // [height, 1 + width * channels]: type of the filter, then what it left of a row
  std::uint8_t* pixels;          // [height, width, channels]
  std::int64_t height;           // at least 1
  std::int64_t width;            // at least 1
  std::int32_t channels;         // bytes of a pixel: 1 or 3
};

// False where a row has a filter that there is none of; pixels are then of no use.
bool png_rows_cpu(const PngRowsArgs& args);

}  // namespace iuscore
