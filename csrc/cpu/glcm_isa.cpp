#include "cpu/glcm_isa.h"

#include <cstring>

#include "core/quantize.h"
#include "cpu/glcm_pairs.h"

namespace iuscore::IUSCORE_ISA {

// ---- From rows of raw values to gray levels

namespace {

// Levels of a row by a guess that is right for every level.
void guessed_row(const float* __restrict values, std::int64_t width, const Quantizer& by,
                 std::uint8_t* __restrict levels) {
  const float low = by.low;
  const float scale = by.scale;
  const float top = by.top;
  for (std::int64_t x = 0; x < width; ++x)
    levels[x] = static_cast<std::uint8_t>(level_at((values[x] - low) * scale, top));
}

void exact_row(const float* __restrict values, std::int64_t width, const Quantizer& by,
               std::uint8_t* __restrict levels) {
  const double low = by.exact_low;
  const double factor = by.factor;
  const double divisor = by.divisor;
  const float top = by.top;
  for (std::int64_t x = 0; x < width; ++x)
    levels[x] = static_cast<std::uint8_t>(level_at(factor * (static_cast<double>(values[x]) - low) / divisor, top));
}

struct Integers {
  std::int32_t least;
  std::int32_t most;
};

template <class Pixel>
constexpr Integers kIntegers = {Pixel::kCanBeNonFinite ? -65535 : 0,
                                sizeof(typename Pixel::Storage) == 1 ? 255 : 65535};

struct RowQuantizer {
  Quantizer by;
  bool has_integer_guess;
  Quantizer integer_guess;  // right for every integer of kIntegers
};

// A slightly larger guess may be right for every integer, also at the edges of levels. Guesses and levels are
// monotonic, so it is enough to try the first integer of each level and the integer before it.
template <class Pixel>
RowQuantizer row_quantizer(const Quantizer by) {
  constexpr Integers all = kIntegers<Pixel>;
  RowQuantizer row{by, false, by};
  if (by.doubt == 0.0f) return row;
  Quantizer& guess = row.integer_guess;
  guess.scale = by.scale * (1.0f + 2.384185791015625e-7f);  // by more than its rounding errors
  guess.doubt = guess.offset_doubt = 0.0f;
  const double end = all.most + 1.0;
  const double step = by.divisor / by.factor;
  const auto top = static_cast<std::int32_t>(by.top);
  std::int32_t worst = 0;
  for (std::int32_t level = 1; level <= top; ++level) {
    const double edge = by.exact_low + level * step;
    const double inside = edge > all.least ? (edge < end ? edge : end) : all.least;
    const auto cut = static_cast<std::int32_t>(inside);
    const std::int32_t first = cut + (static_cast<double>(cut) < inside ? 1 : 0);
    const std::int32_t here = exact_level_of(static_cast<float>(first), by);
    const std::int32_t before = exact_level_of(static_cast<float>(first - 1), by);
    const std::int32_t guessed = level_at(guess_of(static_cast<float>(first), guess), by.top);
    const std::int32_t guessed_before = level_at(guess_of(static_cast<float>(first - 1), guess), by.top);
    const std::int32_t low_one = here < guessed ? here : guessed;
    const std::int32_t high_one = before > guessed_before ? before : guessed_before;
    const std::int32_t missing = first <= all.most ? level - low_one : 0;
    const std::int32_t early = first > all.least ? high_one - level + 1 : 0;
    const std::int32_t more = missing > early ? missing : early;
    worst = more > worst ? more : worst;
  }
  row.has_integer_guess = worst == 0;
  return row;
}

constexpr std::int64_t kTogether = 64;  // values whose guesses are checked at a time

bool are_integers(const float* values) {
  std::int32_t others = 0;
  for (std::int64_t k = 0; k < kTogether; ++k) {
    const float value = values[k];
    const float inside = smaller(larger(value, -65535.0f), 65535.0f);
    others |= static_cast<float>(static_cast<std::int32_t>(inside)) == value ? 0 : 1;
  }
  return others == 0;
}

// Levels of kTogether values.
void level_block(const float* __restrict values, const RowQuantizer& row, std::uint8_t* __restrict levels) {
  const Quantizer by = row.by;  // a copy: to the compiler, `levels` could alias it
  std::uint8_t most[kTogether];
  for (std::int64_t k = 0; k < kTogether; ++k) {
    const LevelEnds ends = guessed_levels(values[k], by);
    levels[k] = static_cast<std::uint8_t>(ends.least);
    most[k] = static_cast<std::uint8_t>(ends.most);
  }
  if (std::memcmp(levels, most, kTogether) == 0) return;
  if (row.has_integer_guess && are_integers(values))
    guessed_row(values, kTogether, row.integer_guess, levels);
  else
    exact_row(values, kTogether, by, levels);
}

template <class Pixel>
void level_row(const float* __restrict values, std::int64_t width, const RowQuantizer& row,
               std::uint8_t* __restrict levels) {
  if (row.by.doubt == 0.0f && row.by.offset_doubt == 0.0f) return guessed_row(values, width, row.by, levels);
  if (!Pixel::kCanBeNonFinite && row.has_integer_guess) return guessed_row(values, width, row.integer_guess, levels);
  if (width < kTogether) {
    for (std::int64_t x = 0; x < width; ++x) levels[x] = static_cast<std::uint8_t>(level_of(values[x], row.by));
    return;
  }
  std::int64_t x = 0;
  for (; x + kTogether <= width; x += kTogether) level_block(values + x, row, levels + x);
  if (x < width) level_block(values + width - kTogether, row, levels + width - kTogether);
}

// Loads the raw values of a row. kStep: the pixel stride if it is 1 or 3, so that the loop vectorises; else 0.
template <class Pixel, int kChannels, int kStep>
void load_row_steps(const ImageView& image, std::int64_t row, float* __restrict out) {
  using Storage = typename Pixel::Storage;
  const Storage* r = static_cast<const Storage*>(image.data) + row * image.stride_h;
  const std::int64_t step = kStep > 0 ? kStep : image.stride_w;
  if constexpr (kChannels == 1) {
    for (std::int64_t x = 0; x < image.width; ++x) out[x] = Pixel::load(r[x * step]);
  } else {
    const Storage* g = r + (kStep == 3 ? 1 : image.stride_c);
    const Storage* b = r + (kStep == 3 ? 2 : 2 * image.stride_c);
    for (std::int64_t x = 0; x < image.width; ++x)
      out[x] = RawGray<Pixel>::of(Pixel::load(r[x * step]), Pixel::load(g[x * step]), Pixel::load(b[x * step]));
  }
}

template <class Pixel, int kChannels>
void load_row(const ImageView& image, std::int64_t row, float* out) {
  if (image.stride_w == 1) return load_row_steps<Pixel, kChannels, 1>(image, row, out);
  if (kChannels == 3 && image.stride_w == 3 && image.stride_c == 1)
    return load_row_steps<Pixel, kChannels, kChannels == 3 ? 3 : 0>(image, row, out);
  load_row_steps<Pixel, kChannels, 0>(image, row, out);
}

// Writes 1 for each pixel that is counted, else 0.
void valid_row(const QuantizeJob& job, std::int64_t row, const float* __restrict values, bool can_be_non_finite,
               std::uint8_t* __restrict valid) {
  const std::int64_t width = job.image.width;
  if (job.mask.data == nullptr) {
    for (std::int64_t x = 0; x < width; ++x) valid[x] = is_finite(values[x]);
    return;
  }
  const std::uint8_t* mask = job.mask.data + row * job.mask.stride_h;
  if (job.mask.stride_w == 1)
    for (std::int64_t x = 0; x < width; ++x) valid[x] = mask[x] != 0;
  else
    for (std::int64_t x = 0; x < width; ++x) valid[x] = mask[x * job.mask.stride_w] != 0;
  if (can_be_non_finite)
    for (std::int64_t x = 0; x < width; ++x) valid[x] = valid[x] & (is_finite(values[x]) ? 1 : 0);
}

// Smallest and largest values in 32 lanes, which stay in vector registers.
struct WideRange {
  float low[32];
  float high[32];
};

void widen_row(WideRange& wide, const float* __restrict values, const std::uint8_t* __restrict valid,
               std::int64_t width) {
  std::int64_t x = 0;
  for (; x + 32 <= width; x += 32)
    for (int k = 0; k < 32; ++k) {
      const bool counted = valid == nullptr || valid[x + k] != 0;
      wide.low[k] = smaller(counted ? values[x + k] : INFINITY, wide.low[k]);
      wide.high[k] = larger(counted ? values[x + k] : -INFINITY, wide.high[k]);
    }
  for (; x < width; ++x) {
    if (valid != nullptr && valid[x] == 0) continue;
    wide.low[0] = smaller(values[x], wide.low[0]);
    wide.high[0] = larger(values[x], wide.high[0]);
  }
}

Range folded(const WideRange& wide) {
  Range range = empty_range();
  for (int k = 0; k < 32; ++k) widen(range, wide.low[k], wide.high[k]);
  return range;
}

typedef std::uint8_t ByteLanes __attribute__((vector_size(kVectorBytes)));
typedef std::uint8_t BytesAnywhere __attribute__((vector_size(kVectorBytes), aligned(1), may_alias));

// Lanes of the smallest of all bytes, and of the largest of the counted bytes.
struct ByteRange {
  ByteLanes low;
  ByteLanes high;
};

ByteRange no_bytes() {
  const ByteLanes none{};
  return {~none, none};
}

void widen_row(ByteRange& wide, const std::uint8_t* bytes, const std::uint8_t* valid, std::int64_t n) {
  ByteLanes low = wide.low;
  ByteLanes high = wide.high;
  std::int64_t i = 0;
  for (; i + kVectorBytes <= n; i += kVectorBytes) {
    const ByteLanes here = *reinterpret_cast<const BytesAnywhere*>(bytes + i);
    const ByteLanes counted = valid == nullptr ? here : here & -*reinterpret_cast<const BytesAnywhere*>(valid + i);
    low = here < low ? here : low;
    high = counted > high ? counted : high;
  }
  for (; i < n; ++i) {
    low[0] = bytes[i] < low[0] ? bytes[i] : low[0];
    if ((valid == nullptr || valid[i] != 0) && bytes[i] > high[0]) high[0] = bytes[i];
  }
  wide = {low, high};
}

struct Bytes {
  std::int32_t lowest;
  std::int32_t highest;
};

Bytes folded(const ByteRange& wide) {
  Bytes range{255, 0};
  for (int k = 0; k < kVectorBytes; ++k) {
    range.lowest = wide.low[k] < range.lowest ? wide.low[k] : range.lowest;
    range.highest = wide.high[k] > range.highest ? wide.high[k] : range.highest;
  }
  return range;
}

// The plane, once levels and validity are written. range: of the levels.
LevelPlane plane_of(const QuantizeJob& job, const Bytes& range) {
  return {job.levels,
          can_be_uncounted(job.pixel_type, job.mask) ? job.valid : nullptr,
          job.image.height,
          job.image.width,
          job.image.width,
          job.by.levels,
          range.lowest < range.highest ? range.lowest : range.highest,
          range.highest};
}

// If a level is a byte shifted to the right and clamped, the shift; else -1. That is so in mode levels, and in modes
// range and width if low is 0 and the width of a level is a power of two.
std::int32_t byte_shift(const QuantizeJob& job) {
  if (job.pixel_type != PixelType::u8 || job.channels != 1 || job.image.stride_w != 1) return -1;
  if (job.by.mode == QuantizeMode::levels) return 0;
  if (needs_range(job.by) || job.by.low != 0.0) return -1;
  const double factor = job.by.mode == QuantizeMode::range ? job.by.levels : 1.0;
  for (std::int32_t shift = 0; shift < 8; ++shift)
    if (job.by.divisor == factor * (1 << shift)) return shift;
  return -1;
}

void shift_row(const std::uint8_t* __restrict bytes, std::int64_t width, std::int32_t shift, std::uint8_t top,
               std::uint8_t* __restrict levels) {
  // There are no vector shifts of bytes, so words are shifted, and the bits from the neighboring byte masked out.
  typedef std::uint16_t Words __attribute__((vector_size(kVectorBytes)));
  const ByteLanes most = ByteLanes{} + top;
  const auto bits = static_cast<std::uint8_t>(255 >> shift);
  const ByteLanes own = ByteLanes{} + bits;
  std::int64_t x = 0;
  for (; x + kVectorBytes <= width; x += kVectorBytes) {
    const ByteLanes here = *reinterpret_cast<const BytesAnywhere*>(bytes + x);
    const ByteLanes level = reinterpret_cast<ByteLanes>(reinterpret_cast<Words>(here) >> shift) & own;
    *reinterpret_cast<BytesAnywhere*>(levels + x) = level < most ? level : most;
  }
  for (; x < width; ++x) {
    const auto level = static_cast<std::uint8_t>(bytes[x] >> shift);
    levels[x] = level < top ? level : top;
  }
}

QuantizeResult shift_bytes(const QuantizeJob& job, std::int32_t shift) {
  const bool masked = can_be_uncounted(job.pixel_type, job.mask);
  const bool dense = job.image.stride_h == job.image.width && !masked;  // the image is one long row
  const std::int64_t rows = dense ? 1 : job.image.height;
  const std::int64_t width = dense ? job.image.height * job.image.width : job.image.width;
  const auto top = static_cast<std::uint8_t>(job.by.levels - 1);
  ByteRange wide = no_bytes();
  for (std::int64_t y = 0; y < rows; ++y) {
    const std::uint8_t* bytes = static_cast<const std::uint8_t*>(job.image.data) + y * job.image.stride_h;
    std::uint8_t* valid = masked ? job.valid + y * width : nullptr;
    if (masked) valid_row(job, y, nullptr, false, valid);
    shift_row(bytes, width, shift, top, job.levels + y * width);
    widen_row(wide, bytes, valid, width);
  }
  const Bytes range = folded(wide);
  const auto level = [&](std::int32_t byte) { return byte >> shift < top ? byte >> shift : top; };
  const LevelPlane plane = plane_of(job, {level(range.lowest), level(range.highest)});
  return {plane, job.by.mode == QuantizeMode::levels ? range.highest : 0};
}

template <class Pixel, int kChannels>
QuantizeResult quantize(const QuantizeJob& job) {
  const std::int64_t width = job.image.width;
  const std::int64_t height = job.image.height;
  const bool masked = can_be_uncounted(job.pixel_type, job.mask);
  const bool integer_levels = job.by.mode == QuantizeMode::levels;
  const auto valid_of = [&](std::int64_t y) { return masked ? job.valid + y * width : nullptr; };
  WideRange wide;
  for (int k = 0; k < 32; ++k) wide.low[k] = INFINITY, wide.high[k] = -INFINITY;
  const auto load = [&](std::int64_t y, bool widens) {
    load_row<Pixel, kChannels>(job.image, y, job.strip);
    if (masked) valid_row(job, y, job.strip, Pixel::kCanBeNonFinite, valid_of(y));
    if (widens) widen_row(wide, job.strip, valid_of(y), width);
  };
  if (needs_range(job.by))
    for (std::int64_t y = 0; y < height; ++y) load(y, true);
  const RowQuantizer by = row_quantizer<Pixel>(quantizer_of(job.by, folded(wide)));
  for (std::int64_t y = 0; y < height; ++y) {
    load(y, integer_levels);
    level_row<Pixel>(job.strip, width, by, job.levels + y * width);
  }
  ByteRange levels = no_bytes();
  widen_row(levels, job.levels, masked ? job.valid : nullptr, height * width);
  const Range range = folded(wide);
  return {plane_of(job, folded(levels)),
          integer_levels && range.high > 0.0f ? static_cast<std::int32_t>(range.high) : 0};
}

template <class Pixel>
QuantizeResult quantize_channels(const QuantizeJob& job) {
  return job.channels == 3 ? quantize<Pixel, 3>(job) : quantize<Pixel, 1>(job);
}

template <class Count>
void write_counts(Count* first, Count* second, std::int32_t shift, std::int32_t levels,
                  std::int32_t* __restrict counts) {
  join_copies(first, second, levels << shift);
  for (std::int32_t i = 0; i < levels; ++i) {
    Count* row = first + (i << shift);
    for (std::int32_t j = 0; j < levels; ++j) counts[i * levels + j] = static_cast<std::int32_t>(row[j]);
    for (std::int32_t j = 0; j < levels; ++j) row[j] = 0;
  }
}

// Writes the symmetric matrix from that of unordered pairs.
template <class Count>
void write_symmetric(Count* first, Count* second, std::int32_t shift, std::int32_t levels, std::int32_t* counts) {
  join_copies(first, second, levels << shift);
  constexpr std::int32_t kBlock = 16;
  for (std::int32_t i0 = 0; i0 < levels; i0 += kBlock)
    for (std::int32_t j0 = i0; j0 < levels; j0 += kBlock)
      for (std::int32_t i = i0; i < i0 + kBlock && i < levels; ++i)
        for (std::int32_t j = j0 < i ? i : j0; j < j0 + kBlock && j < levels; ++j) {
          Count& cell = first[(i << shift) + j];
          const auto count = static_cast<std::int32_t>(cell);
          cell = 0;
          counts[i * levels + j] = i == j ? 2 * count : count;
          counts[j * levels + i] = i == j ? 2 * count : count;
        }
}

template <class Count>
void count_all(const LevelPlane& plane, const PixelOffset* offsets, std::int32_t offset_count, bool symmetric,
               const GlcmShape& shape, const GlcmScratch& scratch, std::int32_t* counts) {
  const std::int32_t levels = plane.level_count;
  const auto use = [&](std::int32_t k, Count* first, Count* second) {
    std::int32_t* to = counts + std::int64_t{k} * levels * levels;
    if (symmetric)
      write_symmetric(first, second, shape.shift, levels, to);
    else
      write_counts(first, second, shape.shift, levels, to);
  };
  for_each_matrix<Count>(plane, offsets, offset_count, shape, symmetric, scratch, use);
}

}  // namespace

QuantizeResult quantize_plane(const QuantizeJob& job) {
  const std::int32_t shift = byte_shift(job);
  if (shift >= 0) return shift_bytes(job, shift);
  switch (job.pixel_type) {
    case PixelType::u8:
      return quantize_channels<RawU8>(job);
    case PixelType::u16:
      return quantize_channels<RawU16>(job);
    case PixelType::f16:
      return quantize_channels<RawF16>(job);
    case PixelType::bf16:
      return quantize_channels<RawBF16>(job);
    case PixelType::f32:
      break;
  }
  return quantize_channels<RawF32>(job);
}

void count_plane(const LevelPlane& plane, const PixelOffset* offsets, std::int32_t offset_count, bool symmetric,
                 const GlcmScratch& scratch, std::int32_t* counts) {
  const GlcmShape shape = glcm_shape(plane.level_count, plane.height * plane.width);
  if (shape.counts_in_16_bits)
    count_all<std::uint16_t>(plane, offsets, offset_count, symmetric, shape, scratch, counts);
  else
    count_all<std::uint32_t>(plane, offsets, offset_count, symmetric, shape, scratch, counts);
}

}  // namespace iuscore::IUSCORE_ISA
