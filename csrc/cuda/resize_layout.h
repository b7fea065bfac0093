// How a resize is cut into blocks: bands of output rows, whose input rows, columns done, lie in shared memory.
#pragma once

#include "core/macros.h"
#include "ops/resize.h"

namespace iuscore {

constexpr std::int64_t kResizeBandBytes = 32 * 1024;  // several blocks a multiprocessor

struct ResizeLayout {
  std::int32_t band;   // output rows of a block
  std::int32_t bands;  // of an image
  std::int64_t shared_bytes;
  std::int64_t blocks;
  std::int32_t threads;
};

// Input rows that `band` output rows reach at most: they begin at most `height / out` rows, rounded up, apart.
IUSCORE_HD std::int64_t resize_rows(const ResizeTaps& rows, std::int64_t height, std::int64_t band) {
  if (rows.taps == 0) return band;
  const std::int64_t step = (height + rows.out - 1) / rows.out;
  const std::int64_t reach = (band - 1) * step + rows.taps;
  return reach < height ? reach : height;
}

// band 0: not even one row fits.
IUSCORE_HD ResizeLayout resize_layout(const ResizeCudaArgs& args, std::int64_t shared_limit) {
  const std::int64_t row_bytes = std::int64_t{args.columns.out} * args.channels;
  const auto bytes_of = [&](std::int64_t band) { return resize_rows(args.rows, args.image.height, band) * row_bytes; };
  ResizeLayout layout{};
  if (bytes_of(1) > shared_limit) return layout;
  std::int64_t band = 1;
  const std::int64_t wanted = shared_limit < kResizeBandBytes ? shared_limit : kResizeBandBytes;
  while (band < args.rows.out && bytes_of(band + 1) <= wanted) ++band;
  layout.band = static_cast<std::int32_t>(band);
  layout.bands = static_cast<std::int32_t>((args.rows.out + band - 1) / band);
  layout.shared_bytes = bytes_of(band);
  layout.blocks = args.batch * layout.bands;
  layout.threads = args.threads > 0 ? args.threads : kResizeBlock;
  return layout;
}

}  // namespace iuscore
