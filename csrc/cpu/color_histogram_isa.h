// One image on one thread. Compiled once for each instruction set; no std containers or templates with external linkage
// inside.
#pragma once

#include "core/histogram.h"
#include "cpu/isa.h"
#include "ops/color_histogram.h"

namespace iuscore {

// What the bytes of uint8 images mean; made once per call.
struct ByteTables {
  std::uint16_t slots[3][256];  // slot of byte v on the axis of channel c
  std::uint32_t keys[3][256];   // share of byte v of channel c in the key of a joint cell
  bool by_fours;                // bytes 4 k .. 4 k + 3 share a slot in every channel
  int leading_bits;             // in every channel, 1..4, that are the slot; 0: not so
};

constexpr std::int64_t kHalf = 1536;  // bytes: those at p and p + kHalf make a pair
constexpr std::int64_t kPairs = 64 * 64;
constexpr std::int64_t kGrayBytes = 20 * kHalf;
constexpr std::int64_t kMostJointCells = kMostJointBins * kMostJointBins * kMostJointBins;

// What one thread needs to count. Of its own content nothing is left from one image to the next.
struct HistogramMemory {
  alignas(64) std::uint32_t counters[kMostJointCells + kOutsideSlots];
  alignas(64) std::uint16_t tables[3 * kPairs];  // a line of the cache holds more of them than of `counters`
  std::uint8_t gray[kGrayBytes];
};

struct ColorHistogramJob {
  ImageView image;  // channels of a one-channel image: stride_c = 0
  MaskView mask;
  std::int32_t channels;
  PixelType pixel_type;
  ColorSpace space;
  bool joint;
  const BinAxis* axes;      // [3]
  const ByteTables* bytes;  // read where pixel_type is u8
  HistogramMemory* memory;  // of this thread
  std::int32_t* counts;     // as in ColorHistogramArgs, of this image
  std::int32_t* outside;
};

IUSCORE_IN_EVERY_ISA(void color_histogram_image(const ColorHistogramJob& job);)

}  // namespace iuscore
