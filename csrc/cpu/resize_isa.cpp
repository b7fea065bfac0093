#include "cpu/resize_isa.h"

#include <cstring>

#include "core/resize.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace iuscore::IUSCORE_ISA {
namespace {

#if defined(__AVX2__)

constexpr std::int32_t kPixelTaps = 4;  // color pixels at a time: 12 bytes of one load
constexpr std::int32_t kGrayTaps = 8;

// Weight j of output o; 0 beyond the last tap or output.
std::int16_t weight_of(const ResizeTaps& taps, std::int32_t o, std::int32_t j) {
  return o < taps.out && j < taps.taps ? taps.weights[std::int64_t{o} * taps.taps + j] : std::int16_t{0};
}

// [pairs of outputs][fours of taps][first, second two of the four][output][4 channels][tap]
void repeat_color_weights(const ResizeTaps& taps, std::int16_t* to) {
  for (std::int32_t o = 0; o < taps.out; o += 2)
    for (std::int32_t j = 0; j < taps.taps; j += kPixelTaps)
      for (std::int32_t half = 0; half < 2; ++half)
        for (std::int32_t k = 0; k < 16; ++k) *to++ = weight_of(taps, o + k / 8, j + 2 * half + k % 2);
}

// [outputs][eights of taps][tap]
void repeat_gray_weights(const ResizeTaps& taps, std::int16_t* to) {
  const std::int32_t rounded = (taps.out + 3) / 4 * 4;
  for (std::int32_t o = 0; o < rounded; ++o)
    for (std::int32_t j = 0; j < taps.taps; j += kGrayTaps)
      for (std::int32_t k = 0; k < kGrayTaps; ++k) *to++ = weight_of(taps, o, j + k);
}

inline __attribute__((always_inline)) __m128i load_bytes(const std::uint8_t* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

// Two outputs at a time, one in each half of a register. Red, green and blue of two neighboring pixels become three
// pairs of words. kFours: the number of groups of four taps if it is known, else 0.
template <std::int32_t kFours>
void color_columns_of(const ResizeTaps& taps, const std::uint8_t* row, const std::uint8_t* weights, std::uint8_t* out) {
  const __m256i first_two =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
  const __m256i second_two =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
  const __m256i half = _mm256_set1_epi32(resize_half(taps.shift));
  const __m128i shift = _mm_cvtsi32_si128(taps.shift);
  // Copies: to the compiler, `out` could alias `taps`.
  const std::int32_t* const start = taps.start;
  const std::int32_t fours = kFours > 0 ? kFours : (taps.taps + kPixelTaps - 1) / kPixelTaps;
  const std::int32_t last = taps.out - 1;
  const auto* weight = reinterpret_cast<const __m256i*>(weights);
  for (std::int32_t o = 0; o <= last; o += 2, weight += 2 * fours) {
    const std::int32_t next = o < last ? o + 1 : o;
    const std::uint8_t* left = row + 3 * std::int64_t{start[o]};
    const std::uint8_t* right = row + 3 * std::int64_t{start[next]};
    __m256i sum = half;
    for (std::int32_t j = 0; j < fours; ++j) {
      const __m256i pixels =
          _mm256_inserti128_si256(_mm256_castsi128_si256(load_bytes(left + 12 * j)), load_bytes(right + 12 * j), 1);
      const __m256i one = _mm256_madd_epi16(_mm256_shuffle_epi8(pixels, first_two), _mm256_loadu_si256(weight + 2 * j));
      const __m256i two =
          _mm256_madd_epi16(_mm256_shuffle_epi8(pixels, second_two), _mm256_loadu_si256(weight + 2 * j + 1));
      sum = _mm256_add_epi32(sum, _mm256_add_epi32(one, two));
    }
    const __m256i values = _mm256_sra_epi32(sum, shift);
    const __m256i words = _mm256_packs_epi32(values, values);
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const std::int32_t low = _mm256_extract_epi32(bytes, 0);
    const std::int32_t high = _mm256_extract_epi32(bytes, 4);
    std::memcpy(out + 3 * std::int64_t{o}, &low, 4);  // the fourth byte is the next pixel's, or slack
    std::memcpy(out + 3 * std::int64_t{next}, next > o ? &high : &low, 4);
  }
}

void color_columns(const ResizeTaps& taps, const std::uint8_t* row, const std::uint8_t* weights, std::uint8_t* out) {
  switch ((taps.taps + kPixelTaps - 1) / kPixelTaps) {
    case 1:
      return color_columns_of<1>(taps, row, weights, out);
    case 2:
      return color_columns_of<2>(taps, row, weights, out);
    case 3:
      return color_columns_of<3>(taps, row, weights, out);
    default:
      return color_columns_of<0>(taps, row, weights, out);
  }
}

void gray_columns(const ResizeTaps& taps, const std::uint8_t* row, const std::uint8_t* weights, std::uint8_t* out) {
  const __m128i half = _mm_set1_epi32(resize_half(taps.shift));
  const __m128i shift = _mm_cvtsi32_si128(taps.shift);
  const auto* weight = reinterpret_cast<const __m128i*>(weights);
  for (std::int32_t o = 0; o < taps.out; o += 4) {
    __m128i sums[4];
    for (std::int32_t k = 0; k < 4; ++k) {
      const std::uint8_t* from = row + taps.start[o + k < taps.out ? o + k : taps.out - 1];
      sums[k] = _mm_setzero_si128();
      for (std::int32_t j = 0; j < taps.taps; j += kGrayTaps, from += kGrayTaps, ++weight) {
        const __m128i pixels = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
        sums[k] = _mm_add_epi32(sums[k], _mm_madd_epi16(pixels, _mm_loadu_si128(weight)));
      }
    }
    const __m128i four = _mm_hadd_epi32(_mm_hadd_epi32(sums[0], sums[1]), _mm_hadd_epi32(sums[2], sums[3]));
    const __m128i values = _mm_sra_epi32(_mm_add_epi32(four, half), shift);
    const __m128i words = _mm_packs_epi32(values, values);
    const std::int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    std::memcpy(out + o, &bytes, 4);
  }
}

using RowList = const std::uint8_t* const*;

// Sums rows with weights: n bytes, rounded up to 32.
void sum_rows(const std::int16_t* weights, std::int32_t taps, std::int32_t shift, std::int64_t n, RowList rows,
              std::uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i half = _mm256_set1_epi32(resize_half(shift));
  const __m128i places = _mm_cvtsi32_si128(shift);
  for (std::int64_t x = 0; x < n; x += 32) {
    __m256i sums[4] = {half, half, half, half};
    for (std::int32_t j = 0; j < taps; j += 2) {
      const bool pair = j + 1 < taps;
      const auto a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[j] + x));
      const auto b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[pair ? j + 1 : j] + x));
      const auto low = static_cast<std::uint16_t>(weights[j]);
      const auto high = static_cast<std::uint16_t>(pair ? weights[j + 1] : 0);
      const __m256i weight = _mm256_set1_epi32(static_cast<std::int32_t>(std::uint32_t{high} << 16 | low));
      const __m256i front = _mm256_unpacklo_epi8(a, b);
      const __m256i back = _mm256_unpackhi_epi8(a, b);
      const __m256i words[4] = {_mm256_unpacklo_epi8(front, zero), _mm256_unpackhi_epi8(front, zero),
                                _mm256_unpacklo_epi8(back, zero), _mm256_unpackhi_epi8(back, zero)};
      for (int k = 0; k < 4; ++k) sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(words[k], weight));
    }
    for (__m256i& sum : sums) sum = _mm256_sra_epi32(sum, places);
    const __m256i bytes =
        _mm256_packus_epi16(_mm256_packs_epi32(sums[0], sums[1]), _mm256_packs_epi32(sums[2], sums[3]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + x), bytes);
  }
}

#else

void repeat_color_weights(const ResizeTaps&, std::int16_t*) {}
void repeat_gray_weights(const ResizeTaps&, std::int16_t*) {}

template <int kChannels>
void columns_of(const ResizeTaps& taps, const std::uint8_t* row, std::uint8_t* out) {
  for (std::int32_t o = 0; o < taps.out; ++o) {
    const std::uint8_t* from = row + kChannels * std::int64_t{taps.start[o]};
    const std::int16_t* weights = taps.weights + std::int64_t{o} * taps.taps;
    for (int c = 0; c < kChannels; ++c) {
      std::int32_t sum = resize_half(taps.shift);
      for (std::int32_t j = 0; j < taps.taps; ++j) sum += weights[j] * from[kChannels * j + c];
      out[kChannels * o + c] = resize_byte(sum, taps.shift);
    }
  }
}

void color_columns(const ResizeTaps& taps, const std::uint8_t* row, const std::uint8_t*, std::uint8_t* out) {
  columns_of<3>(taps, row, out);
}

void gray_columns(const ResizeTaps& taps, const std::uint8_t* row, const std::uint8_t*, std::uint8_t* out) {
  columns_of<1>(taps, row, out);
}

using RowList = const std::uint8_t* const*;

// Sums rows with weights: n bytes, rounded up to 64.
void sum_rows(const std::int16_t* weights, std::int32_t taps, std::int32_t shift, std::int64_t n, RowList rows,
              std::uint8_t* out) {
  constexpr std::int64_t kAtOnce = 64;
  for (std::int64_t from = 0; from < n; from += kAtOnce) {
    std::int32_t sums[kAtOnce];
    for (std::int32_t& sum : sums) sum = resize_half(shift);
    for (std::int32_t j = 0; j < taps; ++j) {
      const std::uint8_t* row = rows[j] + from;
      for (std::int64_t x = 0; x < kAtOnce; ++x) sums[x] += weights[j] * row[x];
    }
    for (std::int64_t x = 0; x < kAtOnce; ++x) out[from + x] = resize_byte(sums[x], shift);
  }
}

#endif

// Copies a row of the image, channels interleaved.
void stage_row(const ImageView& image, std::int32_t channels, std::int64_t y, std::uint8_t* to) {
  const auto* row = static_cast<const std::uint8_t*>(image.data) + y * image.stride_h;
  if (image.stride_w == channels && (channels == 1 || image.stride_c == 1)) {
    std::memcpy(to, row, static_cast<std::size_t>(image.width * channels));
    return;
  }
  for (std::int32_t c = 0; c < channels; ++c)
    for (std::int64_t x = 0; x < image.width; ++x) to[x * channels + c] = row[x * image.stride_w + c * image.stride_c];
}

}  // namespace

void resize_prepare(const ResizeArgs& args, const ResizeScratch&, std::uint8_t* scratch) {
  auto* weights = reinterpret_cast<std::int16_t*>(scratch);
  if (args.channels == 3)
    repeat_color_weights(args.columns, weights);
  else
    repeat_gray_weights(args.columns, weights);
}

void resize_image(const ResizeArgs& args, std::int64_t i, const ResizeScratch& at, std::uint8_t* scratch) {
  const ImageView& image = args.images[i];
  const ResizeTaps& rows = args.rows;
  const std::int64_t row_bytes = std::int64_t{args.columns.out} * args.channels;
  const auto slot = [&](std::int64_t y) { return scratch + at.ring + y % at.ring_rows * at.pitch; };
  const auto columns_done = [&](std::int64_t y) {
    if (args.columns.taps == 0) return stage_row(image, args.channels, y, slot(y));
    stage_row(image, args.channels, y, scratch + at.staged);
    if (args.channels == 3)
      color_columns(args.columns, scratch + at.staged, scratch, slot(y));
    else
      gray_columns(args.columns, scratch + at.staged, scratch, slot(y));
  };
  auto* used = reinterpret_cast<const std::uint8_t**>(scratch + at.used);
  std::int64_t done = 0;  // rows of the image that have been resized in width
  for (std::int32_t o = 0; o < rows.out; ++o) {
    const std::int64_t start = rows.taps > 0 ? rows.start[o] : o;
    const std::int64_t reach = start + at.ring_rows;
    const std::int64_t end = reach < image.height ? reach : image.height;
    for (std::int64_t y = done < start ? start : done; y < end; ++y) columns_done(y);
    done = end;
    const std::uint8_t* line = slot(start);
    if (rows.taps > 0) {
      for (std::int32_t j = 0; j < rows.taps; ++j) used[j] = slot(start + j < end ? start + j : end - 1);
      sum_rows(rows.weights + std::int64_t{o} * rows.taps, rows.taps, rows.shift, row_bytes, used, scratch + at.line);
      line = scratch + at.line;
    }
    std::memcpy(args.out[i] + o * row_bytes, line, static_cast<std::size_t>(row_bytes));
  }
}

}  // namespace iuscore::IUSCORE_ISA
