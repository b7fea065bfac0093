// What a block of threads does with one tile of rows and one group: layers, sums over rows.
#pragma once

#include "core/mlp.h"
#include "cuda/additive_mlp_layout.h"
#include "cuda/block.cuh"

namespace iuscore {

// A matrix of weights as a layer sees it: [terms, units] by strides.
struct LayerWeights {
  const float* data;
  std::int64_t term;
  std::int64_t unit;
  const float* bias;  // [units], or null: sums start from 0
  std::int32_t terms;
  std::int32_t units;
};

// One group's place among inputs and weights.
struct AdditiveGroup {
  std::int64_t index;
  std::int32_t first;  // column of x
  std::int32_t inputs;
};

// Values are lines of one tile's rows: line `unit`, position `row`. Each function is called by all threads of the
// block.
// kOnChip, where layout.values_on_chip, tells the compiler which kind of memory they are in.
template <bool kOnChip>
class AdditiveTile {
 public:
  float* x;    // [largest group][pitch]
  float* h1;   // [H1][pitch]
  float* h2;   // [H2][pitch]
  float* out;  // [C][pitch]

  __device__ AdditiveTile(const AdditiveMlpArgs& args, const AdditiveMlpLayout& layout, float* elsewhere)
      : args_(args), layout_(layout), slab_(dynamic_shared()) {
    x = kOnChip ? slab_ + kSlabs * kSlabFloats : elsewhere + blockIdx.x * layout.value_floats;
    h1 = x + std::int64_t{args.largest_group} * layout.pitch;
    h2 = h1 + std::int64_t{args.hidden_1} * layout.pitch;
    out = h2 + std::int64_t{args.hidden_2} * layout.pitch;
  }

  __device__ AdditiveGroup group(std::int64_t g) const {
    return {g, args_.first_input[g], args_.first_input[g + 1] - args_.first_input[g]};
  }

  // `rows` rows of the group's inputs; zeros behind them. A warp takes 8 inputs of 4 rows at a time: whole sectors of
  // memory where rows are contiguous, and 32 banks.
  __device__ void take_inputs(const AdditiveGroup& group, std::int64_t first_row, std::int32_t rows) {
    const float* from = args_.x + first_row * args_.stride_row + group.first * args_.stride_input;
    for (std::int32_t k = lane() % 8; k < group.inputs; k += 8)
      for (std::int32_t row = warp() * 4 + lane() / 8; row < layout_.rows; row += warps() * 4)
        x[k * layout_.pitch + row] = row < rows ? from[row * args_.stride_row + k * args_.stride_input] : 0.0f;
  }

  // Lines of x, now gradients, to where they go.
  __device__ void give_inputs(const AdditiveGroup& group, std::int64_t first_row, std::int32_t rows, float* to) const {
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

  // to[unit][row] = end(to[unit][row], bias[unit] + sum over terms of w[term, unit] * from[term][row]). What other
  // threads wrote to `from` and `to` before is seen; what is written here is seen after the next barrier.
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
        take_slab(w, term, terms, first, slab);
        __syncthreads();  // no thread still reads the slab before the last
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

  // to[a][b] += sum over the first `rows` rows of line a of `one` times line b of `two`, where `fresh` from 0.
  // Neighbors in `to` by strides. An element belongs to the same thread in every call.
  struct Lines {
    const float* data;
    std::int32_t count;
    std::int64_t stride;
  };
  __device__ void add_products(const Lines& one, const Lines& two, std::int32_t rows, bool fresh, float* to) const {
    if (two.count < 4)
      add_narrow(one, two, rows, fresh, to);
    else
      add_wide(one, two, rows, fresh, to);
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

  // A slab has as many units as divide the number of threads, so a thread keeps its unit.
  __device__ void take_slab(const LayerWeights& w, std::int32_t term, std::int32_t terms, std::int32_t first,
                            float* slab) const {
    const std::int32_t u = thread() % layout_.slab_units;
    const bool real = first + u < w.units;
    const float* from = w.data + (first + u) * w.unit + term * w.term;
    for (std::int32_t k = thread() / layout_.slab_units; k < terms; k += threads() / layout_.slab_units)
      slab[k * layout_.slab_units + u] = real ? from[k * w.term] : 0.0f;
  }

  // A thread an element.
  __device__ void add_narrow(const Lines& one, const Lines& two, std::int32_t rows, bool fresh, float* to) const {
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

  // A warp 32 by 16 elements, a thread 4 by 4: neighbors in a are 8 apart, in b 4, so that loads of four rows each meet
  // different banks.
  __device__ void add_wide(const Lines& one, const Lines& two, std::int32_t rows, bool fresh, float* to) const {
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

// Ends of a layer: what becomes of the value that was there and the sum.
struct AsItIs {
  __device__ float operator()(float, float sum) const { return sum; }
};
struct Relu {
  __device__ float operator()(float, float sum) const { return relu(sum); }
};
struct Through {
  __device__ float operator()(float h, float sum) const { return gradient_through(h, sum); }
};

}  // namespace iuscore
