#include "cpu/additive_mlp_isa.h"

#include <cstdint>

#include "cpu/lanes.h"

namespace iuscore::IUSCORE_ISA {

// A small matrix product, the one inner loop of `additive_mlp`: columns in vector lanes, a block of rows by columns in
// registers, terms in ascending order.

namespace {

enum class Start { zero, of_row, of_column, of_output };
enum class End { as_is, relu, masked };

// out[m][n] = end(start + sum over k of a[m, k] * b[k][n]) for m < rows, n < vectors * kLanes, k < terms.
// b and out have whole vectors of columns; what lies beyond the real ones there is computed and never looked at.
struct Product {
  const float* a;
  std::int64_t a_row, a_term;  // strides of a
  const float* b;
  std::int64_t b_term;
  float* out;
  std::int64_t out_row;
  std::int64_t rows;
  std::int64_t terms;
  int vectors;
  Start start;
  const float* bias;  // of rows or columns, where it starts the sum
  End end;
  // masked: what a ReLU that gave the value in `out` lets through; the result takes that value's place.
};

IUSCORE_HD Lanes started(const Product& p, std::int64_t row, std::int64_t column, const float* out) {
  if (p.start == Start::of_row) return in_all_lanes(p.bias[row]);
  if (p.start == Start::of_column) return load(p.bias + column);
  return p.start == Start::of_output ? load(out) : in_all_lanes(0.0f);
}

// kM rows times kN vectors of columns; kN loads and kM broadcasts serve kM * kN multiplications.
template <int kM, int kN>
void product_block(const Product& p, std::int64_t row, int vector) {
  Lanes sums[kM][kN];
  float* out = p.out + row * p.out_row + vector * kLanes;
  IUSCORE_UNROLLED
  for (int m = 0; m < kM; ++m) {
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n) {
      sums[m][n] = started(p, row + m, (vector + n) * kLanes, out + m * p.out_row + n * kLanes);
    }
  }
  const float* a = p.a + row * p.a_row;
  const float* b = p.b + vector * kLanes;
  const std::int64_t a_row = p.a_row;
  for (std::int64_t k = 0; k < p.terms; ++k) {
    Lanes columns[kN];
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n) columns[n] = load(b + n * kLanes);
    IUSCORE_UNROLLED
    for (int m = 0; m < kM; ++m) {
      const Lanes factor = in_all_lanes(a[m * a_row]);
      IUSCORE_UNROLLED
      for (int n = 0; n < kN; ++n) sums[m][n] = multiply_add(factor, columns[n], sums[m][n]);
    }
    a += p.a_term;
    b += p.b_term;
  }
  IUSCORE_UNROLLED
  for (int m = 0; m < kM; ++m) {
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n) {
      float* at = out + m * p.out_row + n * kLanes;
      if (p.end == End::relu) sums[m][n] = relu(sums[m][n]);
      if (p.end == End::masked) sums[m][n] = gradient_through(load(at), sums[m][n]);
      store(at, sums[m][n]);
    }
  }
}

// All rows of kN vectors of columns, kM at a time while there are so many.
template <int kM, int kN>
void product_columns(const Product& p, std::int64_t row, int vector) {
  for (; row + kM <= p.rows; row += kM) product_block<kM, kN>(p, row, vector);
  if constexpr (kM > 1) {
    if (row < p.rows) product_columns<kM / 2, kN>(p, row, vector);
  }
}

// Blocks that fill the vector registers: 32 (AVX-512) or 16.
constexpr int kWide = kLanes == 16 ? 4 : 3;

[[maybe_unused]] void multiply(const Product& p) {
  int vector = 0;
  for (; vector + kWide <= p.vectors; vector += kWide) product_columns<4, kWide>(p, 0, vector);
  for (; vector + 2 <= p.vectors; vector += 2) product_columns<kLanes == 16 ? 8 : 4, 2>(p, 0, vector);
  for (; vector < p.vectors; ++vector) product_columns<8, 1>(p, 0, vector);
}

constexpr std::int64_t in_whole_lanes(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Backward pass of one group over some rows: hidden layers are computed again, units in lanes, so that sums over rows
// need no value moved from lane to lane.

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

namespace {

// Rows in lanes: every lane has work whatever the sizes of the layers.
constexpr std::int64_t kPanel = kWide * kLanes;

// A tile's memory: x, contributions and total with rows side by side, then the hidden layers of one panel.
struct TileMemory {
  std::int64_t pitch;
  float *x, *contributions, *total, *h1, *h2;

  explicit TileMemory(const AdditiveMlpTile& tile) : pitch(tile_pitch(tile.rows)) {
    const AdditiveMlpArgs& args = *tile.args;
    x = tile.memory;
    contributions = x + args.inputs * pitch;
    total = contributions + std::int64_t{args.groups} * args.outputs * pitch;
    h1 = total + args.outputs * pitch;
    h2 = h1 + args.hidden_1 * kPanel;
  }
};

// in [rows, columns] -> out [rows, columns], each by strides; so many rows at a time as fill lines of the cache.
template <class Change>
void turn(const float* in, std::int64_t in_row, std::int64_t in_column, std::int64_t rows, std::int64_t columns,
          float* out, std::int64_t out_row, std::int64_t out_column, const Change& change) {
  for (std::int64_t first = 0; first < rows; first += kLanesAtMost) {
    const std::int64_t last = first + kLanesAtMost < rows ? first + kLanesAtMost : rows;
    for (std::int64_t column = 0; column < columns; ++column)
      for (std::int64_t row = first; row < last; ++row)
        out[row * out_row + column * out_column] = change(in[row * in_row + column * in_column]);
  }
}

void take_inputs(const AdditiveMlpTile& tile, const TileMemory& memory) {
  const AdditiveMlpArgs& args = *tile.args;
  turn(args.x + tile.first_row * args.stride_row, args.stride_row, args.stride_input, tile.rows, args.inputs, memory.x,
       1, memory.pitch, [](float value) { return value; });
  for (std::int64_t f = 0; f < args.inputs; ++f)
    for (std::int64_t row = tile.rows; row < in_whole_lanes(tile.rows); ++row) memory.x[f * memory.pitch + row] = 0.0f;
}

void give(const AdditiveMlpTile& tile, const TileMemory& memory, const float* columns, std::int64_t count, float* out) {
  turn(columns, 1, memory.pitch, tile.rows, count, out + tile.first_row * count, count, 1,
       [](float value) { return one_nan(value); });
}

void add_up(const AdditiveMlpTile& tile, const TileMemory& memory) {
  const AdditiveMlpArgs& args = *tile.args;
  for (std::int64_t c = 0; c < args.outputs; ++c)
    for (std::int64_t row = 0; row < tile.rows; row += kLanes) {
      Lanes sum = load(memory.contributions + c * memory.pitch + row);
      for (std::int64_t g = 1; g < args.groups; ++g)
        sum = add(sum, load(memory.contributions + (g * args.outputs + c) * memory.pitch + row));
      store(memory.total + c * memory.pitch + row, sum);
    }
}

// One group's network on `vectors` vectors of rows.
void network(const AdditiveMlpArgs& args, const TileMemory& memory, std::int64_t g, std::int64_t row, int vectors) {
  const std::int64_t h1 = args.hidden_1;
  const std::int64_t h2 = args.hidden_2;
  const std::int64_t c = args.outputs;
  const std::int64_t first = args.first_input[g];
  const std::int64_t inputs = args.first_input[g + 1] - first;
  const float* x = memory.x + first * memory.pitch + row;
  float* out = memory.contributions + g * c * memory.pitch + row;
  multiply({args.w1 + first * h1, 1, h1, x, memory.pitch, memory.h1, kPanel, h1, inputs, vectors, Start::of_row,
            args.b1 + g * h1, End::relu});
  multiply({args.w2 + g * h1 * h2, 1, h2, memory.h1, kPanel, memory.h2, kPanel, h2, h1, vectors, Start::of_row,
            args.b2 + g * h2, End::relu});
  multiply({args.w3 + g * h2 * c, 1, c, memory.h2, kPanel, out, memory.pitch, c, h2, vectors, Start::of_row,
            args.b3 + g * c, End::as_is});
}

}  // namespace

void additive_mlp_tile(const AdditiveMlpTile& tile) {
  const AdditiveMlpArgs& args = *tile.args;
  const TileMemory memory(tile);
  take_inputs(tile, memory);
  for (std::int64_t g = 0; g < args.groups; ++g)  // its weights stay in cache from panel to panel
    for (std::int64_t row = 0; row < tile.rows; row += kPanel) {
      const std::int64_t left = in_whole_lanes(tile.rows - row);
      network(args, memory, g, row, static_cast<int>((left < kPanel ? left : kPanel) / kLanes));
    }
  add_up(tile, memory);
  give(tile, memory, memory.contributions, std::int64_t{args.groups} * args.outputs, args.contributions);
  give(tile, memory, memory.total, args.outputs, args.total);
}

}  // namespace iuscore::IUSCORE_ISA
