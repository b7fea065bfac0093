// Backward pass of one group over some rows: hidden layers are computed again, units in lanes, so that sums over rows
// need no value moved from lane to lane.
#pragma once

#include "cpu/additive_mlp_isa.h"
#include "cpu/additive_mlp_product.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// A group's weights with whole vectors of columns, zeros behind the real ones, and their transposes.
struct PackedWeights {
  float *w1, *b1, *w2, *b2, *w1_turned, *w2_turned, *w3_turned;

  PackedWeights(const AdditiveMlpArgs& args, float* memory) {
    const GradientLayout layout = gradient_layout(args);
    w1 = memory;                                        // [d, H1]
    b1 = w1 + args.largest_group * layout.h1;           // [H1]
    w2 = b1 + layout.h1;                                // [H1, H2]
    b2 = w2 + args.hidden_1 * layout.h2;                // [H2]
    w1_turned = b2 + layout.h2;                         // [H1, d]
    w2_turned = w1_turned + args.hidden_1 * layout.d;   // [H2, H1]
    w3_turned = w2_turned + args.hidden_2 * layout.h1;  // [C, H2]
  }
};

void pack(const float* in, std::int64_t in_row, std::int64_t in_column, std::int64_t rows, std::int64_t columns,
          std::int64_t pitch, float* out) {
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < pitch; ++column)
      out[row * pitch + column] = column < columns ? in[row * in_row + column * in_column] : 0.0f;
}

}  // namespace

void additive_mlp_pack(const AdditiveMlpArgs& args, std::int32_t g, float* memory) {
  const GradientLayout layout = gradient_layout(args);
  const PackedWeights to(args, memory);
  const std::int64_t h1 = args.hidden_1;
  const std::int64_t h2 = args.hidden_2;
  const std::int64_t c = args.outputs;
  const std::int64_t first = args.first_input[g];
  const std::int64_t inputs = args.first_input[g + 1] - first;
  const float* w1 = args.w1 + first * h1;
  const float* w2 = args.w2 + g * h1 * h2;
  pack(w1, h1, 1, inputs, h1, layout.h1, to.w1);
  pack(args.b1 + g * h1, 0, 1, 1, h1, layout.h1, to.b1);
  pack(w2, h2, 1, h1, h2, layout.h2, to.w2);
  pack(args.b2 + g * h2, 0, 1, 1, h2, layout.h2, to.b2);
  pack(w1, 1, h1, h1, inputs, layout.d, to.w1_turned);
  pack(w2, 1, h2, h2, h1, layout.h1, to.w2_turned);
  pack(args.w3 + g * h2 * c, 1, c, c, h2, layout.h2, to.w3_turned);
}

namespace {

// One panel's values, a row of the matrix a row of x.
struct Panel {
  float *g, *h1, *h2, *x;

  Panel(const AdditiveMlpArgs& args, float* memory) {
    const GradientLayout layout = gradient_layout(args);
    h1 = memory;
    h2 = h1 + kGradientPanel * layout.h1;
    x = h2 + kGradientPanel * layout.h2;
    g = x + kGradientPanel * layout.d;
  }
};

// The gradient of the group's contributions, [rows, C].
void incoming(const AdditiveMlpChunk& chunk, std::int64_t row, std::int64_t rows, float* out) {
  const std::int64_t c = chunk.args->outputs;
  const float* own = chunk.gradients->contributions;
  const float* all = chunk.gradients->total;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < c; ++i) {
      const std::int64_t in_own = ((row + r) * chunk.args->groups + chunk.group) * c + i;
      const std::int64_t in_all = (row + r) * c + i;
      out[r * c + i] = own == nullptr ? all[in_all] : all == nullptr ? own[in_own] : own[in_own] + all[in_all];
    }
}

void add_rows(const float* in, std::int64_t pitch, std::int64_t rows, std::int64_t columns, float* sums) {
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t i = 0; i < columns; ++i) sums[i] += in[row * pitch + i];
}

void panel_gradients(const AdditiveMlpChunk& chunk, std::int64_t row, std::int64_t rows) {
  const AdditiveMlpArgs& args = *chunk.args;
  const GradientLayout layout = gradient_layout(args);
  const PackedWeights w(args, chunk.packed);
  const GradientSums sums = gradient_sums(args, chunk.sums);
  const Panel panel(args, chunk.memory);
  const std::int64_t h1 = args.hidden_1;
  const std::int64_t h2 = args.hidden_2;
  const std::int64_t c = args.outputs;
  const std::int64_t first = args.first_input[chunk.group];
  const std::int64_t inputs = args.first_input[chunk.group + 1] - first;
  const float* x = args.x + row * args.stride_row + first * args.stride_input;
  const int in_h1 = static_cast<int>(layout.h1 / kLanes);
  const int in_h2 = static_cast<int>(layout.h2 / kLanes);
  incoming(chunk, row, rows, panel.g);
  multiply({x, args.stride_row, args.stride_input, w.w1, layout.h1, panel.h1, layout.h1, rows, inputs, in_h1,
            Start::of_column, w.b1, End::relu});
  multiply({panel.h1, layout.h1, 1, w.w2, layout.h2, panel.h2, layout.h2, rows, h1, in_h2, Start::of_column, w.b2,
            End::relu});
  multiply({panel.g, 1, c, panel.h2, layout.h2, sums.w3_turned, layout.h2, c, rows, in_h2, Start::of_output, nullptr,
            End::as_is});
  add_rows(panel.g, c, rows, c, sums.b3);
  multiply(
      {panel.g, c, 1, w.w3_turned, layout.h2, panel.h2, layout.h2, rows, c, in_h2, Start::zero, nullptr, End::masked});
  multiply({panel.h1, 1, layout.h1, panel.h2, layout.h2, sums.w2, layout.h2, h1, rows, in_h2, Start::of_output, nullptr,
            End::as_is});
  add_rows(panel.h2, layout.h2, rows, h2, sums.b2);
  multiply({panel.h2, layout.h2, 1, w.w2_turned, layout.h1, panel.h1, layout.h1, rows, h2, in_h1, Start::zero, nullptr,
            End::masked});
  multiply({x, args.stride_input, args.stride_row, panel.h1, layout.h1, sums.w1, layout.h1, inputs, rows, in_h1,
            Start::of_output, nullptr, End::as_is});
  add_rows(panel.h1, layout.h1, rows, h1, sums.b1);
  float* out = chunk.gradients->x;
  if (out == nullptr) return;
  multiply({panel.h1, layout.h1, 1, w.w1_turned, layout.d, panel.x, layout.d, rows, h1,
            static_cast<int>(layout.d / kLanes), Start::zero, nullptr, End::as_is});
  const std::int64_t all = args.inputs;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < inputs; ++i) out[(row + r) * all + first + i] = panel.x[r * layout.d + i];
}

}  // namespace

void additive_mlp_chunk(const AdditiveMlpChunk& chunk) {
  const std::int64_t floats = gradient_layout(*chunk.args).sums;
  for (std::int64_t i = 0; i < floats; ++i) chunk.sums[i] = 0.0f;
  for (std::int64_t row = 0; row < chunk.rows; row += kGradientPanel)
    panel_gradients(chunk, chunk.first_row + row,
                    chunk.rows - row < kGradientPanel ? chunk.rows - row : kGradientPanel);
}

}  // namespace iuscore::IUSCORE_ISA
