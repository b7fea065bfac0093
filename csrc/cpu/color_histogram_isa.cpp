#include "cpu/color_histogram_isa.h"

#include "core/color.h"
#include "core/histogram.h"
#include "core/macros.h"
#include "core/pixel.h"
#include "cpu/equal_values.h"

#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

namespace iuscore::IUSCORE_ISA {

// ---- Counting bytes by population counts, without adding to memory for each byte.
//
// 512 pixels at a time: a vector holds bit k of each of them. From the vectors of three bits come eight masks, for the
// pixels whose three bits have the value 0, 1, .. 7. The pixels of a bin are the intersection of two or three masks; a
// population count gives their number. The order of the pixels does not matter as long as it is the same in all
// vectors: bytes of interleaved channels are separated by blends and bits by shifts, without shuffles.

namespace {

template <class T>
[[maybe_unused]] void clear(T* values, std::int64_t n) {
  __builtin_memset(values, 0, static_cast<std::size_t>(n) * sizeof(T));
}

#if defined(__AVX512BW__)

using Vector = __m512i;
constexpr std::int64_t kBitPixels = 512;
constexpr __mmask8 kAll = 0xff;  // for masked intrinsics: GCC 12 warns about the others

constexpr int kAtOnce = 16;  // x 512 pixels, during which a counter stays in a register
static_assert(kAtOnce * 20 * sizeof(Vector) <= sizeof(HistogramScratch::tables), "masks");
static_assert(3 * 256 * sizeof(Vector) <= sizeof(HistogramScratch::counters), "counters of lanes");

IUSCORE_HD Vector choose(Vector mask, Vector yes, Vector no) { return _mm512_ternarylogic_epi64(mask, yes, no, 0xca); }

// In each group of 2 * kShift bits: exchanges the high bits of `low` with the low bits of `high`.
template <int kShift>
IUSCORE_HD void exchange(Vector& low, Vector& high, std::uint8_t low_bits) {
  const Vector mask = _mm512_set1_epi8(static_cast<char>(low_bits));
  const Vector high_of_low = _mm512_maskz_srli_epi64(kAll, low, kShift);
  low = choose(mask, low, _mm512_maskz_slli_epi64(kAll, high, kShift));
  high = choose(mask, high_of_low, high);
}

// Turns eight vectors of bytes into eight vectors of their bits 0..7.
IUSCORE_HD void to_bits(Vector (&v)[8]) {
  for (int i = 0; i < 4; ++i) exchange<4>(v[i], v[i + 4], 0x0f);
  for (int i = 0; i < 8; i += 4) {
    exchange<2>(v[i], v[i + 2], 0x33);
    exchange<2>(v[i + 1], v[i + 3], 0x33);
  }
  for (int i = 0; i < 8; i += 2) exchange<1>(v[i], v[i + 1], 0x55);
}

// The bytes p[kStep * i] of kBitPixels pixels, in an order that does not depend on the channel.
template <int kStep>
IUSCORE_HD void load_bytes(const std::uint8_t* p, Vector (&bytes)[8]) {
  constexpr __mmask64 kEveryThird = 0x2492492492492492;
  for (int i = 0; i < 8; ++i) {
    const std::uint8_t* from = p + 64 * kStep * i;
    bytes[i] = _mm512_loadu_si512(from);
    if (kStep == 1) continue;
    bytes[i] = _mm512_mask_loadu_epi8(bytes[i], kEveryThird << 1, from + 64);
    bytes[i] = _mm512_mask_loadu_epi8(bytes[i], kEveryThird, from + 128);
  }
}

IUSCORE_HD bool all_are(std::uint8_t value, const Vector (&bytes)[8]) {
  const Vector expected = _mm512_set1_epi8(static_cast<char>(value));
  Vector different = bytes[0] ^ expected;
  for (int i = 1; i < 8; ++i) different |= bytes[i] ^ expected;
  return _mm512_test_epi64_mask(different, different) == 0;
}

template <int kValue>
IUSCORE_HD Vector mask_of(const Vector* bits) {
  return _mm512_ternarylogic_epi64(bits[2], bits[1], bits[0], 1 << kValue);
}

// The eight masks of three bits, the lowest bit first.
IUSCORE_HD void make_masks(const Vector* bits, Vector* masks) {
  masks[0] = mask_of<0>(bits);
  masks[1] = mask_of<1>(bits);
  masks[2] = mask_of<2>(bits);
  masks[3] = mask_of<3>(bits);
  masks[4] = mask_of<4>(bits);
  masks[5] = mask_of<5>(bits);
  masks[6] = mask_of<6>(bits);
  masks[7] = mask_of<7>(bits);
}

// Masks of 512 pixels: eight for the three lowest bits used, eight for the three above them, and four for the two
// highest bits. kHigh: 4 if all eight bits are used; 1 if only the highest six are, and the last four masks are left
// out.
template <int kHigh>
constexpr int kMasks = kHigh == 1 ? 16 : 20;

template <int kHigh>
IUSCORE_HD void make_all_masks(Vector (&bytes)[8], Vector* masks) {
  to_bits(bytes);
  const Vector* lowest = bytes + (kHigh == 1 ? 2 : 0);
  make_masks(lowest, masks);
  make_masks(lowest + 3, masks + 8);
  if (kHigh == 1) return;
  masks[16] = ~(bytes[7] | bytes[6]);
  masks[17] = ~bytes[7] & bytes[6];
  masks[18] = bytes[7] & ~bytes[6];
  masks[19] = bytes[7] & bytes[6];
}

// masks [n, kMasks], counters [kHigh, 8, 8]; a count is the sum of its counter's lanes. 4 x 4 counters at a time.
template <int kHigh>
__attribute__((target("avx512vpopcntdq"))) void add_cells(const Vector* masks, int n, Vector* counters) {
  for (int cell = 0; cell < kHigh * 64; cell += cell % 8 == 0 ? 4 : 28) {
    Vector sums[16];
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) sums[k] = counters[cell + k / 4 * 8 + k % 4];
    for (int i = 0; i < n; ++i) {
      const Vector* low = masks + i * kMasks<kHigh> + cell % 8;
      const Vector* middle = masks + i * kMasks<kHigh> + 8 + cell / 8 % 8;
      const Vector* high = masks + i * kMasks<kHigh> + 16 + cell / 64;
      Vector rows[4], columns[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        rows[k] = kHigh == 1 ? middle[k] : middle[k] & *high;
        columns[k] = low[k];
      }
#pragma GCC unroll 16
      for (int k = 0; k < 16; ++k) sums[k] += _mm512_popcnt_epi64(rows[k / 4] & columns[k % 4]);
    }
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) counters[cell + k / 4 * 8 + k % 4] = sums[k];
  }
}

IUSCORE_HD Vector add_halves(Vector x, Vector y) {
  return _mm512_maskz_shuffle_i64x2(kAll, x, y, 0x88) + _mm512_maskz_shuffle_i64x2(kAll, x, y, 0xdd);
}

// totals[kEach * i] += the sum of the lanes of counters[i].
template <int kEach>
void add_lanes(const Vector* counters, int n, std::uint32_t* totals) {
  for (int i = 0; i < n; i += 8) {
    Vector pairs[4];
    for (int k = 0; k < 4; ++k) {
      const Vector x = counters[i + 2 * k], y = counters[i + 2 * k + 1];
      pairs[k] = _mm512_maskz_unpacklo_epi64(kAll, x, y) + _mm512_maskz_unpackhi_epi64(kAll, x, y);
    }
    alignas(64) std::uint64_t sums[8];
    _mm512_store_si512(sums, add_halves(add_halves(pairs[0], pairs[1]), add_halves(pairs[2], pairs[3])));
    for (int k = 0; k < 8; ++k) totals[kEach * (i + k)] += static_cast<std::uint32_t>(sums[k]);
  }
}

// Counts up to kAtOnce x 512 pixels of one channel; totals [256].
template <int kStep, int kHigh>
void count_group(const std::uint8_t* p, std::int64_t vectors, Vector* masks, Vector* counters, std::uint32_t* totals) {
  int n = 0;
  for (std::int64_t i = 0; i < vectors; ++i, p += kStep * kBitPixels) {
    Vector bytes[8];
    load_bytes<kStep>(p, bytes);
    if (all_are(*p, bytes)) {
      totals[kHigh == 1 ? *p & 0xfc : *p] += kBitPixels;
    } else {
      make_all_masks<kHigh>(bytes, masks + n++ * kMasks<kHigh>);
    }
  }
  add_cells<kHigh>(masks, n, counters);
}

template <int kChannels, int kHigh>
std::int64_t count_channels(const std::uint8_t* p, std::int64_t pixels, HistogramScratch& scratch,
                            std::uint32_t* totals) {
  constexpr int kCells = kHigh * 64;
  auto* masks = reinterpret_cast<Vector*>(scratch.tables);
  auto* counters = reinterpret_cast<Vector*>(scratch.counters);
  clear(counters, kChannels * kCells);
  const std::int64_t vectors = pixels / kBitPixels;
  for (std::int64_t i = 0; i < vectors; i += kAtOnce)
    for (int c = 0; c < kChannels; ++c)
      count_group<kChannels, kHigh>(p + i * kChannels * kBitPixels + c, vectors - i < kAtOnce ? vectors - i : kAtOnce,
                                    masks, counters + c * kCells, totals + c * 256);
  for (int c = 0; c < kChannels; ++c) add_lanes<256 / kCells>(counters + c * kCells, kCells, totals + c * 256);
  return vectors * kBitPixels;
}

// Adds the histograms of the first of these consecutive pixels to totals [kChannels, 256]; returns their number.
template <int kChannels>
std::int64_t count_bits(const std::uint8_t* p, std::int64_t pixels, bool by_fours, HistogramScratch& scratch,
                        std::uint32_t* totals) {
  constexpr std::int64_t kMin = 8 * kBitPixels;  // with fewer, the sums over lanes cost more than is saved
  if (pixels < kMin || !__builtin_cpu_supports("avx512vpopcntdq")) return 0;
  return by_fours ? count_channels<kChannels, 1>(p, pixels, scratch, totals)
                  : count_channels<kChannels, 4>(p, pixels, scratch, totals);
}

#else

template <int kChannels>
std::int64_t count_bits(const std::uint8_t*, std::int64_t, bool, HistogramScratch&, std::uint32_t*) {
  return 0;
}

#endif

}  // namespace

// ---- Counting bytes by additions to counters in memory.
//
// A processor does about one such addition a cycle: somewhat more if successive additions hit the same cache line, far
// fewer if one must wait for the previous addition to the same counter. Therefore counters have 16 bits; additions
// alternate between several histograms; channels are counted one after another; a block of eight pixels that repeats,
// as in black borders, is counted once, times its repeats; and if bins are four bytes wide or a multiple of it, one
// addition to a table of 64 x 64 pairs counts two bytes.

namespace {

constexpr std::int64_t kBlock = 24;         // bytes: eight pixels of three channels
constexpr std::int64_t kChunksAtOnce = 64;  // x kHalf / 2 additions to a table: below 65536
template <int kChannels>
constexpr std::int64_t kMinForPairs = 2 * kHalf * kChannels;  // with fewer, a table of pairs costs more than it saves
static_assert(kHalf % kBlock == 0, "pairs are of one channel, and what is left begins with the first");

struct Block {
  std::uint64_t first, second, third;
};

IUSCORE_HD Block load_block(const void* p) {
  Block block;
  __builtin_memcpy(&block, p, kBlock);
  return block;
}

IUSCORE_HD bool same(const Block& x, const Block& y) {
  return x.first == y.first && x.second == y.second && x.third == y.third;
}

// How many times the block at p repeats in a row before `end`; at least 1, for the block itself.
IUSCORE_HD std::int64_t repeats(const std::uint8_t* p, const std::uint8_t* end) {
  const Block block = load_block(p);
  const std::uint8_t* next = p + kBlock;
  while (end - next >= kBlock && same(load_block(next), block)) next += kBlock;
  return (next - p) / kBlock;
}

// A span of bytes is counted without looking for repeats, and adds kMeetings at most to one counter: each of three
// channels has two histograms that are used in turns, a single channel has six.
constexpr int kSpan = 96;
constexpr int kMeetings = 16;
constexpr int kHistograms = 6;

// Histograms of bytes, [kHistograms, 256] in scratch.tables, that are added to totals [kChannels, 256] when they are
// full.
template <int kChannels>
struct ByteCounter {
  std::uint16_t* tables;
  std::uint32_t* totals;
  std::int64_t room;  // spans that can be added before a counter could overflow

  static constexpr int kOfChannel = kHistograms / kChannels;

  void begin() {
    clear(tables, kHistograms * 256);
    room = 65535 / kMeetings;
  }

  void end() {
    for (int h = 0; h < kHistograms; ++h)
      for (int v = 0; v < 256; ++v) totals[h / kOfChannel * 256 + v] += tables[h * 256 + v];
  }

  // `size` bytes from a first channel on.
  void add(const std::uint8_t* p, std::int64_t size) {
    const std::uint8_t* end_of_bytes = p + size;
    while (end_of_bytes - p >= kSpan) {
      const std::int64_t times = repeats(p, end_of_bytes);
      if (__builtin_expect(times > 1, 0)) {
        for (int k = 0; k < kBlock; ++k) totals[k % kChannels * 256 + p[k]] += static_cast<std::uint32_t>(times);
        p += times * kBlock;
        continue;
      }
      add_span(p);
      p += kSpan;
      if (--room == 0) renew();
    }
    for (int k = 0; p < end_of_bytes; ++p, ++k) ++totals[k % kChannels * 256 + *p];
  }

 private:
  void add_span(const std::uint8_t* p) {
    std::uint16_t* const to = tables;
#pragma GCC unroll 3
    for (int c = 0; c < kChannels; ++c)
#pragma GCC unroll 96
      for (int k = 0; k < kSpan / kChannels; ++k) ++to[(c * kOfChannel + k % kOfChannel) * 256 + p[k * kChannels + c]];
  }

  void renew() {
    end();
    begin();
  }
};

// Tables of pairs: one per channel, or two in turn.
template <int kChannels>
constexpr int kTables = kChannels == 3 ? 3 : 2;

constexpr int kGroup = 12;  // codes: a multiple of the number of tables, as long as one Block

template <int kChannels>
IUSCORE_HD void add_codes(const std::uint16_t* codes, std::uint16_t* tables) {
#pragma GCC unroll 12
  for (int k = 0; k < kGroup; ++k) ++tables[k % kTables<kChannels> * kPairs + codes[k]];
}

// Adds the repeats of a group. Not inlined: its addresses would take registers that the main loop needs.
template <int kChannels>
__attribute__((noinline)) void add_repeated_codes(const std::uint16_t* codes, int times, std::uint16_t* tables) {
  for (int k = 0; k < kGroup; ++k) {
    std::uint16_t& counter = tables[k % kTables<kChannels> * kPairs + codes[k]];
    counter = static_cast<std::uint16_t>(counter + times);
  }
}

template <int kChannels>
void count_pairs(const std::uint8_t* p, std::uint16_t* tables) {
  alignas(64) std::uint16_t codes[kHalf];
  for (int k = 0; k < kHalf; ++k) codes[k] = static_cast<std::uint16_t>((p[k] & 0xfc) << 4 | p[k + kHalf] >> 2);
  for (int k = 0; k < kHalf;) {
    const int begin = k;
    __builtin_prefetch(p + 2 * kHalf + 2 * k);  // the next pairs
    add_codes<kChannels>(codes + begin, tables);
    for (k += kGroup; k < kHalf && same(load_block(codes + k), load_block(codes + begin));) k += kGroup;
    if (__builtin_expect(k - begin > kGroup, 0))
      add_repeated_codes<kChannels>(codes + begin, (k - begin) / kGroup - 1, tables);
  }
}

// Adds the first and the second bytes of a table of pairs to the totals [256] of its channel; four bytes share a total.
void fold_pairs(const std::uint16_t* table, std::uint32_t* totals) {
  std::uint16_t second[64] = {};
  for (int a = 0; a < 64; ++a) {
    std::uint16_t first = 0;
    for (int b = 0; b < 64; ++b) {
      first = static_cast<std::uint16_t>(first + table[64 * a + b]);
      second[b] = static_cast<std::uint16_t>(second[b] + table[64 * a + b]);
    }
    totals[4 * a] += first;
  }
  for (int b = 0; b < 64; ++b) totals[4 * b] += second[b];
}

// Adds the histograms of `rows` rows of consecutive bytes, `stride` apart, to totals [kChannels, 256].
template <int kChannels>
void count_rows(const std::uint8_t* p, std::int64_t rows, std::int64_t row_size, std::int64_t stride, bool by_fours,
                HistogramScratch& scratch, std::uint32_t* totals) {
  if (stride == row_size) {
    row_size *= rows;
    rows = 1;
  }
  if (rows == 1) {
    const std::int64_t counted = kChannels * count_bits<kChannels>(p, row_size / kChannels, by_fours, scratch, totals);
    p += counted;
    row_size -= counted;
  }
  std::int64_t size = rows == 1 ? row_size : 0;
  while (by_fours && size >= kMinForPairs<kChannels>) {
    clear(scratch.tables, kTables<kChannels> * kPairs);
    for (std::int64_t chunk = 0; chunk < kChunksAtOnce && size >= 2 * kHalf; ++chunk) {
      count_pairs<kChannels>(p, scratch.tables);
      p += 2 * kHalf;
      size -= 2 * kHalf;
    }
    for (int t = 0; t < kTables<kChannels>; ++t) fold_pairs(scratch.tables + t * kPairs, totals + t % kChannels * 256);
    row_size = size;
  }
  if (row_size == 0) return;
  ByteCounter<kChannels> counter{scratch.tables, totals, 0};
  counter.begin();
  for (std::int64_t y = 0; y < rows; ++y) counter.add(p + y * stride, row_size);
  counter.end();
}

// ---- Joint histograms of bytes. Small ones have two copies that are used in turns.
constexpr std::int32_t kFewCells = 4096;
constexpr std::int32_t kSlotsAtOnce = 1024;

// Slots of n pixels whose bins are the highest kBits of each byte. kStep: bytes from one pixel to the next.
template <int kBits, int kStep>
void find_slots_of_bits(const std::uint8_t* __restrict r, const std::uint8_t* __restrict g,
                        const std::uint8_t* __restrict b, std::int32_t n, std::uint16_t* __restrict slots) {
  constexpr int kRest = 8 - kBits;
  std::int32_t i = 0;
#if defined(__x86_64__) && !defined(__AVX2__)
  // Shuffles of three channels are slow without AVX2. One multiplication brings the bits of a word's three bytes side
  // by side; its other products are above and below these bits. The word of the last pixel could end outside the row.
  constexpr std::uint32_t kBitsOfBytes = (0xffu << kRest & 0xffu) * 0x010101u;
  constexpr std::uint64_t kMultiplier = std::uint64_t{1} << (16 + 2 * kBits) | std::uint64_t{1} << (8 + kBits) | 1;
  for (; kStep == 3 && i + 1 < n; ++i) {
    std::uint32_t word;
    __builtin_memcpy(&word, r + 3 * i, sizeof word);
    slots[i] = (word & kBitsOfBytes) * kMultiplier >> (24 - kBits) & ((1 << 3 * kBits) - 1);
  }
#endif
  for (; i < n; ++i) {
    const int cell = r[kStep * i] >> kRest << 2 * kBits | g[kStep * i] >> kRest << kBits | b[kStep * i] >> kRest;
    slots[i] = static_cast<std::uint16_t>(cell);
  }
}

template <int kBits>
bool find_slots_of_bits(const ImageView& image, const std::uint8_t* p, std::int32_t n, std::uint16_t* slots) {
  const std::uint8_t* g = p + image.stride_c;
  const std::uint8_t* b = p + 2 * image.stride_c;
  if (image.stride_w == 1)
    find_slots_of_bits<kBits, 1>(p, g, b, n, slots);
  else if (image.stride_w == 3 && image.stride_c == 1)
    find_slots_of_bits<kBits, 3>(p, g, b, n, slots);
  else
    return false;
  return true;
}

bool find_slots_of_bits(const ImageView& image, const std::uint8_t* p, std::int32_t n, int bits, std::uint16_t* slots) {
  switch (bits) {
    case 1:
      return find_slots_of_bits<1>(image, p, n, slots);
    case 2:
      return find_slots_of_bits<2>(image, p, n, slots);
    case 3:
      return find_slots_of_bits<3>(image, p, n, slots);
    case 4:
      return find_slots_of_bits<4>(image, p, n, slots);
    default:
      return false;
  }
}

// The joint slots of n pixels from p on.
void find_joint_slots(const ImageView& image, const std::uint8_t* p, std::int32_t n, const ByteTables& bytes,
                      std::uint32_t cells, std::uint16_t* slots) {
  if (find_slots_of_bits(image, p, n, bytes.leading_bits, slots)) return;
  for (std::int32_t i = 0; i < n; ++i, p += image.stride_w) {
    const std::uint32_t key =
        bytes.keys[0][p[0]] + bytes.keys[1][p[image.stride_c]] + bytes.keys[2][p[2 * image.stride_c]];
    slots[i] = static_cast<std::uint16_t>(slot_of_key(key, cells));
  }
}

// ---- Slots of a piece of a row, for any pixel type, color space and stride. Every step is a loop over one array, so
// that it vectorises.

constexpr std::int32_t kPiece = 512;  // pixels: all arrays of a piece fit the first-level cache

struct Piece {
  std::int32_t n;
  alignas(64) float values[3][kPiece];
  alignas(64) std::uint16_t slots[3][kPiece];
  alignas(64) std::uint8_t usable[kPiece];
};

template <class Pixel>
void load(const typename Pixel::Storage* p, std::int64_t stride, std::int32_t n, float* __restrict__ out) {
  if (stride == 1) {
    for (std::int32_t i = 0; i < n; ++i) out[i] = Pixel::load(p[i]);
  } else if (stride == 3) {
    for (std::int32_t i = 0; i < n; ++i) out[i] = Pixel::load(p[3 * i]);
  } else {
    for (std::int32_t i = 0; i < n; ++i) out[i] = Pixel::load(p[i * stride]);
  }
}

void clamp_to_unit(Piece& piece, bool can_be_non_finite) {
  if (can_be_non_finite)
    for (std::int32_t i = 0; i < piece.n; ++i)
      piece.usable[i] = static_cast<std::uint8_t>(
          int{is_finite(piece.values[0][i])} & int{is_finite(piece.values[1][i])} & int{is_finite(piece.values[2][i])});
  for (float* values : piece.values)
    for (std::int32_t i = 0; i < piece.n; ++i) values[i] = clamped_unit(values[i]);
}

void to_lab(float* __restrict__ r, float* __restrict__ g, float* __restrict__ b, std::int32_t n) {
  for (std::int32_t i = 0; i < n; ++i) {
    const Lab lab = lab_of(r[i], g[i], b[i]);
    r[i] = lab.lightness;
    g[i] = lab.a;
    b[i] = lab.b;
  }
}

void to_hsv(float* __restrict__ r, float* __restrict__ g, float* __restrict__ b, std::int32_t n) {
  for (std::int32_t i = 0; i < n; ++i) {
    const Hsv hsv = hsv_of(r[i], g[i], b[i]);
    r[i] = hsv.hue;
    g[i] = hsv.saturation;
    b[i] = hsv.value;
  }
}

void to_gray(float* __restrict__ r, const float* __restrict__ g, const float* __restrict__ b, std::int32_t n,
             bool rounded) {
  if (rounded) {
    for (std::int32_t i = 0; i < n; ++i) r[i] = rounded_gray(r[i], g[i], b[i]);
  } else {
    for (std::int32_t i = 0; i < n; ++i) r[i] = gray_of(r[i], g[i], b[i]);
  }
}

void find_slots(const float* __restrict__ values, std::int32_t n, const BinAxis& given,
                std::uint16_t* __restrict__ slots) {
  const BinAxis axis = given;
  if (axis.close) {
    for (std::int32_t i = 0; i < n; ++i) slots[i] = static_cast<std::uint16_t>(slot_of<true>(values[i], axis));
  } else {
    for (std::int32_t i = 0; i < n; ++i) slots[i] = static_cast<std::uint16_t>(slot_of<false>(values[i], axis));
  }
}

// The same for bytes of rgb and gray, by table.
void find_byte_slots(const ColorHistogramJob& job, const std::uint8_t* p, Piece& piece) {
  const ImageView& image = job.image;
  if (job.space == ColorSpace::gray && job.channels == 3) {
    for (int c = 0; c < 3; ++c) load<RawU8>(p + c * image.stride_c, image.stride_w, piece.n, piece.values[c]);
    to_gray(piece.values[0], piece.values[1], piece.values[2], piece.n, true);
    for (std::int32_t i = 0; i < piece.n; ++i)
      piece.slots[0][i] = job.bytes->slots[0][static_cast<std::int32_t>(piece.values[0][i])];
    return;
  }
  for (int c = 0; c < histogram_channels(job.space); ++c)
    for (std::int32_t i = 0; i < piece.n; ++i)
      piece.slots[c][i] = job.bytes->slots[c][p[i * image.stride_w + c * image.stride_c]];
}

// Fills piece.slots for the piece.n pixels from p on.
template <class Pixel>
void find_piece_slots(const ColorHistogramJob& job, const typename Pixel::Storage* p, Piece& piece) {
  const ImageView& image = job.image;
  const bool gray = job.space == ColorSpace::gray;
  const int loaded = gray && job.channels == 1 ? 1 : 3;
  for (int c = 0; c < loaded; ++c) load<Pixel>(p + c * image.stride_c, image.stride_w, piece.n, piece.values[c]);
  const bool bounded = job.space == ColorSpace::hsv || job.space == ColorSpace::lab;
  if (bounded) clamp_to_unit(piece, Pixel::kCanBeNonFinite);
  if (job.space == ColorSpace::hsv) to_hsv(piece.values[0], piece.values[1], piece.values[2], piece.n);
  if (job.space == ColorSpace::lab) to_lab(piece.values[0], piece.values[1], piece.values[2], piece.n);
  if (gray && loaded == 3) to_gray(piece.values[0], piece.values[1], piece.values[2], piece.n, !Pixel::kCanBeNonFinite);
  for (int c = 0; c < histogram_channels(job.space); ++c) {
    find_slots(piece.values[c], piece.n, job.axes[c], piece.slots[c]);
    if (bounded && Pixel::kCanBeNonFinite) {
      const auto unusable = static_cast<std::uint16_t>(job.axes[c].bins + kNotANumber);
      for (std::int32_t i = 0; i < piece.n; ++i) piece.slots[c][i] = piece.usable[i] ? piece.slots[c][i] : unusable;
    }
  }
}

void apply_mask(const std::uint8_t* mask, std::int64_t stride, int channels, const BinAxis* axes, Piece& piece) {
  for (std::int32_t i = 0; i < piece.n; ++i) piece.usable[i] = mask[i * stride];
  for (int c = 0; c < channels; ++c) {
    const auto masked = static_cast<std::uint16_t>(axes[c].bins + kMasked);
    for (std::int32_t i = 0; i < piece.n; ++i) piece.slots[c][i] = piece.usable[i] ? piece.slots[c][i] : masked;
  }
}

// Writes the joint slots to piece.slots[0].
void join_slots(const BinAxis* axes, Piece& piece) {
  const std::int32_t bins[3] = {axes[0].bins, axes[1].bins, axes[2].bins};
  for (std::int32_t i = 0; i < piece.n; ++i) {
    const std::int32_t slots[3] = {piece.slots[0][i], piece.slots[1][i], piece.slots[2][i]};
    piece.slots[0][i] = static_cast<std::uint16_t>(joint_slot(slots, bins));
  }
}

// Two copies of a histogram, `pitch` apart, used in turns: so the counts of equal neighbors do not wait for each other.
void add_slots(const std::uint16_t* slots, std::int32_t n, std::int64_t pitch, std::uint32_t* counters) {
  std::uint32_t* odd = counters + pitch;
  std::int32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    if (eight_are_equal(slots + i)) {
      counters[slots[i]] += 8;
      continue;
    }
    for (int k = 0; k < 8; k += 2) {
      ++counters[slots[i + k]];
      ++odd[slots[i + k + 1]];
    }
  }
  for (; i < n; ++i) ++counters[slots[i]];
}

// Writes a histogram from its two copies, `pitch` apart (0: there is one copy): bins, then the slots out of range.
void write_result(const std::uint32_t* counters, std::int64_t pitch, std::int64_t bins, std::int32_t* counts,
                  std::int32_t* out_of_range) {
  const auto total = [&](std::int64_t i) {
    return static_cast<std::int32_t>(counters[i] + (pitch > 0 ? counters[i + pitch] : 0u));
  };
  for (std::int64_t i = 0; i < bins; ++i) counts[i] = total(i);
  for (int k = 0; k < kOutOfRangeSlots; ++k) out_of_range[k] = total(bins + k);
}

// Writes the result from the histograms of the bytes.
void write_byte_result(const ColorHistogramJob& job, const std::uint32_t* totals) {
  std::int32_t* counts = job.counts;
  for (int c = 0; c < histogram_channels(job.space); ++c) {
    const std::int32_t bins = job.axes[c].bins;
    std::uint32_t slots[kMaxBins + kExtraSlots];
    clear(slots, bins + kExtraSlots);
    const std::uint32_t* of_channel = totals + (job.channels == 1 || job.space == ColorSpace::gray ? 0 : c * 256);
    for (int v = 0; v < 256; ++v) slots[job.bytes->slots[c][v]] += of_channel[v];
    write_result(slots, 0, bins, counts, job.out_of_range + c * kOutOfRangeSlots);
    counts += bins;
  }
}

void gray_bytes(const std::uint8_t* __restrict__ p, std::int64_t stride_w, std::int64_t stride_c, std::int64_t n,
                std::uint8_t* __restrict__ out) {
  const std::uint8_t* g = p + stride_c;
  const std::uint8_t* b = p + 2 * stride_c;
  const auto gray = [&](std::int64_t i) {
    const float rounded = rounded_gray(RawU8::load(p[i]), RawU8::load(g[i]), RawU8::load(b[i]));
    return static_cast<std::uint8_t>(static_cast<std::int32_t>(rounded));
  };
  if (stride_w == 3) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = gray(3 * i);
  } else if (stride_w == 1) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = gray(i);
  } else {
    for (std::int64_t i = 0; i < n; ++i) out[i] = gray(i * stride_w);
  }
}

// Counts the gray of three channels, a buffer of gray bytes at a time.
void count_gray_of_color(const ColorHistogramJob& job, std::uint32_t* totals) {
  const ImageView& image = job.image;
  HistogramScratch& scratch = *job.scratch;
  const auto* p = static_cast<const std::uint8_t*>(image.data);
  const bool dense = image.stride_h == image.width * image.stride_w;
  const std::int64_t rows = dense ? 1 : image.height;
  const std::int64_t width = dense ? image.height * image.width : image.width;
  std::int64_t filled = 0;
  for (std::int64_t y = 0; y < rows; ++y) {
    for (std::int64_t x = 0; x < width;) {
      const std::int64_t n = width - x < kGrayBytes - filled ? width - x : kGrayBytes - filled;
      gray_bytes(p + y * image.stride_h + x * image.stride_w, image.stride_w, image.stride_c, n, scratch.gray + filled);
      x += n;
      filled += n;
      if (filled < kGrayBytes) continue;
      count_rows<1>(scratch.gray, 1, filled, filled, job.bytes->by_fours, scratch, totals);
      filled = 0;
    }
  }
  count_rows<1>(scratch.gray, 1, filled, filled, job.bytes->by_fours, scratch, totals);
}

// Counts an image without a mask whose pixels or planes are contiguous; returns whether it is such an image.
bool count_dense_bytes(const ColorHistogramJob& job) {
  const ImageView& image = job.image;
  const auto* p = static_cast<const std::uint8_t*>(image.data);
  const bool by_fours = job.bytes->by_fours;
  HistogramScratch& scratch = *job.scratch;
  alignas(64) std::uint32_t totals[3 * 256] = {};
  if (job.space == ColorSpace::gray && job.channels == 3) {
    count_gray_of_color(job, totals);
  } else if (job.channels == 3 && image.stride_c == 1 && image.stride_w == 3) {
    count_rows<3>(p, image.height, 3 * image.width, image.stride_h, by_fours, scratch, totals);
  } else if (image.stride_w == 1) {
    for (int c = 0; c < job.channels; ++c)
      count_rows<1>(p + c * image.stride_c, image.height, image.width, image.stride_h, by_fours, scratch,
                    totals + c * 256);
  } else {
    return false;
  }
  write_byte_result(job, totals);
  return true;
}

std::int64_t joint_cells(const BinAxis* axes) { return std::int64_t{axes[0].bins} * axes[1].bins * axes[2].bins; }

std::int64_t joint_pitch(std::int64_t cells) { return cells <= kFewCells ? cells + kExtraSlots : 0; }

void count_joint_bytes(const ColorHistogramJob& job) {
  const ImageView& image = job.image;
  const std::int64_t cells = joint_cells(job.axes);
  const std::int64_t pitch = joint_pitch(cells);
  std::uint32_t* counters = job.scratch->counters;
  clear(counters, cells + kExtraSlots + pitch);
  const auto* p = static_cast<const std::uint8_t*>(image.data);
  const bool dense = image.stride_h == image.width * image.stride_w;
  const std::int64_t rows = dense ? 1 : image.height;
  const std::int64_t width = dense ? image.height * image.width : image.width;
  alignas(64) std::uint16_t slots[kSlotsAtOnce];
  for (std::int64_t y = 0; y < rows; ++y)
    for (std::int64_t x = 0; x < width; x += kSlotsAtOnce) {
      const auto n = static_cast<std::int32_t>(width - x < kSlotsAtOnce ? width - x : kSlotsAtOnce);
      const std::uint8_t* from = p + y * image.stride_h + x * image.stride_w;
      find_joint_slots(image, from, n, *job.bytes, static_cast<std::uint32_t>(cells), slots);
      add_slots(slots, n, pitch, counters);
    }
  write_result(counters, pitch, cells, job.counts, job.out_of_range);
}

template <class Pixel>
void count_pieces(const ColorHistogramJob& job) {
  using Storage = typename Pixel::Storage;
  const ImageView& image = job.image;
  const int channels = histogram_channels(job.space);
  const bool by_table =
      job.pixel_type == PixelType::u8 && (job.space == ColorSpace::rgb || job.space == ColorSpace::gray);
  const std::int64_t cells = job.joint ? joint_cells(job.axes) : 0;
  const std::int64_t pitch = job.joint ? joint_pitch(cells) : kMaxBins + kExtraSlots;
  std::uint32_t* counters = job.scratch->counters;
  clear(counters, job.joint ? cells + kExtraSlots + pitch : 2 * channels * pitch);
  Piece piece;
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; x += kPiece) {
      const auto* p = static_cast<const Storage*>(image.data) + y * image.stride_h + x * image.stride_w;
      piece.n = static_cast<std::int32_t>(image.width - x < kPiece ? image.width - x : kPiece);
      if (by_table) {
        find_byte_slots(job, reinterpret_cast<const std::uint8_t*>(p), piece);
      } else {
        find_piece_slots<Pixel>(job, p, piece);
      }
      if (job.mask.data != nullptr)
        apply_mask(job.mask.data + y * job.mask.stride_h + x * job.mask.stride_w, job.mask.stride_w, channels, job.axes,
                   piece);
      if (job.joint) {
        join_slots(job.axes, piece);
        add_slots(piece.slots[0], piece.n, pitch, counters);
      } else {
        for (int c = 0; c < channels; ++c) add_slots(piece.slots[c], piece.n, pitch, counters + 2 * c * pitch);
      }
    }
  }
  if (job.joint) return write_result(counters, pitch, cells, job.counts, job.out_of_range);
  std::int32_t* counts = job.counts;
  for (int c = 0; c < channels; ++c) {
    write_result(counters + 2 * c * pitch, pitch, job.axes[c].bins, counts, job.out_of_range + c * kOutOfRangeSlots);
    counts += job.axes[c].bins;
  }
}

// hsv and lab start from values on the unit scale, rgb and gray from the stored values.
template <class Unit, class Raw>
void count_pieces_of(const ColorHistogramJob& job) {
  const bool unit = job.space == ColorSpace::hsv || job.space == ColorSpace::lab;
  unit ? count_pieces<Unit>(job) : count_pieces<Raw>(job);
}

}  // namespace

void color_histogram_image(const ColorHistogramJob& job) {
  switch (job.pixel_type) {
    case PixelType::u8: {
      const bool stored = job.space == ColorSpace::rgb || job.space == ColorSpace::gray;
      if (stored && job.mask.data == nullptr) {
        if (job.joint) return count_joint_bytes(job);
        if (count_dense_bytes(job)) return;
      }
      return count_pieces_of<UnitU8, RawU8>(job);
    }
    case PixelType::u16:
      return count_pieces_of<UnitU16, RawU16>(job);
    case PixelType::f16:
      return count_pieces<UnitF16>(job);
    case PixelType::bf16:
      return count_pieces<UnitBF16>(job);
    case PixelType::f32:
      return count_pieces<UnitF32>(job);
  }
}

}  // namespace iuscore::IUSCORE_ISA
