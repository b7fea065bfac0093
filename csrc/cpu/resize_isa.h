// Resizes one image, on one thread. Compiled once for each instruction set; no std containers or templates with
// external linkage inside.
#pragma once

#include "core/macros.h"
#include "cpu/isa.h"
#include "ops/resize.h"

namespace iuscore {

constexpr std::int64_t kResizeSlack = 64;  // bytes that may be read and written after a row

IUSCORE_HD constexpr std::int64_t resize_rounded(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Where the parts of a thread's scratch begin, in bytes, each at a multiple of 64. The weights come first.
struct ResizeScratch {
  std::int64_t ring;    // rows that are resized in width, [ring_rows, pitch]
  std::int64_t staged;  // one row of the image, contiguous
  std::int64_t line;    // one row of the result
  std::int64_t used;    // [rows.taps] addresses of the rows that are summed to one row of the result
  std::int64_t bytes;
  std::int64_t pitch;
  std::int32_t ring_rows;
};

IUSCORE_HD ResizeScratch resize_scratch(const ResizeArgs& args) {
  ResizeScratch scratch{};
  const std::int64_t out = args.columns.out;
  // Weights as cpu/resize_isa.cpp repeats them: 64 bytes for four taps of two pixels, or 16 for eight of one.
  const std::int64_t weights = args.channels == 3 ? (out + 1) / 2 * ((args.columns.taps + 3) / 4) * 64
                                                  : (out + 3) / 4 * 4 * ((args.columns.taps + 7) / 8) * 16;
  scratch.ring = resize_rounded(weights);
  scratch.pitch = resize_rounded(out * args.channels) + kResizeSlack;
  scratch.ring_rows = args.rows.taps > 0 ? args.rows.taps : 1;
  scratch.staged = scratch.ring + scratch.ring_rows * scratch.pitch;
  const std::int64_t width = args.batch > 0 ? args.images[0].width : 0;
  scratch.line = scratch.staged + resize_rounded((width + args.columns.taps) * args.channels) + kResizeSlack;
  scratch.used = scratch.line + scratch.pitch;
  scratch.bytes = scratch.used + resize_rounded(args.rows.taps * std::int64_t{sizeof(void*)});
  return scratch;
}

IUSCORE_IN_EVERY_ISA(
    // Once for each thread, before its first image.
    void resize_prepare(const ResizeArgs& args, const ResizeScratch& at, std::uint8_t* scratch);
    void resize_image(const ResizeArgs& args, std::int64_t i, const ResizeScratch& at, std::uint8_t* scratch);)

}  // namespace iuscore
