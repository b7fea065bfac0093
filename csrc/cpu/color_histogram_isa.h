// Counts one image, on one thread. Compiled once for each instruction set; no std containers or templates with external
// linkage inside.
#pragma once

#include "core/histogram.h"
#include "cpu/isa.h"
#include "ops/color_histogram.h"

namespace iuscore {

// What each byte of a uint8 image means; made once for each call of the op.
struct ByteTables {
  std::uint16_t slots[3][256];  // slot of byte v on the axis of channel c
  std::uint32_t keys[3][256];   // summand of byte v of channel c in the key of a joint cell: core/histogram.h
  bool by_fours;                // bytes 4 k .. 4 k + 3 share a slot in every channel
  int leading_bits;             // 1..4: in every channel the slot is so many leading bits of the byte; 0: it is not
};

constexpr std::int64_t kHalf = 1536;  // bytes p[k] and p[k + kHalf] are counted as a pair
constexpr std::int64_t kPairs = 64 * 64;
constexpr std::int64_t kGrayBytes = 20 * kHalf;
constexpr std::int64_t kMaxJointCells = kMaxJointBins * kMaxJointBins * kMaxJointBins;

// Scratch of one thread. Each image clears what it uses.
struct HistogramScratch {
  alignas(64) std::uint32_t counters[kMaxJointCells + kExtraSlots];
  alignas(64) std::uint16_t tables[3 * kPairs];  // 16-bit counters: twice as many in a cache line
  std::uint8_t gray[kGrayBytes];
};

struct ColorHistogramJob {
  ImageView image;  // with one channel, stride_c = 0: it stands for all three
  MaskView mask;
  std::int32_t channels;
  PixelType pixel_type;
  ColorSpace space;
  bool joint;
  const BinAxis* axes;        // [3]
  const ByteTables* bytes;    // read where pixel_type is u8
  HistogramScratch* scratch;  // of this thread
  std::int32_t* counts;       // as in ColorHistogramArgs, of this image
  std::int32_t* out_of_range;
};

IUSCORE_IN_EVERY_ISA(void color_histogram_image(const ColorHistogramJob& job);)

}  // namespace iuscore
