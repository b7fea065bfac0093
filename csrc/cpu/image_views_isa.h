// The views of one image, on one thread. Compiled once for each instruction set; no std containers or templates with
// external linkage inside.
#pragma once

#include "core/macros.h"
#include "cpu/isa.h"
#include "ops/image_views.h"

namespace iuscore {

constexpr std::int64_t kViewsPitch = 32;  // floats of a row of the small image; of 27 positions filled up
constexpr std::int64_t kViewsSlack = 64;  // floats that may be read after the last row

// A thread's scratch: floats for what has a fixed size, 64-bit words for what depends on the width of an image.
struct ViewsScratch {
  float* floats;       // [kViewsFloats], at the start of a cache line
  std::int64_t* sums;  // [3, 32, 32]
  std::uint32_t* columns;
  std::uint8_t* row;  // [width * channels]
};

constexpr std::int64_t kViewsSmall = 3 * kPatchSide * kViewsPitch + kViewsSlack;
constexpr std::int64_t kViewsFloats = 2 * kViewsSmall                         // the small image, sums of six
                                      + (3 * kPatchArea + 2) * kViewsPitch    // patches of a row, mean, scale
                                      + 4 * kPatchFilters + kPatchResponses;  // sums of a row, of quarters
constexpr std::int64_t kViewsSums = 3 * kPatchSide * kPatchSide;

// 64-bit words for the sums, a row of the image and its columns.
IUSCORE_HD std::int64_t views_words(std::int64_t width, std::int32_t channels) {
  const std::int64_t values = width * channels;
  return kViewsSums + (values * 4 + 7) / 8 + (values + 7) / 8;
}

IUSCORE_HD ViewsScratch views_scratch(float* floats, std::int64_t* words, std::int64_t width, std::int32_t channels) {
  const std::int64_t values = width * channels;
  auto* columns = words + kViewsSums;
  return {floats, words, reinterpret_cast<std::uint32_t*>(columns),
          reinterpret_cast<std::uint8_t*>(columns + (values * 4 + 7) / 8)};
}

IUSCORE_IN_EVERY_ISA(void image_views_image(const ImageViewsArgs& args, std::int64_t i, const ViewsScratch& scratch);)

}  // namespace iuscore
