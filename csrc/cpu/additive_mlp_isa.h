// Forward pass of some rows, and backward pass of one group and some rows, on one thread. Compiled once for each
// instruction set; no std containers or templates with external linkage inside.
#pragma once

#include "core/macros.h"
#include "core/mlp.h"
#include "cpu/isa.h"
#include "ops/additive_mlp.h"

namespace iuscore {

constexpr std::int64_t kMaxPanel = 64;       // rows whose hidden layers are in cache together, with AVX-512
constexpr std::int64_t kGradientPanel = 32;  // the same in the backward pass
constexpr std::int64_t kMaxLanes = 16;

IUSCORE_HD std::int64_t in_whole_vectors(std::int64_t n) { return (n + kMaxLanes - 1) / kMaxLanes * kMaxLanes; }

// Forward pass of rows first_row ... first_row + rows - 1.
struct AdditiveMlpTile {
  const AdditiveMlpArgs* args;
  std::int64_t first_row;
  std::int64_t rows;
  float* scratch;  // additive_mlp_tile_scratch() floats, at the start of a cache line
};

// Distance between two columns of a tile of `rows` rows. It is one cache line larger than needed: otherwise the columns
// would map to the same cache set.
IUSCORE_HD std::int64_t tile_pitch(std::int64_t rows) { return in_whole_vectors(rows) + kMaxLanes; }

IUSCORE_HD std::int64_t additive_mlp_tile_scratch(const AdditiveMlpArgs& args, std::int64_t rows) {
  const std::int64_t columns = args.inputs + std::int64_t{args.groups} * args.outputs + args.outputs;
  return columns * tile_pitch(rows) + (std::int64_t{args.hidden_1} + args.hidden_2) * kMaxPanel;
}

// Widths of a group's matrices, rounded up to whole vectors; sizes in floats.
struct GradientLayout {
  std::int64_t h1;       // H1
  std::int64_t h2;       // H2
  std::int64_t d;        // inputs of the largest group
  std::int64_t sums;     // floats of one group's gradients
  std::int64_t packed;   // floats of one group's packed weights
  std::int64_t scratch;  // floats a thread needs
};

IUSCORE_HD GradientLayout gradient_layout(const AdditiveMlpArgs& args) {
  const std::int64_t h1 = in_whole_vectors(args.hidden_1);
  const std::int64_t h2 = in_whole_vectors(args.hidden_2);
  const std::int64_t d = in_whole_vectors(args.largest_group);
  const std::int64_t layers_2_and_3 = (std::int64_t{args.hidden_1} + 1 + args.outputs) * h2;
  const std::int64_t first = (std::int64_t{args.largest_group} + 1) * h1;
  return {h1,
          h2,
          d,
          in_whole_vectors(first + layers_2_and_3 + args.outputs),
          in_whole_vectors(first + layers_2_and_3 + args.hidden_2 * h1 + args.hidden_1 * d),
          kGradientPanel * (h1 + h2 + d + args.outputs)};
}

// One group's gradients, in GradientLayout::sums floats.
struct GradientSums {
  float* w1;             // [d, H1]
  float* b1;             // [H1]
  float* w2;             // [H1, H2]
  float* b2;             // [H2]
  float* w3_transposed;  // [C, H2]
  float* b3;             // [C]
};

IUSCORE_HD GradientSums gradient_sums(const AdditiveMlpArgs& args, float* scratch) {
  const GradientLayout layout = gradient_layout(args);
  float* const b1 = scratch + args.largest_group * layout.h1;
  float* const w2 = b1 + layout.h1;
  float* const b2 = w2 + args.hidden_1 * layout.h2;
  float* const w3_transposed = b2 + layout.h2;
  return {scratch, b1, w2, b2, w3_transposed, w3_transposed + args.outputs * layout.h2};
}

// Backward pass of one group over at most kGradientRows rows. All scratch starts at a cache line.
struct AdditiveMlpChunk {
  const AdditiveMlpArgs* args;
  const AdditiveMlpGradients* gradients;
  std::int32_t group;
  std::int64_t first_row;
  std::int64_t rows;
  float* packed;  // what additive_mlp_pack wrote for the group
  float* sums;    // GradientSums: the result, but for the gradient of x
  float* scratch;
};

IUSCORE_IN_EVERY_ISA(void additive_mlp_tile(const AdditiveMlpTile& tile);
                     void additive_mlp_pack(const AdditiveMlpArgs& args, std::int32_t group, float* packed);
                     void additive_mlp_chunk(const AdditiveMlpChunk& chunk);)

}  // namespace iuscore
