#include "ops/additive_mlp.h"

#include <algorithm>

#include "cpu/additive_mlp_isa.h"
#include "cpu/isa.h"
#include "cpu/parallel_for.h"
#include "cpu/thread_scratch.h"

namespace iuscore {
namespace {

struct Kernels {
  void (*tile)(const AdditiveMlpTile&);
  void (*pack)(const AdditiveMlpArgs&, std::int32_t, float*);
  void (*chunk)(const AdditiveMlpChunk&);
};

Kernels kernels_of(Isa isa) {
  return {IUSCORE_FOR_ISA(isa, additive_mlp_tile), IUSCORE_FOR_ISA(isa, additive_mlp_pack),
          IUSCORE_FOR_ISA(isa, additive_mlp_chunk)};
}

// The rows of a tile share a group's weights while those are in cache. A tile has fewer rows if not every thread would
// get a tile, or if the rows are so wide that the tile would not fit the cache.
std::int64_t rows_of_a_tile(const AdditiveMlpArgs& args, std::int32_t threads) {
  constexpr std::int64_t kMax = 256;
  constexpr std::int64_t kFloats = 1 << 17;
  const std::int64_t row = args.inputs + std::int64_t{args.groups} * args.outputs;
  const std::int64_t fitting = std::min({kMax, kFloats / row, args.rows / threads});
  return std::max(kMaxPanel, fitting / kMaxPanel * kMaxPanel);
}

// Adds sums [rows, pitch] to out [rows, columns]; if `first`, replaces out.
void add_to(const float* sums, std::int64_t rows, std::int64_t columns, std::int64_t pitch, bool first, float* out) {
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t i = 0; i < columns; ++i) {
      const float value = sums[row * pitch + i];
      float& to = out[row * columns + i];
      to = first ? value : to + value;
    }
}

// The same of sums [columns, pitch], transposed.
void add_transposed_to(const float* sums, std::int64_t rows, std::int64_t columns, std::int64_t pitch, bool first,
                       float* out) {
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t i = 0; i < columns; ++i) {
      const float value = sums[i * pitch + row];
      float& to = out[row * columns + i];
      to = first ? value : to + value;
    }
}

void add_group(const AdditiveMlpArgs& args, const AdditiveMlpGradients& to, std::int64_t g, float* scratch,
               bool first) {
  const GradientLayout layout = gradient_layout(args);
  const GradientSums sums = gradient_sums(args, scratch);
  const std::int64_t h1 = args.hidden_1;
  const std::int64_t h2 = args.hidden_2;
  const std::int64_t c = args.outputs;
  const std::int64_t input = args.first_input[g];
  add_to(sums.w1, args.first_input[g + 1] - input, h1, layout.h1, first, to.w1 + input * h1);
  add_to(sums.b1, 1, h1, layout.h1, first, to.b1 + g * h1);
  add_to(sums.w2, h1, h2, layout.h2, first, to.w2 + g * h1 * h2);
  add_to(sums.b2, 1, h2, layout.h2, first, to.b2 + g * h2);
  add_transposed_to(sums.w3_transposed, h2, c, layout.h2, first, to.w3 + g * h2 * c);
  add_to(sums.b3, 1, c, c, first, to.b3 + g * c);
}

void clear(const AdditiveMlpArgs& args, const AdditiveMlpGradients& to) {
  const std::int64_t g = args.groups;
  std::fill_n(to.w1, args.first_input[g] * std::int64_t{args.hidden_1}, 0.0f);
  std::fill_n(to.b1, g * args.hidden_1, 0.0f);
  std::fill_n(to.w2, g * args.hidden_1 * args.hidden_2, 0.0f);
  std::fill_n(to.b2, g * args.hidden_2, 0.0f);
  std::fill_n(to.w3, g * args.hidden_2 * args.outputs, 0.0f);
  std::fill_n(to.b3, g * args.outputs, 0.0f);
}

}  // namespace

void additive_mlp_cpu(const AdditiveMlpArgs& args, std::int32_t threads) {
  const Kernels kernels = kernels_of(current_isa());
  const std::int64_t rows = rows_of_a_tile(args, threads);
  const std::int64_t floats = additive_mlp_tile_scratch(args, rows);
  ThreadScratch scratch(threads);
  parallel_for((args.rows + rows - 1) / rows, threads, [&](std::int32_t worker, std::int64_t i) {
    kernels.tile({&args, i * rows, std::min(rows, args.rows - i * rows), scratch.of(worker, floats)});
  });
}

// Each chunk of rows has sums of its own; `at_once` chunks are computed at a time. Then the sums of all chunks are
// added in the order of the chunks, so that the bits do not depend on the number of threads.
void additive_mlp_backward_cpu(const AdditiveMlpArgs& args, const AdditiveMlpGradients& gradients,
                               std::int32_t threads) {
  if (args.rows == 0) return clear(args, gradients);
  constexpr std::int64_t kFloatsOfSums = 1 << 22;
  const Kernels kernels = kernels_of(current_isa());
  const GradientLayout layout = gradient_layout(args);
  const std::int64_t groups = args.groups;
  const std::int64_t chunks = (args.rows + kGradientRows - 1) / kGradientRows;
  const std::int64_t floats = layout.sums;
  const std::int64_t packed_floats = layout.packed;
  const std::int64_t at_once = std::clamp<std::int64_t>(kFloatsOfSums / (floats * groups), 1, chunks);
  ThreadScratch shared(2);
  float* packed = shared.of(0, packed_floats * groups);
  float* sums = shared.of(1, floats * groups * at_once);
  ThreadScratch scratch(threads);
  parallel_for(groups, threads, [&](std::int32_t, std::int64_t g) {
    kernels.pack(args, static_cast<std::int32_t>(g), packed + g * packed_floats);
  });
  for (std::int64_t first = 0; first < chunks; first += at_once) {
    const std::int64_t some = std::min(at_once, chunks - first);
    parallel_for(some * groups, threads, [&](std::int32_t worker, std::int64_t i) {
      const std::int64_t g = i % groups;
      const std::int64_t row = (first + i / groups) * kGradientRows;
      kernels.chunk({&args, &gradients, static_cast<std::int32_t>(g), row,
                     std::min<std::int64_t>(kGradientRows, args.rows - row), packed + g * packed_floats,
                     sums + i * floats, scratch.of(worker, layout.scratch)});
    });
    parallel_for(groups, threads, [&](std::int32_t, std::int64_t g) {
      for (std::int64_t chunk = 0; chunk < some; ++chunk)
        add_group(args, gradients, g, sums + (chunk * groups + g) * floats, first + chunk == 0);
    });
  }
}

}  // namespace iuscore
