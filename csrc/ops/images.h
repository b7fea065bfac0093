// Where images and masks lie in memory.
#pragma once

#include <cstdint>

namespace iuscore {

enum class PixelType : std::int32_t { u8, u16, f16, bf16, f32 };

struct ImageView {
  const void* data;       // pixel (0, 0), channel 0
  std::int64_t height;    // >= 1
  std::int64_t width;     // >= 1
  std::int64_t stride_h;  // in elements, any sign
  std::int64_t stride_w;
  std::int64_t stride_c;
};

// Which pixels of an image are counted; as high and wide as the image.
struct MaskView {
  const std::uint8_t* data;  // nonzero = counted; null = all pixels are counted
  std::int64_t stride_h;     // in elements, any sign
  std::int64_t stride_w;
};

}  // namespace iuscore
