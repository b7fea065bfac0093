#include "cpu/additive_cnn_isa.h"

#include <cstdint>
#include <cstring>

#include "cpu/lanes.h"
#include "ops/additive_cnn.h"

namespace iuscore::IUSCORE_ISA {

// ---- The matrix product. Vector lanes hold columns; a block of rows and columns stays in registers. Terms are added
// in ascending order.

namespace {

// Factors and sums of a matrix product: floats.
struct Floats {
  using Value = float;
  using Sum = Lanes;
  static constexpr int kTerms = 1;  // of one multiply_add()
  static Sum zero() { return in_all_lanes(0.0f); }
  static Lanes columns(const float* p) { return load(p); }
  static Lanes factor(const float* p) { return in_all_lanes(*p); }
  static Sum multiply_add(Lanes a, Lanes b, Sum sum) { return IUSCORE_ISA::multiply_add(a, b, sum); }
  template <class Product>
  static Lanes value(Sum sum, const Product&, std::int64_t, std::int64_t) {
    return sum;
  }
};

#if defined(__AVX512VNNI__)
// Pairs of neighboring 16-bit integers, whose products are summed in 32 bits. These sums are exact in any order.
struct Int16Pairs {
  using Value = std::int16_t;
  using Sum = __v16si;
  static constexpr int kTerms = 2;
  static Sum zero() { return (Sum)_mm512_setzero_si512(); }
  static __m512i columns(const std::int16_t* p) { return _mm512_loadu_si512(p); }
  static __m512i factor(const std::int16_t* p) {
    std::int32_t pair;
    std::memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
  }
  static Sum multiply_add(__m512i a, __m512i b, Sum sum) { return (Sum)_mm512_dpwssd_epi32((__m512i)sum, a, b); }
  // Bits of |v|, which as integers have the order of the numbers; NaN is the largest.
  static __m512i magnitudes(Lanes v) { return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff)); }
  static __m512i larger_bits(__m512i a, __m512i b) { return _mm512_maskz_max_epu32(0xffff, a, b); }
  static float largest(__m512i v) {
    v = larger_bits(v, _mm512_maskz_shuffle_i32x4(0xffff, v, v, 0x4e));
    v = larger_bits(v, _mm512_maskz_shuffle_i32x4(0xffff, v, v, 0xb1));
    v = larger_bits(v, _mm512_maskz_shuffle_epi32(0xffff, v, _MM_PERM_BADC));
    v = larger_bits(v, _mm512_maskz_shuffle_epi32(0xffff, v, _MM_PERM_CDAB));
    return _mm512_cvtss_f32(_mm512_castsi512_ps(v));
  }
  // To nearest even. (Without masks g++ 12 warns of uninitialized registers.)
  static void store_rounded(std::int16_t* p, Lanes v) {
    const __m256i quantized = _mm512_maskz_cvtepi32_epi16(0xffff, _mm512_maskz_cvtps_epi32(0xffff, v));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), quantized);
  }
  template <class Product>
  static Lanes value(Sum sum, const Product& p, std::int64_t row, std::int64_t column) {
    return multiply(_mm512_maskz_cvtepi32_ps(0xffff, (__m512i)sum),
                    multiply(in_all_lanes(p.row_units[row]), load(p.column_units + column)));
  }
};
#endif

// out[m][n] = sum over k < terms of a[m][k] * panel[k][n]; of integers times row_units[m] * column_units[n].
template <class T>
struct PanelProduct {
  const typename T::Value* a;
  std::int64_t a_row;
  std::int64_t rows;
  const typename T::Value* panel;  // [terms, width]
  std::int64_t width;
  std::int64_t terms;
  float* out;
  std::int64_t out_row;
  const float* row_units;  // null for floats, as the next
  const float* column_units;
  // What is read after this panel. It is prefetched meanwhile: ahead_bytes for each row and multiply_add().
  const char* ahead;
  std::int64_t ahead_bytes;
};

template <class T, int kM, int kN>
void panel_block(const PanelProduct<T>& p, std::int64_t row, std::int64_t column) {
  typename T::Sum sums[kM][kN];
  IUSCORE_UNROLLED
  for (int m = 0; m < kM; ++m) {
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n) sums[m][n] = T::zero();
  }
  const typename T::Value* a = p.a + row * p.a_row;
  const typename T::Value* b = p.panel + column * T::kTerms;
  const std::int64_t a_row = p.a_row;
  const std::int64_t b_step = p.width * T::kTerms;
  const std::int64_t ahead_step = p.ahead_bytes * kM;
  const char* ahead = p.ahead + row * p.ahead_bytes * p.terms / T::kTerms;
  for (std::int64_t k = 0; k < p.terms; k += T::kTerms) {
    decltype(T::columns(b)) columns[kN];
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n) columns[n] = T::columns(b + n * kLanes * T::kTerms);
    IUSCORE_UNROLLED
    for (int m = 0; m < kM; ++m) {
      const auto factor = T::factor(a + m * a_row);
      IUSCORE_UNROLLED
      for (int n = 0; n < kN; ++n) sums[m][n] = T::multiply_add(factor, columns[n], sums[m][n]);
    }
    a += T::kTerms;
    b += b_step;
    __builtin_prefetch(ahead, 0, 2);
    ahead += ahead_step;
  }
  float* out = p.out + row * p.out_row + column;
  IUSCORE_UNROLLED
  for (int m = 0; m < kM; ++m) {
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n)
      store(out + m * p.out_row + n * kLanes, T::value(sums[m][n], p, row + m, column + n * kLanes));
  }
}

template <class T, int kM, int kN>
void panel_rows(const PanelProduct<T>& p, std::int64_t row, std::int64_t column) {
  for (; row + kM <= p.rows; row += kM) panel_block<T, kM, kN>(p, row, column);
  if constexpr (kM > 1) {
    if (row < p.rows) panel_rows<T, kM / 2, kN>(p, row, column);
  }
}

template <class T>
void multiply_panel(const PanelProduct<T>& p) {
  std::int64_t column = 0;
  for (; column + 2 * kLanes <= p.width; column += 2 * kLanes) panel_rows<T, kLanes == 16 ? 8 : 4, 2>(p, 0, column);
  for (; column < p.width; column += kLanes) panel_rows<T, 8, 1>(p, 0, column);
}

// ---- Winograd's algorithm: a 3x3 convolution computes 4x4 outputs with 36 instead of 144 multiplications for each
// pair of channels. Winograd, "Arithmetic Complexity of Computations", 1980; on tiles: Lavin and Gray, CVPR 2016. The
// points are 0, +-3/4, +-3/2 and infinity. On random numbers a layer's rounding errors are then 2 to 3 times those of
// the plain sum; with the usual points 0, +-1, +-2 they are 4 to 5 times. Why points matter: Barabasz et al., ACM TOMS
// 46(4), 2020. The same points pack the kernels: python/iuscore/ops/_native/additive_cnn.py.

constexpr float kA = 0.75f;  // points; they, their powers and products are exact in float
constexpr float kB = 1.5f;
constexpr float kA2 = kA * kA;
constexpr float kB2 = kB * kB;

IUSCORE_HD Lanes times_add(float factor, Lanes v, Lanes sum) { return multiply_add(in_all_lanes(factor), v, sum); }

IUSCORE_HD Lanes times(float factor, Lanes v) { return multiply(in_all_lanes(factor), v); }

// Multiplies six numbers, `step` apart, by Winograd's matrix B transposed.
IUSCORE_HD void transform_patch(const float* d, std::int64_t step, Lanes (&v)[6]) {
  const Lanes d0 = load(d), d1 = load(d + step), d2 = load(d + 2 * step);
  const Lanes d3 = load(d + 3 * step), d4 = load(d + 4 * step), d5 = load(d + 5 * step);
  const Lanes even_a = times_add(-kB2, d2, d4), odd_a = times_add(-kB2, d1, d3);
  const Lanes even_b = times_add(-kA2, d2, d4), odd_b = times_add(-kA2, d1, d3);
  v[0] = times_add(kA2 * kB2, d0, times_add(-(kA2 + kB2), d2, d4));
  v[1] = times_add(kA, odd_a, even_a);
  v[2] = times_add(-kA, odd_a, even_a);
  v[3] = times_add(kB, odd_b, even_b);
  v[4] = times_add(-kB, odd_b, even_b);
  v[5] = times_add(kA2 * kB2, d1, times_add(-(kA2 + kB2), d3, d5));
}

// Multiplies six products, `step` apart, by Winograd's matrix A transposed: four sums.
IUSCORE_HD void transform_products(const float* m, std::int64_t step, Lanes (&y)[4]) {
  const Lanes m1 = load(m + step), m2 = load(m + 2 * step), m3 = load(m + 3 * step), m4 = load(m + 4 * step);
  const Lanes even_a = add(m1, m2), odd_a = times(kA, subtract(m1, m2));
  const Lanes even_b = add(m3, m4), odd_b = times(kB, subtract(m3, m4));
  y[0] = add(load(m), add(even_a, even_b));
  y[1] = add(odd_a, odd_b);
  y[2] = times_add(kA2, even_a, times(kB2, even_b));
  y[3] = times_add(kA2, odd_a, times_add(kB2, odd_b, load(m + 5 * step)));
}

[[maybe_unused]] constexpr float kMinPatch = 1e-30f;  // the inverse of a smaller number could be infinite

IUSCORE_HD std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// Transforms kLanes channels of a 6x6 patch. in: its first pixel. out: the first of its 36 numbers, `step` apart.
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

// in: the first of 36 sums, `step` apart. y: 4x4 outputs of kLanes channels, before bias and ReLU.
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

// Where a tile's first output goes, and how many of its rows and columns are inside the plane.
struct Place {
  float* out;
  std::int64_t rows;
  std::int64_t columns;
};

void write_tile(const CnnTiles& t, const Lanes (&y)[kCnnTile][kCnnTile], std::int64_t c, const Place& place) {
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
      const Lanes value = relu(add(larger(upper, lower), bias));  // pooling first: bias and ReLU are monotonic
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

// Transforms all channels of a tile into its 36 numbers, `step` apart.
void transform_tile(const CnnTiles& t, std::int64_t tile, float* out, std::int64_t step) {
  const std::int64_t row = tile / in_tiles(t.width) * kCnnTile;
  const std::int64_t column = tile % in_tiles(t.width) * kCnnTile;
  const float* corner = t.in.pixel + (row - 1) * t.in.row + (column - 1) * t.in.channels;
  for (std::int64_t c = 0; c < t.in.channels; c += kLanes)
    transform_in(corner + c, t.in.row, t.in.channels, out + c, step);
}

void load_tile(const CnnTiles& t, std::int64_t i, float* patches, std::int64_t step) {
  transform_tile(t, t.first_tile + i, patches + i * t.in.channels, step);
}

#if defined(__AVX512VNNI__)
// The largest |value|; NaN if one of them is NaN.
IUSCORE_HD float largest_magnitude(const float* values, std::int64_t n) {
  __m512i most = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < n; i += kLanes)
    most = Int16Pairs::larger_bits(most, Int16Pairs::magnitudes(load(values + i)));
  return Int16Pairs::largest(most);
}

// Rounds a tile's numbers to integers of magnitude kCnnMaxPatch at most. All channels share one unit at each of the 36
// points.
void load_tile(const CnnTiles& t, std::int64_t i, std::int16_t* patches, std::int64_t step) {
  const std::int64_t channels = t.in.channels;
  const std::int64_t raw_step = cnn_point_step(1, channels);
  transform_tile(t, t.first_tile + i, t.raw, raw_step);
  float scales[kCnnPoints];
  for (std::int64_t point = 0; point < kCnnPoints; ++point)
    scales[point] = largest_magnitude(t.raw + point * raw_step, channels);
  for (std::int64_t point = 0; point < kCnnPoints; ++point) {
    const float largest = scales[point];
    const bool counts = !(largest <= kMinPatch);  // true for NaN too: its unit then makes every sum NaN
    scales[point] = counts ? static_cast<float>(kCnnMaxPatch) / largest : 0.0f;
    t.units[point * t.tiles + i] = counts ? largest / static_cast<float>(kCnnMaxPatch) : 0.0f;
  }
  for (std::int64_t point = 0; point < kCnnPoints; ++point) {
    const Lanes scale = in_all_lanes(scales[point]);
    const float* raw = t.raw + point * raw_step;
    std::int16_t* out = patches + point * step + i * channels;
    for (std::int64_t c = 0; c < channels; c += kLanes)
      Int16Pairs::store_rounded(out + c, multiply(load(raw + c), scale));
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
  for (std::int64_t i = 0; i < t.tiles; ++i) load_tile(t, i, patches, in_step);
  for (std::int64_t point = 0; point < kCnnPoints; ++point)
    for (std::int64_t column = 0; column < out; column += kCnnPanel) {
      const std::int64_t width = smaller(kCnnPanel, out - column);
      const auto* panel = kernels + (point * out + column) * terms;
      const float* const row_units = convolution.quantized ? t.units + point * t.tiles : nullptr;
      const float* const column_units =
          convolution.quantized ? convolution.unit + (t.group * kCnnPoints + point) * out + column : nullptr;
      const std::int64_t bytes = width * T::kTerms * std::int64_t{sizeof *panel};  // read by one multiply_add()
      multiply_panel<T>({patches + point * in_step, in, t.tiles, panel, width, terms,
                         t.products + point * out_step + column, out, row_units, column_units,
                         reinterpret_cast<const char*>(panel + terms * width), bytes / t.tiles});
    }
  for (std::int64_t i = 0; i < t.tiles; ++i) {
    const Place place = place_of(t, t.first_tile + i);
    for (std::int64_t c = 0; c < out; c += kLanes) {
      Lanes y[kCnnTile][kCnnTile];
      transform_out(t.products + i * out + c, out_step, y);
      write_tile(t, y, c, place);
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
  if (t.convolution->quantized) return convolve_tiles<Int16Pairs>(t);
#endif
  convolve_tiles<Floats>(t);
}

// Terms are summed in chunks, then the sums of the chunks are added: that rounds less than one sum of many thousands.
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
        multiply_panel<Floats>({t.values + row * t.values_row + k, t.values_row, rows,
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
