#include "cpu/additive_mlp_isa.h"

#include "cpu/additive_mlp_backward.h"
#include "cpu/additive_mlp_product.h"

namespace iuscore::IUSCORE_ISA {
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
