// Where a block of the texture_stats kernel keeps what it counts. Host code, also of the tests.
#pragma once

#include <cstdint>

#include "core/texture.h"
#include "ops/texture_stats.h"

namespace iuscore {

constexpr std::int32_t kGridCells = kGrid * kGrid;

// Byte offsets into dynamic shared memory. A strip of rows of codes moves down the image; `halo` rows above it are kept
// for pairs and for the Sobel kernel.
struct TextureStatsLayout {
  std::int64_t weights;     // uint64 [levels]
  std::int64_t totals;      // BlockSum [64]
  std::int64_t histograms;  // uint32 [planes, 256]
  std::int64_t cells;       // uint32 [64, 2]: sums and counts of the strip
  std::int64_t linear;      // float [256], for uint8
  std::int64_t matrices;    // uint32 [offsets, levels, levels + 1]; -1: in the workspace
  std::int64_t codes;       // uint8 [ring, width]
  std::int64_t valid;       // uint8 [ring, width]; -1: every pixel counts
  std::int64_t shared_bytes;
  std::int64_t workspace_bytes;  // of one block
  std::int32_t ring;             // rows kept: of the strip and of the halo
  std::int32_t halo;
  std::int32_t blocks;
  std::int32_t threads;
};

IUSCORE_HD std::int64_t texture_matrix_cells(const TextureStatsCudaArgs& args) {
  return std::int64_t{args.n_offsets} * args.levels * (args.levels + 1);
}

// most_shared: bytes a block may have on this device; ring == 0 where not even one row fits.
inline TextureStatsLayout texture_stats_layout(const TextureStatsCudaArgs& args, std::int64_t most_shared,
                                               std::int32_t multiprocessors) {
  TextureStatsLayout layout{};
  std::int64_t at = 0;
  const auto take = [&](std::int64_t bytes) {
    const std::int64_t start = at;
    at += (bytes + 15) / 16 * 16;
    return start;
  };
  layout.halo = 2;
  for (std::int32_t o = 0; o < args.n_offsets; ++o) {
    const std::int32_t rows = args.offsets[o].rows < 0 ? -args.offsets[o].rows : args.offsets[o].rows;
    if (rows > layout.halo) layout.halo = rows;
  }
  const std::int32_t height = static_cast<std::int32_t>(args.image.height);
  if (layout.halo > height) layout.halo = height;
  layout.weights = take(8 * std::int64_t{args.levels});
  layout.totals = take(kGridCells * static_cast<std::int64_t>(sizeof(BlockSum)));
  layout.histograms = take(std::int64_t{args.color ? kColorPlanes : kGrayPlanes} * kCodes * 4);
  layout.cells = take(kGridCells * 2 * 4);
  layout.linear = take(kCodes * 4);
  const bool all_valid =
      args.mask.data == nullptr && (args.pixel_type == PixelType::u8 || args.pixel_type == PixelType::u16);
  const std::int64_t row_bytes = args.image.width * (all_valid ? 1 : 2);
  const std::int64_t matrix_bytes = texture_matrix_cells(args) * 4;
  // Matrices are on the chip where a strip of a few rows fits beside them.
  const std::int64_t least = row_bytes * (layout.halo + 1) + 32;
  const bool on_chip = at + matrix_bytes + 16 + least <= most_shared;
  layout.matrices = on_chip ? take(matrix_bytes) : -1;
  layout.workspace_bytes = on_chip ? 0 : matrix_bytes;
  const std::int64_t room = most_shared - at - 32;
  std::int64_t rows = layout.halo + 16;  // a strip of 16 rows leaves room for several blocks on a multiprocessor
  if (rows > height) rows = height;
  if (rows * row_bytes > room) rows = room / row_bytes;
  layout.ring = rows > layout.halo || rows >= height ? static_cast<std::int32_t>(rows) : 0;
  layout.codes = take(rows * args.image.width);
  layout.valid = all_valid ? -1 : take(rows * args.image.width);
  layout.shared_bytes = at;
  layout.threads = args.threads > 0 ? args.threads : kLargestTextureBlock;
  const std::int64_t most_blocks = std::int64_t{multiprocessors} * (on_chip ? 16 : 4);
  layout.blocks = static_cast<std::int32_t>(args.batch < most_blocks ? args.batch : most_blocks);
  return layout;
}

}  // namespace iuscore
