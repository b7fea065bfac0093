#include "cpu/additive_mlp_isa.h"

#include <cstdint>

#include "cpu/lanes.h"

namespace iuscore::IUSCORE_ISA {

// ---- The matrix product. Vector lanes hold columns; a block of rows and columns stays in registers. Terms are added
// in ascending order.

namespace {

enum class Start { zero, of_row, of_column, of_output };
enum class End { identity, relu, relu_gradient };

// out[m][n] = end(start + sum over k of a[m, k] * b[k][n]) for m < rows, n < vectors * kLanes, k < terms.
// b and out have whole vectors of columns; the columns that fill up the last vector are computed and not read.
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
  const float* bias;  // of rows or columns: the start of the sums
  // relu_gradient: `out` holds outputs of a ReLU; the sum, or 0 where the output is 0, replaces them.
  End end;
};

IUSCORE_HD Lanes started(const Product& p, std::int64_t row, std::int64_t column, const float* out) {
  if (p.start == Start::of_row) return in_all_lanes(p.bias[row]);
  if (p.start == Start::of_column) return load(p.bias + column);
  return p.start == Start::of_output ? load(out) : in_all_lanes(0.0f);
}

// kM rows times kN vectors of columns: kN loads and kM broadcasts for kM * kN multiplications.
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
      if (p.end == End::relu_gradient) sums[m][n] = relu_gradient(load(at), sums[m][n]);
      store(at, sums[m][n]);
    }
  }
}

// All rows of kN vectors of columns: kM rows at a time, then half as many.
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

// ---- The backward pass of one group over some rows. It computes the hidden layers again, with units in the lanes:
// then sums over rows move no value from lane to lane.

// A group's weights and their transposes, columns filled up with zeros to whole vectors.
struct PackedWeights {
  float *w1, *b1, *w2, *b2, *w1_transposed, *w2_transposed, *w3_transposed;

  PackedWeights(const AdditiveMlpArgs& args, float* scratch) {
    const GradientLayout layout = gradient_layout(args);
    w1 = scratch;                                               // [d, H1]
    b1 = w1 + args.largest_group * layout.h1;                   // [H1]
    w2 = b1 + layout.h1;                                        // [H1, H2]
    b2 = w2 + args.hidden_1 * layout.h2;                        // [H2]
    w1_transposed = b2 + layout.h2;                             // [H1, d]
    w2_transposed = w1_transposed + args.hidden_1 * layout.d;   // [H2, H1]
    w3_transposed = w2_transposed + args.hidden_2 * layout.h1;  // [C, H2]
  }
};

void pack(const float* in, std::int64_t in_row, std::int64_t in_column, std::int64_t rows, std::int64_t columns,
          std::int64_t pitch, float* out) {
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < pitch; ++column)
      out[row * pitch + column] = column < columns ? in[row * in_row + column * in_column] : 0.0f;
}

}  // namespace

void additive_mlp_pack(const AdditiveMlpArgs& args, std::int32_t g, float* scratch) {
  const GradientLayout layout = gradient_layout(args);
  const PackedWeights to(args, scratch);
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
  pack(w1, 1, h1, h1, inputs, layout.d, to.w1_transposed);
  pack(w2, 1, h2, h2, h1, layout.h1, to.w2_transposed);
  pack(args.w3 + g * h2 * c, 1, c, c, h2, layout.h2, to.w3_transposed);
}

namespace {

// Values of one panel; row i of each matrix belongs to row i of x.
struct Panel {
  float *g, *h1, *h2, *x;

  Panel(const AdditiveMlpArgs& args, float* scratch) {
    const GradientLayout layout = gradient_layout(args);
    h1 = scratch;
    h2 = h1 + kGradientPanel * layout.h1;
    x = h2 + kGradientPanel * layout.h2;
    g = x + kGradientPanel * layout.d;
  }
};

// Writes the gradient of the group's contributions, [rows, C].
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
  const Panel panel(args, chunk.scratch);
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
  multiply({panel.g, 1, c, panel.h2, layout.h2, sums.w3_transposed, layout.h2, c, rows, in_h2, Start::of_output,
            nullptr, End::identity});
  add_rows(panel.g, c, rows, c, sums.b3);
  multiply({panel.g, c, 1, w.w3_transposed, layout.h2, panel.h2, layout.h2, rows, c, in_h2, Start::zero, nullptr,
            End::relu_gradient});
  multiply({panel.h1, 1, layout.h1, panel.h2, layout.h2, sums.w2, layout.h2, h1, rows, in_h2, Start::of_output, nullptr,
            End::identity});
  add_rows(panel.h2, layout.h2, rows, h2, sums.b2);
  multiply({panel.h2, layout.h2, 1, w.w2_transposed, layout.h1, panel.h1, layout.h1, rows, h2, in_h1, Start::zero,
            nullptr, End::relu_gradient});
  multiply({x, args.stride_input, args.stride_row, panel.h1, layout.h1, sums.w1, layout.h1, inputs, rows, in_h1,
            Start::of_output, nullptr, End::identity});
  add_rows(panel.h1, layout.h1, rows, h1, sums.b1);
  float* out = chunk.gradients->x;
  if (out == nullptr) return;
  multiply({panel.h1, layout.h1, 1, w.w1_transposed, layout.d, panel.x, layout.d, rows, h1,
            static_cast<int>(layout.d / kLanes), Start::zero, nullptr, End::identity});
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

// ---- The forward pass. Vector lanes hold rows, so that all lanes have work whatever the sizes of the layers.
constexpr std::int64_t kPanel = kWide * kLanes;

// A tile's scratch: columns of x, contributions and total, `pitch` apart, then the hidden layers of one panel.
struct TileScratch {
  std::int64_t pitch;
  float *x, *contributions, *total, *h1, *h2;

  explicit TileScratch(const AdditiveMlpTile& tile) : pitch(tile_pitch(tile.rows)) {
    const AdditiveMlpArgs& args = *tile.args;
    x = tile.scratch;
    contributions = x + args.inputs * pitch;
    total = contributions + std::int64_t{args.groups} * args.outputs * pitch;
    h1 = total + args.outputs * pitch;
    h2 = h1 + args.hidden_1 * kPanel;
  }
};

// Copies in [rows, columns] to out [rows, columns], both with strides, as many rows at a time as fill cache lines.
template <class Change>
void copy_strided(const float* in, std::int64_t in_row, std::int64_t in_column, std::int64_t rows, std::int64_t columns,
                  float* out, std::int64_t out_row, std::int64_t out_column, const Change& change) {
  for (std::int64_t first = 0; first < rows; first += kMaxLanes) {
    const std::int64_t last = first + kMaxLanes < rows ? first + kMaxLanes : rows;
    for (std::int64_t column = 0; column < columns; ++column)
      for (std::int64_t row = first; row < last; ++row)
        out[row * out_row + column * out_column] = change(in[row * in_row + column * in_column]);
  }
}

void load_inputs(const AdditiveMlpTile& tile, const TileScratch& scratch) {
  const AdditiveMlpArgs& args = *tile.args;
  copy_strided(args.x + tile.first_row * args.stride_row, args.stride_row, args.stride_input, tile.rows, args.inputs,
               scratch.x, 1, scratch.pitch, [](float value) { return value; });
  for (std::int64_t f = 0; f < args.inputs; ++f)
    for (std::int64_t row = tile.rows; row < in_whole_lanes(tile.rows); ++row)
      scratch.x[f * scratch.pitch + row] = 0.0f;
}

void write_columns(const AdditiveMlpTile& tile, const TileScratch& scratch, const float* columns, std::int64_t count,
                   float* out) {
  copy_strided(columns, 1, scratch.pitch, tile.rows, count, out + tile.first_row * count, count, 1,
               [](float value) { return canonical_nan(value); });
}

void add_up(const AdditiveMlpTile& tile, const TileScratch& scratch) {
  const AdditiveMlpArgs& args = *tile.args;
  for (std::int64_t c = 0; c < args.outputs; ++c)
    for (std::int64_t row = 0; row < tile.rows; row += kLanes) {
      Lanes sum = load(scratch.contributions + c * scratch.pitch + row);
      for (std::int64_t g = 1; g < args.groups; ++g)
        sum = add(sum, load(scratch.contributions + (g * args.outputs + c) * scratch.pitch + row));
      store(scratch.total + c * scratch.pitch + row, sum);
    }
}

// One group's network, on `vectors` vectors of rows.
void network(const AdditiveMlpArgs& args, const TileScratch& scratch, std::int64_t g, std::int64_t row, int vectors) {
  const std::int64_t h1 = args.hidden_1;
  const std::int64_t h2 = args.hidden_2;
  const std::int64_t c = args.outputs;
  const std::int64_t first = args.first_input[g];
  const std::int64_t inputs = args.first_input[g + 1] - first;
  const float* x = scratch.x + first * scratch.pitch + row;
  float* out = scratch.contributions + g * c * scratch.pitch + row;
  multiply({args.w1 + first * h1, 1, h1, x, scratch.pitch, scratch.h1, kPanel, h1, inputs, vectors, Start::of_row,
            args.b1 + g * h1, End::relu});
  multiply({args.w2 + g * h1 * h2, 1, h2, scratch.h1, kPanel, scratch.h2, kPanel, h2, h1, vectors, Start::of_row,
            args.b2 + g * h2, End::relu});
  multiply({args.w3 + g * h2 * c, 1, c, scratch.h2, kPanel, out, scratch.pitch, c, h2, vectors, Start::of_row,
            args.b3 + g * c, End::identity});
}

}  // namespace

void additive_mlp_tile(const AdditiveMlpTile& tile) {
  const AdditiveMlpArgs& args = *tile.args;
  const TileScratch scratch(tile);
  load_inputs(tile, scratch);
  for (std::int64_t g = 0; g < args.groups; ++g)  // group by group: its weights stay in cache
    for (std::int64_t row = 0; row < tile.rows; row += kPanel) {
      const std::int64_t left = in_whole_lanes(tile.rows - row);
      network(args, scratch, g, row, static_cast<int>((left < kPanel ? left : kPanel) / kLanes));
    }
  add_up(tile, scratch);
  write_columns(tile, scratch, scratch.contributions, std::int64_t{args.groups} * args.outputs, args.contributions);
  write_columns(tile, scratch, scratch.total, args.outputs, args.total);
}

}  // namespace iuscore::IUSCORE_ISA
