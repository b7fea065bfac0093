#include "cpu/additive_cnn_isa.h"

#include "cpu/additive_cnn_product.h"
#include "cpu/additive_cnn_winograd.h"

namespace iuscore::IUSCORE_ISA {
namespace {

[[maybe_unused]] constexpr float kLeastPatch = 1e-30f;  // below, its inverse could be infinite

IUSCORE_HD std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// in: the first pixel of a patch of 6x6; out: the first of its 36 numbers. kLanes channels.
void transform_in(const float* in, std::int64_t row, std::int64_t column, float* out, std::int64_t step) {
  float between[kCnnPatch][kCnnPatch][kLanes];
  for (int j = 0; j < kCnnPatch; ++j) {
    Lanes v[kCnnPatch];
    transform_patch(in + j * column, row, v);
    IUSCORE_UNROLLED
    for (int i = 0; i < kCnnPatch; ++i) store(between[i][j], v[i]);
  }
  for (int i = 0; i < kCnnPatch; ++i) {
    Lanes v[kCnnPatch];
    transform_patch(between[i][0], kLanes, v);
    IUSCORE_UNROLLED
    for (int j = 0; j < kCnnPatch; ++j) store(out + (i * kCnnPatch + j) * step, v[j]);
  }
}

// in: the first of 36 sums; y: 4x4 values of kLanes channels, before bias and ReLU.
IUSCORE_HD void transform_out(const float* in, std::int64_t step, Lanes (&y)[kCnnTile][kCnnTile]) {
  float between[kCnnTile][kCnnPatch][kLanes];
  for (int j = 0; j < kCnnPatch; ++j) {
    Lanes column[kCnnTile];
    transform_products(in + j * step, kCnnPatch * step, column);
    IUSCORE_UNROLLED
    for (int i = 0; i < kCnnTile; ++i) store(between[i][j], column[i]);
  }
  IUSCORE_UNROLLED
  for (int i = 0; i < kCnnTile; ++i) transform_products(between[i][0], kLanes, y[i]);
}

// What is left of a tile inside the plane, and where its first channel goes.
struct Place {
  float* out;
  std::int64_t rows;
  std::int64_t columns;
};

void give(const CnnTiles& t, const Lanes (&y)[kCnnTile][kCnnTile], std::int64_t c, const Place& place) {
  const CnnConvolution& convolution = *t.convolution;
  const std::int64_t at = t.group * in_cnn_vectors(convolution.out) + c;
  const Lanes bias = load(convolution.bias + at);
  if (!convolution.pooled) {
    IUSCORE_UNROLLED
    for (int i = 0; i < kCnnTile; ++i) {
      IUSCORE_UNROLLED
      for (int j = 0; j < kCnnTile; ++j)
        if (i < place.rows && j < place.columns)
          store(place.out + i * t.out.row + j * t.out.channels + c, relu(add(y[i][j], bias)));
    }
    return;
  }
  const Lanes scale = load(convolution.scale + at);
  const Lanes shift = load(convolution.shift + at);
  IUSCORE_UNROLLED
  for (int i = 0; i < kCnnTile / 2; ++i) {
    IUSCORE_UNROLLED
    for (int j = 0; j < kCnnTile / 2; ++j) {
      if (i >= place.rows || j >= place.columns) continue;
      const Lanes upper = larger(y[2 * i][2 * j], y[2 * i][2 * j + 1]);
      const Lanes lower = larger(y[2 * i + 1][2 * j], y[2 * i + 1][2 * j + 1]);
      const Lanes value = relu(add(larger(upper, lower), bias));  // adding one bias keeps the order
      store(place.out + i * t.out.row + j * t.out.channels + c, multiply_add(value, scale, shift));
    }
  }
}

Place place_of(const CnnTiles& t, std::int64_t tile) {
  const std::int64_t side = t.convolution->pooled ? kCnnTile / 2 : kCnnTile;
  const std::int64_t height = t.convolution->pooled ? t.height / 2 : t.height;
  const std::int64_t width = t.convolution->pooled ? t.width / 2 : t.width;
  const std::int64_t row = tile / in_tiles(t.width) * side;
  const std::int64_t column = tile % in_tiles(t.width) * side;
  return {t.out.pixel + row * t.out.row + column * t.out.channels, smaller(side, height - row),
          smaller(side, width - column)};
}

// All channels of a tile's 36 numbers, `step` apart.
void transform_tile(const CnnTiles& t, std::int64_t tile, float* out, std::int64_t step) {
  const std::int64_t row = tile / in_tiles(t.width) * kCnnTile;
  const std::int64_t column = tile % in_tiles(t.width) * kCnnTile;
  const float* corner = t.in.pixel + (row - 1) * t.in.row + (column - 1) * t.in.channels;
  for (std::int64_t c = 0; c < t.in.channels; c += kLanes)
    transform_in(corner + c, t.in.row, t.in.channels, out + c, step);
}

void take_tile(const CnnTiles& t, std::int64_t i, float* patches, std::int64_t step) {
  transform_tile(t, t.first_tile + i, patches + i * t.in.channels, step);
}

#if defined(__AVX512VNNI__)
// Of some numbers; NaN where one of them is.
IUSCORE_HD float largest_magnitude(const float* values, std::int64_t n) {
  __m512i most = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < n; i += kLanes) most = Narrow::larger_bits(most, Narrow::magnitudes(load(values + i)));
  return Narrow::largest(most);
}

// Integers of at most kCnnNarrow; for each of the tile's 36 numbers all channels have one unit.
void take_tile(const CnnTiles& t, std::int64_t i, std::int16_t* patches, std::int64_t step) {
  const std::int64_t channels = t.in.channels;
  const std::int64_t raw_step = cnn_point_step(1, channels);
  transform_tile(t, t.first_tile + i, t.raw, raw_step);
  float scales[kCnnPoints];
  for (std::int64_t point = 0; point < kCnnPoints; ++point)
    scales[point] = largest_magnitude(t.raw + point * raw_step, channels);
  for (std::int64_t point = 0; point < kCnnPoints; ++point) {
    const float largest = scales[point];
    const bool counts = !(largest <= kLeastPatch);  // what is not finite does: its unit makes every sum NaN
    scales[point] = counts ? static_cast<float>(kCnnNarrow) / largest : 0.0f;
    t.units[point * t.tiles + i] = counts ? largest / static_cast<float>(kCnnNarrow) : 0.0f;
  }
  for (std::int64_t point = 0; point < kCnnPoints; ++point) {
    const Lanes scale = in_all_lanes(scales[point]);
    const float* raw = t.raw + point * raw_step;
    std::int16_t* out = patches + point * step + i * channels;
    for (std::int64_t c = 0; c < channels; c += kLanes) Narrow::store_rounded(out + c, multiply(load(raw + c), scale));
  }
}
#endif

template <class T>
void convolve_tiles(const CnnTiles& t) {
  const CnnConvolution& convolution = *t.convolution;
  const std::int64_t in = in_cnn_vectors(convolution.in);
  const std::int64_t out = in_cnn_vectors(convolution.out);
  const std::int64_t terms = in_pairs(convolution.in);
  const std::int64_t in_step = cnn_point_step(t.tiles, in);
  const std::int64_t out_step = cnn_point_step(t.tiles, out);
  auto* const patches = static_cast<typename T::Value*>(t.patches);
  const auto* kernels = static_cast<const typename T::Value*>(convolution.kernels) + t.group * convolution.step;
  for (std::int64_t i = 0; i < t.tiles; ++i) take_tile(t, i, patches, in_step);
  for (std::int64_t point = 0; point < kCnnPoints; ++point)
    for (std::int64_t column = 0; column < out; column += kCnnPanel) {
      const std::int64_t width = smaller(kCnnPanel, out - column);
      const auto* panel = kernels + (point * out + column) * terms;
      const float* const row_units = convolution.narrow ? t.units + point * t.tiles : nullptr;
      const float* const column_units =
          convolution.narrow ? convolution.unit + (t.group * kCnnPoints + point) * out + column : nullptr;
      const std::int64_t bytes = width * T::kTerms * std::int64_t{sizeof *panel};  // a multiplication reads of a panel
      multiply_panel<T>({patches + point * in_step, in, t.tiles, panel, width, terms,
                         t.products + point * out_step + column, out, row_units, column_units,
                         reinterpret_cast<const char*>(panel + terms * width), bytes / t.tiles});
    }
  for (std::int64_t i = 0; i < t.tiles; ++i) {
    const Place place = place_of(t, t.first_tile + i);
    for (std::int64_t c = 0; c < out; c += kLanes) {
      Lanes y[kCnnTile][kCnnTile];
      transform_out(t.products + i * out + c, out_step, y);
      give(t, y, c, place);
    }
  }
}

}  // namespace

void additive_cnn_first(const CnnFirst& t) {
  for (std::int64_t y = t.first_row; y < t.first_row + t.rows; ++y)
    for (std::int64_t c = 0; c < t.out.channels; c += kLanes) {
      Lanes kernel[9];
      for (int k = 0; k < 9; ++k) kernel[k] = load(t.kernels + k * t.out.channels + c);
      const Lanes bias = load(t.bias + c);
      const float* in = t.map + y * t.map_row;
      float* out = t.out.pixel + y * t.out.row + c;
      for (std::int64_t x = 0; x < t.width; ++x, ++in, out += t.out.channels) {
        Lanes sum = bias;
        IUSCORE_UNROLLED
        for (int k = 0; k < 9; ++k) sum = multiply_add(in_all_lanes(in[k / 3 * t.map_row + k % 3]), kernel[k], sum);
        store(out, relu(sum));
      }
    }
}

void additive_cnn_tiles(const CnnTiles& t) {
#if defined(__AVX512VNNI__)
  if (t.convolution->narrow) return convolve_tiles<Narrow>(t);
#endif
  convolve_tiles<Single>(t);
}

// Terms are summed in chunks, and the chunks' sums added up: fewer roundings than in one sum of many thousands.
void additive_cnn_rows(const CnnRows& t) {
  constexpr std::int64_t kChunk = 256;
  constexpr std::int64_t kRows = 8;
  const CnnLinear& linear = *t.linear;
  const std::int64_t units = in_cnn_vectors(linear.out);
  const float* weights = linear.weights + t.group * linear.in * units;
  const float* bias = linear.bias + t.group * units;
  for (std::int64_t row = 0; row < t.rows; row += kRows) {
    const std::int64_t rows = smaller(kRows, t.rows - row);
    for (std::int64_t column = 0; column < units; column += kCnnPanel) {
      const std::int64_t width = smaller(kCnnPanel, units - column);
      float* out = t.out + row * t.out_row + column;
      for (std::int64_t m = 0; m < rows; ++m)
        for (std::int64_t n = 0; n < width; n += kLanes) store(out + m * t.out_row + n, load(bias + column + n));
      for (std::int64_t k = 0; k < linear.in; k += kChunk) {
        float sums[kRows * kCnnPanel];
        multiply_panel<Single>({t.values + row * t.values_row + k, t.values_row, rows,
                                weights + column * linear.in + k * width, width, smaller(kChunk, linear.in - k), sums,
                                kCnnPanel, nullptr, nullptr, nullptr, 0});
        for (std::int64_t m = 0; m < rows; ++m)
          for (std::int64_t n = 0; n < width; n += kLanes) {
            float* to = out + m * t.out_row + n;
            store(to, add(load(to), load(sums + m * kCnnPanel + n)));
          }
      }
      if (!t.relu) continue;
      for (std::int64_t m = 0; m < rows; ++m)
        for (std::int64_t n = 0; n < width; n += kLanes)
          store(out + m * t.out_row + n, relu(load(out + m * t.out_row + n)));
    }
  }
}

}  // namespace iuscore::IUSCORE_ISA
