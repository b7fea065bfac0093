// One image on one thread. Compiled once for each instruction set; no std containers or templates with external linkage
// inside.
#pragma once

#include "core/macros.h"
#include "cpu/isa.h"
#include "ops/resize.h"

namespace iuscore {

constexpr std::int64_t kResizeSlack = 64;  // bytes that may be read and written after a row

IUSCORE_HD constexpr std::int64_t resize_rounded(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Where the parts of a thread's memory begin, in bytes; each at a multiple of 64.
struct ResizeMemory {
  std::int64_t ring;    // after the weights: rows whose columns are done, [ring_rows, pitch]
  std::int64_t staged;  // one row of the image, its pixels one after another
  std::int64_t line;    // one row of the result
  std::int64_t used;    // [rows.taps] addresses of the rows that one of the result is made of
  std::int64_t bytes;
  std::int64_t pitch;
  std::int32_t ring_rows;
};

IUSCORE_HD ResizeMemory resize_memory(const ResizeArgs& args) {
  ResizeMemory memory{};
  const std::int64_t out = args.columns.out;
  // Weights as cpu/resize_isa.cpp repeats them: 64 bytes for four taps of two pixels, or 16 for eight of one.
  const std::int64_t weights = args.channels == 3 ? (out + 1) / 2 * ((args.columns.taps + 3) / 4) * 64
                                                  : (out + 3) / 4 * 4 * ((args.columns.taps + 7) / 8) * 16;
  memory.ring = resize_rounded(weights);
  memory.pitch = resize_rounded(out * args.channels) + kResizeSlack;
  memory.ring_rows = args.rows.taps > 0 ? args.rows.taps : 1;
  memory.staged = memory.ring + memory.ring_rows * memory.pitch;
  const std::int64_t width = args.batch > 0 ? args.images[0].width : 0;
  memory.line = memory.staged + resize_rounded((width + args.columns.taps) * args.channels) + kResizeSlack;
  memory.used = memory.line + memory.pitch;
  memory.bytes = memory.used + resize_rounded(args.rows.taps * std::int64_t{sizeof(void*)});
  return memory;
}

IUSCORE_IN_EVERY_ISA(
    // Once a call and thread, before its first image.
    void resize_prepare(const ResizeArgs& args, const ResizeMemory& at, std::uint8_t* memory);
    void resize_image(const ResizeArgs& args, std::int64_t i, const ResizeMemory& at, std::uint8_t* memory);)

}  // namespace iuscore
