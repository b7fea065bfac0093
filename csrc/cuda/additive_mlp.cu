// The networks of additive models. Sums are taken in the order of the CPU kernel (docs/additive_mlp.md), so that the
// bits are equal.
#include "core/macros.h"
#include "core/mlp.h"
#include "cuda/block.cuh"
#include "cuda/launch.h"
#include "ops/additive_mlp.h"

namespace iuscore {

// ---- How the work is divided, and where values are kept

// A warp computes kWarpRows rows of kWarpUnits units, and each of its threads 4 rows of 4 units.
constexpr std::int32_t kWarpRows = 32;
constexpr std::int32_t kWarpUnits = 16;
constexpr std::int32_t kSlabFloats = 2048;  // weights that are in shared memory at a time
constexpr std::int32_t kSlabs = 2;          // one is read while the next is written

// Shared memory holds, in this order: two slabs of weights; values of the rows (inputs, hidden layers, outputs), each a
// line of `pitch` floats; the sums of one group in the backward pass. Values that do not fit are in the workspace, a
// piece for each block; sums that do not fit are where they are written to in the end.
struct AdditiveMlpLayout {
  std::int32_t threads;
  std::int32_t blocks;
  std::int32_t warps_in_rows;  // warps with different rows; the others have the same rows and different units
  std::int32_t rows;           // of a tile
  std::int32_t pitch;          // rows + 4: eight threads with neighboring lines then use different banks
  std::int32_t slab_units;
  std::int32_t slab_terms;
  bool values_in_shared;
  bool sums_in_shared;
  std::int64_t value_floats;
  std::int64_t sum_floats;  // of one group; 0 in the forward pass
  std::int64_t shared_bytes;
  std::int64_t items;           // a block works on items blockIdx.x, blockIdx.x + blocks, ...
  std::int32_t slices;          // forward: parts the groups are cut into; an item is a tile of rows and a slice
  std::int64_t chunks_at_once;  // backward: an item is a chunk of kGradientRows rows and a group
};

IUSCORE_HD std::int64_t ceil_div(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }
IUSCORE_HD std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// Floats of one group's gradients (w1, b1, w2, b2, w3, b3), rounded up to a multiple of four for what follows them.
IUSCORE_HD std::int64_t additive_sums(const AdditiveMlpArgs& args) {
  const std::int64_t h1 = args.hidden_1;
  const std::int64_t h2 = args.hidden_2;
  return ceil_div((args.largest_group + 1) * h1 + (h1 + 1) * h2 + (h2 + 1) * args.outputs, 4) * 4;
}

// What both passes share. A tile has as many rows that the units of the second hidden layer are computed in one pass.
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
  layout.values_in_shared = layout.value_floats <= chip;
  if (layout.values_in_shared) chip -= layout.value_floats;
  layout.sums_in_shared = sum_floats <= chip;
  layout.shared_bytes = static_cast<std::int64_t>(sizeof(float)) *
                        (kSlabs * kSlabFloats + (layout.values_in_shared ? layout.value_floats : 0) +
                         (layout.sums_in_shared ? sum_floats : 0));
  return layout;
}

inline void set_blocks(AdditiveMlpLayout& layout, std::int32_t multiprocessors) {
  const std::int64_t most = layout.values_in_shared ? 0x7fffffff : 2 * multiprocessors;
  layout.blocks = static_cast<std::int32_t>(least(layout.items, most));
}

// shared_limit: the most bytes of shared memory a block may have.
inline AdditiveMlpLayout additive_mlp_layout(const AdditiveMlpCudaArgs& args, std::int64_t shared_limit,
                                             std::int32_t multiprocessors) {
  AdditiveMlpLayout layout = additive_tile_layout(args, shared_limit, 0);
  const std::int64_t tiles = ceil_div(args.mlp.rows, layout.rows);
  // One slice if there are enough tiles for all multiprocessors: the same kernel then adds up the totals.
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
  return layout.sum_floats * layout.items + (layout.values_in_shared ? 0 : layout.value_floats * layout.blocks);
}

// ---- What a block does with one tile of rows and one group: layers, and sums over rows

// A matrix of weights as a layer sees it: [terms, units] by strides.
struct LayerWeights {
  const float* data;
  std::int64_t term;
  std::int64_t unit;
  const float* bias;  // [units], or null: sums start from 0
  std::int32_t terms;
  std::int32_t units;
};

// One group: where its inputs and weights are.
struct AdditiveGroup {
  std::int64_t index;
  std::int32_t first;  // column of x
  std::int32_t inputs;
};

// Values of one tile: line `unit`, position `row`. All threads of the block call each function. kInShared is
// layout.values_in_shared, as a constant: so the compiler knows the memory that values are in.
template <bool kInShared>
class AdditiveTile {
 public:
  float* x;    // [largest group][pitch]
  float* h1;   // [H1][pitch]
  float* h2;   // [H2][pitch]
  float* out;  // [C][pitch]

  __device__ AdditiveTile(const AdditiveMlpArgs& args, const AdditiveMlpLayout& layout, float* workspace)
      : args_(args), layout_(layout), slab_(dynamic_shared()) {
    x = kInShared ? slab_ + kSlabs * kSlabFloats : workspace + blockIdx.x * layout.value_floats;
    h1 = x + std::int64_t{args.largest_group} * layout.pitch;
    h2 = h1 + std::int64_t{args.hidden_1} * layout.pitch;
    out = h2 + std::int64_t{args.hidden_2} * layout.pitch;
  }

  __device__ AdditiveGroup group(std::int64_t g) const {
    return {g, args_.first_input[g], args_.first_input[g + 1] - args_.first_input[g]};
  }

  // Loads `rows` rows of the group's inputs, and zeros for the rest of the tile. A warp loads 8 inputs of 4 rows at a
  // time: if rows are contiguous these are whole sectors of memory, and 32 different banks.
  __device__ void load_inputs(const AdditiveGroup& group, std::int64_t first_row, std::int32_t rows) {
    const float* from = args_.x + first_row * args_.stride_row + group.first * args_.stride_input;
    for (std::int32_t k = lane() % 8; k < group.inputs; k += 8)
      for (std::int32_t row = warp() * 4 + lane() / 8; row < layout_.rows; row += warps() * 4)
        x[k * layout_.pitch + row] = row < rows ? from[row * args_.stride_row + k * args_.stride_input] : 0.0f;
  }

  // Writes the lines of x, which are now gradients, to `to`.
  __device__ void write_inputs(const AdditiveGroup& group, std::int64_t first_row, std::int32_t rows, float* to) const {
    to += first_row * args_.inputs + group.first;
    for (std::int32_t k = lane() % 8; k < group.inputs; k += 8)
      for (std::int32_t row = warp() * 4 + lane() / 8; row < rows; row += warps() * 4)
        to[std::int64_t{row} * args_.inputs + k] = x[k * layout_.pitch + row];
  }

  __device__ LayerWeights first_layer(const AdditiveGroup& g) const {
    return {args_.w1 + std::int64_t{g.first} * args_.hidden_1,
            args_.hidden_1,
            1,
            args_.b1 + g.index * args_.hidden_1,
            g.inputs,
            args_.hidden_1};
  }
  __device__ LayerWeights second_layer(const AdditiveGroup& g) const {
    return {args_.w2 + g.index * args_.hidden_1 * args_.hidden_2,
            args_.hidden_2,
            1,
            args_.b2 + g.index * args_.hidden_2,
            args_.hidden_1,
            args_.hidden_2};
  }
  __device__ LayerWeights third_layer(const AdditiveGroup& g) const {
    return {args_.w3 + g.index * args_.hidden_2 * args_.outputs,
            args_.outputs,
            1,
            args_.b3 + g.index * args_.outputs,
            args_.hidden_2,
            args_.outputs};
  }

  // to[unit][row] = end(to[unit][row], bias[unit] + sum over terms of w[term, unit] * from[term][row]). Has a barrier
  // after earlier writes to `from` and `to`; the caller needs one before the results are read.
  template <class End>
  __device__ void layer(const float* from, const LayerWeights& w, float* to, const End& end) {
    const std::int32_t row = warp() % layout_.warps_in_rows * kWarpRows + lane() % 8 * 4;
    const std::int32_t unit = warp() / layout_.warps_in_rows * kWarpUnits + lane() / 8 * 4;
    IUSCORE_ROLLED
    for (std::int32_t first = 0; first < w.units; first += layout_.slab_units) {
      float sums[4][4];  // unit, row
      for (int u = 0; u < 4; ++u) {
        const std::int32_t at = first + unit + u;
        const float start = w.bias != nullptr && at < w.units ? w.bias[at] : 0.0f;
        for (int r = 0; r < 4; ++r) sums[u][r] = start;
      }
      IUSCORE_ROLLED
      for (std::int32_t term = 0; term < w.terms; term += layout_.slab_terms) {
        const std::int32_t terms = w.terms - term < layout_.slab_terms ? w.terms - term : layout_.slab_terms;
        float* slab = slab_ + kSlabFloats * (turn_ ^= 1);
        load_slab(w, term, terms, first, slab);
        __syncthreads();  // also: no thread still reads the slab that is overwritten next
        const float* in = from + std::int64_t{term} * layout_.pitch + row;
        const float* weights = slab + unit;
        for (std::int32_t k = 0; k < terms; ++k) {
          const Four<float> a = four_of(in + k * layout_.pitch);
          const Four<float> b = four_of(weights + k * layout_.slab_units);
          for (int u = 0; u < 4; ++u)
            for (int r = 0; r < 4; ++r) sums[u][r] = multiply_add(b.values[u], a.values[r], sums[u][r]);
        }
      }
      for (int u = 0; u < 4; ++u) {
        const std::int32_t at = first + unit + u;
        if (at >= w.units) continue;
        auto* four = reinterpret_cast<Four<float>*>(to + std::int64_t{at} * layout_.pitch + row);
        Four<float> value = *four;
        for (int r = 0; r < 4; ++r) value.values[r] = end(value.values[r], sums[u][r]);
        *four = value;
      }
    }
  }

  // to[a][b] += sum over the first `rows` rows of line a of `one` times line b of `two`; `fresh`: the sums begin with
  // 0. `to` has the strides of the lines. The same thread computes an element in every call.
  struct Lines {
    const float* data;
    std::int32_t count;
    std::int64_t stride;
  };
  __device__ void add_products(const Lines& one, const Lines& two, std::int32_t rows, bool fresh, float* to) const {
    if (two.count < 4)
      add_few(one, two, rows, fresh, to);
    else
      add_many(one, two, rows, fresh, to);
  }

  // to[i] += sum of line i.
  __device__ void add_lines(const float* lines, std::int32_t count, std::int32_t rows, bool fresh, float* to) const {
    for (std::int32_t i = thread(); i < count; i += threads()) {
      float sum = fresh ? 0.0f : to[i];
      const float* line = lines + i * layout_.pitch;
      for (std::int32_t row = 0; row < rows; row += 4) {
        const Four<float> four = four_of(line + row);
        for (int r = 0; r < 4; ++r)
          if (row + r < rows) sum = sum + four.values[r];
      }
      to[i] = sum;
    }
  }

  __device__ static std::int32_t thread() { return static_cast<std::int32_t>(threadIdx.x); }
  __device__ static std::int32_t threads() { return static_cast<std::int32_t>(blockDim.x); }
  __device__ static std::int32_t lane() { return thread() % kWarpSize; }
  __device__ static std::int32_t warp() { return thread() / kWarpSize; }
  __device__ static std::int32_t warps() { return threads() / kWarpSize; }

 private:
  __device__ static Four<float> four_of(const float* from) { return *reinterpret_cast<const Four<float>*>(from); }

  // slab_units divides the number of threads, so that a thread loads one unit.
  __device__ void load_slab(const LayerWeights& w, std::int32_t term, std::int32_t terms, std::int32_t first,
                            float* slab) const {
    const std::int32_t u = thread() % layout_.slab_units;
    const bool real = first + u < w.units;
    const float* from = w.data + (first + u) * w.unit + term * w.term;
    for (std::int32_t k = thread() / layout_.slab_units; k < terms; k += threads() / layout_.slab_units)
      slab[k * layout_.slab_units + u] = real ? from[k * w.term] : 0.0f;
  }

  // Each thread computes an element at a time.
  __device__ void add_few(const Lines& one, const Lines& two, std::int32_t rows, bool fresh, float* to) const {
    for (std::int32_t a = thread(); a < one.count; a += threads())
      for (std::int32_t b = 0; b < two.count; ++b) {
        float& here = to[a * one.stride + b * two.stride];
        float sum = fresh ? 0.0f : here;
        const float* in_a = one.data + a * layout_.pitch;
        const float* in_b = two.data + b * layout_.pitch;
        for (std::int32_t row = 0; row < rows; row += 4) {
          const Four<float> va = four_of(in_a + row);
          const Four<float> vb = four_of(in_b + row);
          for (int r = 0; r < 4; ++r)
            if (row + r < rows) sum = multiply_add(va.values[r], vb.values[r], sum);
        }
        here = sum;
      }
  }

  // A warp computes 32 by 16 elements, a thread 4 by 4. A thread's elements are 8 apart in a and 4 apart in b, so that
  // loads of four rows use different banks.
  __device__ void add_many(const Lines& one, const Lines& two, std::int32_t rows, bool fresh, float* to) const {
    const auto across = static_cast<std::int32_t>(ceil_div(one.count, 32));
    const auto items = static_cast<std::int32_t>(across * ceil_div(two.count, 16));
    IUSCORE_ROLLED
    for (std::int32_t item = warp(); item < items; item += warps()) {
      const std::int32_t a = item % across * 32 + lane() % 8;
      const std::int32_t b = item / across * 16 + lane() / 8;
      const float* in_a[4];
      const float* in_b[4];
      float sums[4][4];
      for (int i = 0; i < 4; ++i) {
        in_a[i] = one.data + std::int64_t{a + 8 * i < one.count ? a + 8 * i : 0} * layout_.pitch;
        in_b[i] = two.data + std::int64_t{b + 4 * i < two.count ? b + 4 * i : 0} * layout_.pitch;
      }
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) {
          const bool real = a + 8 * i < one.count && b + 4 * j < two.count;
          sums[i][j] = fresh || !real ? 0.0f : to[(a + 8 * i) * one.stride + (b + 4 * j) * two.stride];
        }
      IUSCORE_ROLLED
      for (std::int32_t row = 0; row < rows; row += 4) {
        Four<float> va[4];
        Four<float> vb[4];
        for (int i = 0; i < 4; ++i) {
          va[i] = four_of(in_a[i] + row);
          vb[i] = four_of(in_b[i] + row);
        }
        for (int r = 0; r < 4; ++r) {
          if (row + r >= rows) break;
          for (int i = 0; i < 4; ++i)
            for (int j = 0; j < 4; ++j) sums[i][j] = multiply_add(va[i].values[r], vb[j].values[r], sums[i][j]);
        }
      }
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
          if (a + 8 * i < one.count && b + 4 * j < two.count)
            to[(a + 8 * i) * one.stride + (b + 4 * j) * two.stride] = sums[i][j];
    }
  }

  const AdditiveMlpArgs& args_;
  const AdditiveMlpLayout& layout_;
  float* slab_;
  std::int32_t turn_ = 0;
};

// What a layer writes, from the previous value and the sum.
struct Identity {
  __device__ float operator()(float, float sum) const { return sum; }
};
struct Relu {
  __device__ float operator()(float, float sum) const { return relu(sum); }
};
struct ReluGradient {
  __device__ float operator()(float h, float sum) const { return relu_gradient(h, sum); }
};

// The second number of the launch bounds: without it ptxas spills registers although there are enough.

// ---- Forward pass: a block computes a tile of rows, for a slice of the groups

// Computes contributions of one group from h2, and adds them to the total if the block has all groups.
template <bool kInShared>
__device__ void write_contributions(const AdditiveMlpArgs& args, const AdditiveMlpLayout& layout,
                                    AdditiveTile<kInShared>& tile, const AdditiveGroup& group, std::int64_t first_row,
                                    std::int32_t rows) {
  const LayerWeights w = tile.third_layer(group);
  const bool wide = w.units >= 4;
  if (wide) tile.layer(tile.h2, w, tile.out, Identity());
  __syncthreads();
  const std::int32_t row = tile.thread() % layout.rows;  // one thread adds up a total, as rows divides the threads
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
    args.contributions[((first_row + row) * args.groups + group.index) * w.units + c] = canonical_nan(sum);
    if (layout.slices > 1) continue;
    float& total = args.total[(first_row + row) * w.units + c];
    total = canonical_nan(group.index == 0 ? sum : total + sum);
  }
}

template <bool kInShared>
__global__ void __launch_bounds__(kMaxMlpBlock, 2)
    additive_mlp_kernel(const __grid_constant__ AdditiveMlpArgs args, const __grid_constant__ AdditiveMlpLayout layout,
                        float* workspace) {
  AdditiveTile<kInShared> tile(args, layout, workspace);
  IUSCORE_ROLLED
  for (std::int64_t item = blockIdx.x; item < layout.items; item += gridDim.x) {
    const std::int64_t first_row = item / layout.slices * layout.rows;
    const std::int64_t slice = item % layout.slices;
    const auto rows = static_cast<std::int32_t>(least(layout.rows, args.rows - first_row));
    const std::int64_t last = (slice + 1) * args.groups / layout.slices;
    IUSCORE_ROLLED
    for (std::int64_t g = slice * args.groups / layout.slices; g < last; ++g) {
      const AdditiveGroup group = tile.group(g);
      tile.load_inputs(group, first_row, rows);
      tile.layer(tile.x, tile.first_layer(group), tile.h1, Relu());
      tile.layer(tile.h1, tile.second_layer(group), tile.h2, Relu());
      write_contributions(args, layout, tile, group, first_row, rows);
    }
  }
}

// Totals if several blocks computed the groups of a row: each thread adds up one at a time.
__global__ void __launch_bounds__(kMaxMlpBlock)
    additive_mlp_total_kernel(const __grid_constant__ AdditiveMlpArgs args) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < args.rows * args.outputs; i += step) {
    const float* from = args.contributions + i / args.outputs * args.groups * args.outputs + i % args.outputs;
    float sum = *from;
    for (std::int32_t g = 1; g < args.groups; ++g) sum = sum + from[std::int64_t{g} * args.outputs];
    args.total[i] = canonical_nan(sum);
  }
}

// ---- Backward pass: a block computes one group and a chunk of rows

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

// Loads the gradient of the group's contributions into the lines of outputs; zeros for the rest of the tile.
template <bool kInShared>
__device__ void load_incoming(const AdditiveMlpArgs& args, const AdditiveMlpLayout& layout,
                              const AdditiveMlpGradients& gradients, AdditiveTile<kInShared>& tile,
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
template <bool kInShared>
__device__ void tile_gradients(const AdditiveMlpArgs& args, const AdditiveMlpLayout& layout,
                               const AdditiveMlpGradients& gradients, AdditiveTile<kInShared>& tile,
                               const AdditiveGroup& group, std::int64_t first_row, std::int32_t rows, bool fresh,
                               const AdditiveSums& sums) {
  const std::int32_t h1 = args.hidden_1;
  const std::int32_t h2 = args.hidden_2;
  const std::int32_t c = args.outputs;
  const LayerWeights first = tile.first_layer(group);
  const LayerWeights second = tile.second_layer(group);
  const LayerWeights third = tile.third_layer(group);
  __syncthreads();  // the previous tile may still be read
  tile.load_inputs(group, first_row, rows);
  load_incoming(args, layout, gradients, tile, group, first_row, rows);
  tile.layer(tile.x, first, tile.h1, Relu());
  tile.layer(tile.h1, second, tile.h2, Relu());
  __syncthreads();
  tile.add_products({tile.h2, h2, c}, {tile.out, c, 1}, rows, fresh, sums.w3);
  tile.add_lines(tile.out, c, rows, fresh, sums.b3);
  tile.layer(tile.out, {third.data, 1, c, nullptr, c, h2}, tile.h2, ReluGradient());
  __syncthreads();
  tile.add_products({tile.h1, h1, h2}, {tile.h2, h2, 1}, rows, fresh, sums.w2);
  tile.add_lines(tile.h2, h2, rows, fresh, sums.b2);
  tile.layer(tile.h2, {second.data, 1, h2, nullptr, h2, h1}, tile.h1, ReluGradient());
  __syncthreads();
  tile.add_products({tile.h1, h1, 1}, {tile.x, group.inputs, h1}, rows, fresh, sums.w1);
  tile.add_lines(tile.h1, h1, rows, fresh, sums.b1);
  if (gradients.x == nullptr) return;
  tile.layer(tile.h1, {first.data, 1, h1, nullptr, h1, group.inputs}, tile.x, Identity());
  __syncthreads();
  tile.write_inputs(group, first_row, rows, gradients.x);
}

// workspace: sums of all items, then values of all blocks if they are not in shared memory. An item is a chunk, from
// `chunk` on, and a group.
template <bool kInShared>
__global__ void __launch_bounds__(kMaxMlpBlock, 1)
    additive_mlp_backward_kernel(const __grid_constant__ AdditiveMlpArgs args,
                                 const __grid_constant__ AdditiveMlpGradients gradients,
                                 const __grid_constant__ AdditiveMlpLayout layout, std::int64_t chunk,
                                 float* workspace) {
  AdditiveTile<kInShared> tile(args, layout, workspace + layout.sum_floats * layout.chunks_at_once * args.groups);
  float* in_shared = dynamic_shared() + kSlabs * kSlabFloats + (kInShared ? layout.value_floats : 0);
  IUSCORE_ROLLED
  for (std::int64_t item = blockIdx.x; item < layout.items; item += gridDim.x) {
    const AdditiveGroup group = tile.group(item % args.groups);
    const std::int64_t begin = (chunk + item / args.groups) * kGradientRows;
    const std::int64_t end = least(begin + kGradientRows, args.rows);
    float* result = workspace + item * layout.sum_floats;
    const AdditiveSums sums(args, group.inputs, layout.sums_in_shared ? in_shared : result);
    IUSCORE_ROLLED
    for (std::int64_t row = begin; row < end; row += layout.rows)
      tile_gradients(args, layout, gradients, tile, group, row,
                     static_cast<std::int32_t>(least(layout.rows, end - row)), row == begin, sums);
    if (!layout.sums_in_shared) continue;
    __syncthreads();
    const std::int64_t floats = sums.b3 + args.outputs - sums.w1;
    for (std::int64_t i = tile.thread(); i < floats; i += tile.threads()) result[i] = in_shared[i];
    __syncthreads();
  }
}

// Where the i-th sum of group g is written; null if the group has fewer.
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

// Adds the sums of `chunks` chunks to the gradients, in order; each thread adds up one gradient at a time. `first`:
// these are the first chunks, so gradients are overwritten; without any chunk they become 0.
__global__ void __launch_bounds__(kMaxMlpBlock)
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
  return layout.values_in_shared ? additive_mlp_kernel<true> : additive_mlp_kernel<false>;
}

inline AdditiveMlpBackwardKernel additive_mlp_backward_kernel_of(const AdditiveMlpLayout& layout) {
  return layout.values_in_shared ? additive_mlp_backward_kernel<true> : additive_mlp_backward_kernel<false>;
}

namespace {

constexpr std::int64_t kFloat = sizeof(float);

Launcher launcher_for(const AdditiveMlpCudaArgs& args) { return {"additive_mlp", args.device}; }

AdditiveMlpLayout forward_layout(const Launcher& launcher, const AdditiveMlpCudaArgs& args) {
  return additive_mlp_layout(args, launcher.shared_limit(), launcher.multiprocessors());
}

AdditiveMlpLayout backward_layout(const Launcher& launcher, const AdditiveMlpCudaArgs& args) {
  return additive_mlp_backward_layout(args, launcher.shared_limit(), launcher.multiprocessors());
}

}  // namespace

std::int64_t additive_mlp_cuda_workspace(const AdditiveMlpCudaArgs& args) {
  return kFloat * additive_workspace(forward_layout(launcher_for(args), args));
}

std::int64_t additive_mlp_backward_cuda_workspace(const AdditiveMlpCudaArgs& args) {
  return kFloat * additive_workspace(backward_layout(launcher_for(args), args));
}

void additive_mlp_cuda(const AdditiveMlpCudaArgs& args, void* stream) {
  const AdditiveMlpArgs& mlp = args.mlp;
  if (mlp.rows == 0) return;
  const Launcher launcher = launcher_for(args);
  const CurrentDevice current = launcher.use_device();
  const AdditiveMlpLayout layout = forward_layout(launcher, args);
  launcher.check_workspace(kFloat * additive_workspace(layout), args.workspace_bytes);
  launcher.launch(additive_mlp_kernel_of(layout), layout.blocks, layout.threads, layout.shared_bytes, stream, mlp,
                  layout, args.workspace);
  if (layout.slices == 1) return;
  launcher.launch(additive_mlp_total_kernel, ceil_div(mlp.rows * mlp.outputs, kMaxMlpBlock), kMaxMlpBlock, 0, stream,
                  mlp);
}

void additive_mlp_backward_cuda(const AdditiveMlpCudaArgs& args, const AdditiveMlpGradients& gradients, void* stream) {
  const AdditiveMlpArgs& mlp = args.mlp;
  const Launcher launcher = launcher_for(args);
  const CurrentDevice current = launcher.use_device();
  const AdditiveMlpLayout layout = backward_layout(launcher, args);
  launcher.check_workspace(kFloat * additive_workspace(layout), args.workspace_bytes);
  const std::int64_t chunks = ceil_div(mlp.rows, kGradientRows);
  const std::int64_t adders = ceil_div(layout.sum_floats * mlp.groups, kMaxMlpBlock);
  for (std::int64_t chunk = 0; chunk == 0 || chunk < chunks; chunk += layout.chunks_at_once) {
    AdditiveMlpLayout some = layout;
    const std::int64_t here = least(layout.chunks_at_once, chunks - chunk);
    some.items = here * mlp.groups;
    if (here > 0)
      launcher.launch(additive_mlp_backward_kernel_of(layout), least(layout.blocks, some.items), layout.threads,
                      layout.shared_bytes, stream, mlp, gradients, some, chunk, args.workspace);
    launcher.launch(additive_mlp_add_kernel, adders, kMaxMlpBlock, 0, stream, mlp, gradients,
                    static_cast<const float*>(args.workspace), layout.sum_floats, here, chunk == 0);
    if (here == 0) return;
  }
}

}  // namespace iuscore
