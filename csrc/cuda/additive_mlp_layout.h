// How the kernels of additive_mlp are cut and where their floats live.
#pragma once

#include "core/macros.h"
#include "core/mlp.h"
#include "ops/additive_mlp.h"

namespace iuscore {

// A warp multiplies kWarpRows rows of x by kWarpUnits hidden units, a thread 4 by 4 of them.
constexpr std::int32_t kWarpRows = 32;
constexpr std::int32_t kWarpUnits = 16;
constexpr std::int32_t kSlabFloats = 2048;  // weights that are multiplied at a time
constexpr std::int32_t kSlabs = 2;          // one is read while the next is written

// In shared memory, in this order: two slabs of weights; values of the rows (inputs, hidden layers, outputs), each a
// line of `pitch` floats; the backward pass's sums of one group. What does not fit lies elsewhere: values in the
// workspace, one piece a block, and sums where they go in the end.
struct AdditiveMlpLayout {
  std::int32_t threads;
  std::int32_t blocks;
  std::int32_t warps_in_rows;  // the other warps stand side by side in units
  std::int32_t rows;           // of a tile
  std::int32_t pitch;          // 4 more than rows: eight threads with neighboring lines meet eight bank quadruples
  std::int32_t slab_units;
  std::int32_t slab_terms;
  bool values_on_chip;
  bool sums_on_chip;
  std::int64_t value_floats;
  std::int64_t sum_floats;  // of one group; 0 in the forward pass
  std::int64_t shared_bytes;
  std::int64_t items;           // a block works on items blockIdx.x, blockIdx.x + blocks, ...
  std::int32_t slices;          // forward: parts the groups are cut into; an item is a tile of rows and a slice
  std::int64_t chunks_at_once;  // backward: an item is a chunk of kGradientRows rows and a group
};

IUSCORE_HD std::int64_t ceil_div(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }
IUSCORE_HD std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// Floats of one group's gradients: w1, b1, w2, b2, w3, b3. In whole fours, for what lies behind them.
IUSCORE_HD std::int64_t additive_sums(const AdditiveMlpArgs& args) {
  const std::int64_t h1 = args.hidden_1;
  const std::int64_t h2 = args.hidden_2;
  return ceil_div((args.largest_group + 1) * h1 + (h1 + 1) * h2 + (h2 + 1) * args.outputs, 4) * 4;
}

// What forward and backward share. A tile has as many rows as make one pass over the second hidden layer's units.
inline AdditiveMlpLayout additive_tile_layout(const AdditiveMlpCudaArgs& args, std::int64_t shared_limit,
                                              std::int64_t sum_floats) {
  const AdditiveMlpArgs& mlp = args.mlp;
  AdditiveMlpLayout layout{};
  layout.threads = args.threads > 0 ? args.threads : 128;
  const std::int32_t warps = layout.threads / 32;
  const std::int32_t wanted = mlp.hidden_2 > kWarpUnits ? warps / 2 : warps;
  layout.warps_in_rows = wanted > 0 && warps % wanted == 0 ? wanted : 1;
  layout.rows = kWarpRows * layout.warps_in_rows;
  layout.pitch = layout.rows + 4;
  layout.slab_units = kWarpUnits * (warps / layout.warps_in_rows);
  layout.slab_terms = kSlabFloats / layout.slab_units;
  const std::int64_t lines = std::int64_t{mlp.largest_group} + mlp.hidden_1 + mlp.hidden_2 + mlp.outputs;
  layout.value_floats = lines * layout.pitch;
  layout.sum_floats = sum_floats;
  std::int64_t chip = shared_limit / static_cast<std::int64_t>(sizeof(float)) - kSlabs * kSlabFloats;
  layout.values_on_chip = layout.value_floats <= chip;
  if (layout.values_on_chip) chip -= layout.value_floats;
  layout.sums_on_chip = sum_floats <= chip;
  layout.shared_bytes = static_cast<std::int64_t>(sizeof(float)) *
                        (kSlabs * kSlabFloats + (layout.values_on_chip ? layout.value_floats : 0) +
                         (layout.sums_on_chip ? sum_floats : 0));
  return layout;
}

inline void set_blocks(AdditiveMlpLayout& layout, std::int32_t multiprocessors) {
  const std::int64_t most = layout.values_on_chip ? 0x7fffffff : 2 * multiprocessors;
  layout.blocks = static_cast<std::int32_t>(least(layout.items, most));
}

// shared_limit: the most bytes of shared memory a block may have.
inline AdditiveMlpLayout additive_mlp_layout(const AdditiveMlpCudaArgs& args, std::int64_t shared_limit,
                                             std::int32_t multiprocessors) {
  AdditiveMlpLayout layout = additive_tile_layout(args, shared_limit, 0);
  const std::int64_t tiles = ceil_div(args.mlp.rows, layout.rows);
  // One slice where there are tiles enough for all multiprocessors: then the same kernel adds up the total.
  const std::int64_t busy = 4 * std::int64_t{multiprocessors};
  layout.slices = static_cast<std::int32_t>(tiles >= busy || tiles == 0 ? 1 : least(args.mlp.groups, busy / tiles));
  layout.items = tiles * layout.slices;
  set_blocks(layout, multiprocessors);
  return layout;
}

inline AdditiveMlpLayout additive_mlp_backward_layout(const AdditiveMlpCudaArgs& args, std::int64_t shared_limit,
                                                      std::int32_t multiprocessors) {
  constexpr std::int64_t kFloatsOfSums = std::int64_t{1} << 24;
  AdditiveMlpLayout layout = additive_tile_layout(args, shared_limit, additive_sums(args.mlp));
  const std::int64_t chunks = ceil_div(args.mlp.rows, kGradientRows);
  const std::int64_t fitting = kFloatsOfSums / (layout.sum_floats * args.mlp.groups);
  layout.chunks_at_once = least(chunks, fitting > 1 ? fitting : 1);
  layout.items = layout.chunks_at_once * args.mlp.groups;
  set_blocks(layout, multiprocessors);
  return layout;
}

// Floats of the workspace: sums of all items, then the values of all blocks.
inline std::int64_t additive_workspace(const AdditiveMlpLayout& layout) {
  return layout.sum_floats * layout.items + (layout.values_on_chip ? 0 : layout.value_floats * layout.blocks);
}

}  // namespace iuscore
