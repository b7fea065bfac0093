// The additive model's networks. Sums are taken in the order of the CPU kernel (docs/additive_mlp.md): equal bits.
#pragma once

#include "cuda/additive_mlp_block.cuh"

namespace iuscore {

// The second number of the launch bounds keeps ptxas from saving registers it need not save, by spilling.

// ---- Forward: a block has a tile of rows and goes through a slice of the groups
// --------------------------------------

// Contributions of one group from h2, and, where the block has all groups, the total so far.
template <bool kOnChip>
__device__ void give_contributions(const AdditiveMlpArgs& args, const AdditiveMlpLayout& layout,
                                   AdditiveTile<kOnChip>& tile, const AdditiveGroup& group, std::int64_t first_row,
                                   std::int32_t rows) {
  const LayerWeights w = tile.third_layer(group);
  const bool wide = w.units >= 4;
  if (wide) tile.layer(tile.h2, w, tile.out, AsItIs());
  __syncthreads();
  const std::int32_t row = tile.thread() % layout.rows;  // rows divide the threads: a total is one thread's
  if (row >= rows) return;
  for (std::int32_t c = tile.thread() / layout.rows; c < w.units; c += tile.threads() / layout.rows) {
    float sum;
    if (wide) {
      sum = tile.out[c * layout.pitch + row];
    } else {
      sum = w.bias[c];
      for (std::int32_t k = 0; k < w.terms; ++k)
        sum = multiply_add(w.data[k * w.term + c], tile.h2[k * layout.pitch + row], sum);
    }
    args.contributions[((first_row + row) * args.groups + group.index) * w.units + c] = one_nan(sum);
    if (layout.slices > 1) continue;
    float& total = args.total[(first_row + row) * w.units + c];
    total = one_nan(group.index == 0 ? sum : total + sum);
  }
}

template <bool kOnChip>
__global__ void __launch_bounds__(kLargestAdditiveBlock, 2)
    additive_mlp_kernel(const __grid_constant__ AdditiveMlpArgs args, const __grid_constant__ AdditiveMlpLayout layout,
                        float* elsewhere) {
  AdditiveTile<kOnChip> tile(args, layout, elsewhere);
  IUSCORE_ROLLED
  for (std::int64_t item = blockIdx.x; item < layout.items; item += gridDim.x) {
    const std::int64_t first_row = item / layout.slices * layout.rows;
    const std::int64_t slice = item % layout.slices;
    const auto rows = static_cast<std::int32_t>(least(layout.rows, args.rows - first_row));
    const std::int64_t last = (slice + 1) * args.groups / layout.slices;
    IUSCORE_ROLLED
    for (std::int64_t g = slice * args.groups / layout.slices; g < last; ++g) {
      const AdditiveGroup group = tile.group(g);
      tile.take_inputs(group, first_row, rows);
      tile.layer(tile.x, tile.first_layer(group), tile.h1, Relu());
      tile.layer(tile.h1, tile.second_layer(group), tile.h2, Relu());
      give_contributions(args, layout, tile, group, first_row, rows);
    }
  }
}

// The total where several blocks had a row's groups: a thread a sum.
__global__ void __launch_bounds__(kLargestAdditiveBlock)
    additive_mlp_total_kernel(const __grid_constant__ AdditiveMlpArgs args) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < args.rows * args.outputs; i += step) {
    const float* from = args.contributions + i / args.outputs * args.groups * args.outputs + i % args.outputs;
    float sum = *from;
    for (std::int32_t g = 1; g < args.groups; ++g) sum = sum + from[std::int64_t{g} * args.outputs];
    args.total[i] = one_nan(sum);
  }
}

// ---- Backward: a block has one group and a chunk of rows
// -------------------------------------------------------------

// One group's sums: w1 [d, H1], b1, w2 [H1, H2], b2, w3 [H2, C], b3, one after another.
struct AdditiveSums {
  float *w1, *b1, *w2, *b2, *w3, *b3;

  __device__ AdditiveSums(const AdditiveMlpArgs& args, std::int32_t inputs, float* memory) {
    w1 = memory;
    b1 = w1 + std::int64_t{inputs} * args.hidden_1;
    w2 = b1 + args.hidden_1;
    b2 = w2 + std::int64_t{args.hidden_1} * args.hidden_2;
    w3 = b2 + args.hidden_2;
    b3 = w3 + std::int64_t{args.hidden_2} * args.outputs;
  }
};

// The gradient of the group's contributions to the outputs' lines; zeros behind the rows.
template <bool kOnChip>
__device__ void take_incoming(const AdditiveMlpArgs& args, const AdditiveMlpLayout& layout,
                              const AdditiveMlpGradients& gradients, AdditiveTile<kOnChip>& tile,
                              const AdditiveGroup& group, std::int64_t first_row, std::int32_t rows) {
  const std::int32_t row = tile.thread() % layout.rows;
  for (std::int32_t c = tile.thread() / layout.rows; c < args.outputs; c += tile.threads() / layout.rows) {
    const std::int64_t in_own = ((first_row + row) * args.groups + group.index) * args.outputs + c;
    const std::int64_t in_all = (first_row + row) * args.outputs + c;
    float value = 0.0f;
    if (row < rows) {
      if (gradients.contributions == nullptr)
        value = gradients.total[in_all];
      else if (gradients.total == nullptr)
        value = gradients.contributions[in_own];
      else
        value = gradients.contributions[in_own] + gradients.total[in_all];
    }
    tile.out[c * layout.pitch + row] = value;
  }
}

// Adds one tile's rows to the sums and writes its gradient of x.
template <bool kOnChip>
__device__ void tile_gradients(const AdditiveMlpArgs& args, const AdditiveMlpLayout& layout,
                               const AdditiveMlpGradients& gradients, AdditiveTile<kOnChip>& tile,
                               const AdditiveGroup& group, std::int64_t first_row, std::int32_t rows, bool fresh,
                               const AdditiveSums& sums) {
  const std::int32_t h1 = args.hidden_1;
  const std::int32_t h2 = args.hidden_2;
  const std::int32_t c = args.outputs;
  const LayerWeights first = tile.first_layer(group);
  const LayerWeights second = tile.second_layer(group);
  const LayerWeights third = tile.third_layer(group);
  __syncthreads();  // the tile before is still read
  tile.take_inputs(group, first_row, rows);
  take_incoming(args, layout, gradients, tile, group, first_row, rows);
  tile.layer(tile.x, first, tile.h1, Relu());
  tile.layer(tile.h1, second, tile.h2, Relu());
  __syncthreads();
  tile.add_products({tile.h2, h2, c}, {tile.out, c, 1}, rows, fresh, sums.w3);
  tile.add_lines(tile.out, c, rows, fresh, sums.b3);
  tile.layer(tile.out, {third.data, 1, c, nullptr, c, h2}, tile.h2, Through());
  __syncthreads();
  tile.add_products({tile.h1, h1, h2}, {tile.h2, h2, 1}, rows, fresh, sums.w2);
  tile.add_lines(tile.h2, h2, rows, fresh, sums.b2);
  tile.layer(tile.h2, {second.data, 1, h2, nullptr, h2, h1}, tile.h1, Through());
  __syncthreads();
  tile.add_products({tile.h1, h1, 1}, {tile.x, group.inputs, h1}, rows, fresh, sums.w1);
  tile.add_lines(tile.h1, h1, rows, fresh, sums.b1);
  if (gradients.x == nullptr) return;
  tile.layer(tile.h1, {first.data, 1, h1, nullptr, h1, group.inputs}, tile.x, AsItIs());
  __syncthreads();
  tile.give_inputs(group, first_row, rows, gradients.x);
}

// workspace: the items' sums, then the values of blocks that have none on chip. Items: chunks from `chunk` on, groups.
template <bool kOnChip>
__global__ void __launch_bounds__(kLargestAdditiveBlock, 1)
    additive_mlp_backward_kernel(const __grid_constant__ AdditiveMlpArgs args,
                                 const __grid_constant__ AdditiveMlpGradients gradients,
                                 const __grid_constant__ AdditiveMlpLayout layout, std::int64_t chunk,
                                 float* workspace) {
  AdditiveTile<kOnChip> tile(args, layout, workspace + layout.sum_floats * layout.chunks_at_once * args.groups);
  float* on_chip = dynamic_shared() + kSlabs * kSlabFloats + (kOnChip ? layout.value_floats : 0);
  IUSCORE_ROLLED
  for (std::int64_t item = blockIdx.x; item < layout.items; item += gridDim.x) {
    const AdditiveGroup group = tile.group(item % args.groups);
    const std::int64_t begin = (chunk + item / args.groups) * kGradientRows;
    const std::int64_t end = least(begin + kGradientRows, args.rows);
    float* result = workspace + item * layout.sum_floats;
    const AdditiveSums sums(args, group.inputs, layout.sums_on_chip ? on_chip : result);
    IUSCORE_ROLLED
    for (std::int64_t row = begin; row < end; row += layout.rows)
      tile_gradients(args, layout, gradients, tile, group, row,
                     static_cast<std::int32_t>(least(layout.rows, end - row)), row == begin, sums);
    if (!layout.sums_on_chip) continue;
    __syncthreads();
    const std::int64_t floats = sums.b3 + args.outputs - sums.w1;
    for (std::int64_t i = tile.thread(); i < floats; i += tile.threads()) result[i] = on_chip[i];
    __syncthreads();
  }
}

// Where the i-th of one group's sums goes; null behind the last.
__device__ inline float* gradient_at(const AdditiveMlpArgs& args, const AdditiveMlpGradients& to, std::int64_t g,
                                     std::int64_t i) {
  const std::int64_t h1 = args.hidden_1;
  const std::int64_t h2 = args.hidden_2;
  const std::int64_t c = args.outputs;
  const std::int64_t first = args.first_input[g];
  const std::int64_t sizes[6] = {(args.first_input[g + 1] - first) * h1, h1, h1 * h2, h2, h2 * c, c};
  float* const places[6] = {to.w1 + first * h1, to.b1 + g * h1,     to.w2 + g * h1 * h2,
                            to.b2 + g * h2,     to.w3 + g * h2 * c, to.b3 + g * c};
  for (int part = 0; part < 6; ++part) {
    if (i < sizes[part]) return places[part] + i;
    i -= sizes[part];
  }
  return nullptr;
}

// Adds the sums of `chunks` chunks to the gradients, in order, a thread a gradient. Before the first chunk there is
// nothing; without any, gradients are 0.
__global__ void __launch_bounds__(kLargestAdditiveBlock)
    additive_mlp_add_kernel(const __grid_constant__ AdditiveMlpArgs args,
                            const __grid_constant__ AdditiveMlpGradients gradients, const float* sums,
                            std::int64_t sum_floats, std::int64_t chunks, bool first) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t count = args.groups * sum_floats;
  for (std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < count; at += step) {
    const std::int64_t g = at / sum_floats;
    float* to = gradient_at(args, gradients, g, at % sum_floats);
    if (to == nullptr) continue;
    float sum = first ? 0.0f : *to;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      const float value = sums[chunk * count + at];
      sum = first && chunk == 0 ? value : sum + value;
    }
    *to = sum;
  }
}

using AdditiveMlpKernel = void (*)(AdditiveMlpArgs, AdditiveMlpLayout, float*);
using AdditiveMlpBackwardKernel = void (*)(AdditiveMlpArgs, AdditiveMlpGradients, AdditiveMlpLayout, std::int64_t,
                                           float*);

inline AdditiveMlpKernel additive_mlp_kernel_of(const AdditiveMlpLayout& layout) {
  return layout.values_on_chip ? additive_mlp_kernel<true> : additive_mlp_kernel<false>;
}

inline AdditiveMlpBackwardKernel additive_mlp_backward_kernel_of(const AdditiveMlpLayout& layout) {
  return layout.values_on_chip ? additive_mlp_backward_kernel<true> : additive_mlp_backward_kernel<false>;
}

}  // namespace iuscore
