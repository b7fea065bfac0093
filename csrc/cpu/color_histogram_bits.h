// Counting bytes without an addition to memory for each. Included by color_histogram_isa.cpp alone.
//
// Of 512 pixels at a time, bit k of each makes a vector, and three of these vectors make eight masks: of the pixels
// whose three bits have the value 0, 1, .. 7. The pixels of a cell are those of two or three masks at once; a
// population count tells how many. The order of the pixels means nothing as long as all vectors have the same: bytes of
// interleaved channels are parted by blends, bits by shifts, and nothing is shuffled.
#pragma once

#include "core/macros.h"
#include "cpu/color_histogram_isa.h"

#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

namespace iuscore::IUSCORE_ISA {
namespace {

template <class T>
[[maybe_unused]] void clear(T* values, std::int64_t n) {
  __builtin_memset(values, 0, static_cast<std::size_t>(n) * sizeof(T));
}

#if defined(__AVX512BW__)

using Vector = __m512i;
constexpr std::int64_t kBitPixels = 512;
constexpr __mmask8 kAll = 0xff;  // masked forms, as GCC 12 warns of the others

constexpr int kAtOnce = 16;  // x 512 pixels: a counter stays in a register for so long
static_assert(kAtOnce * 20 * sizeof(Vector) <= sizeof(HistogramMemory::tables), "masks");
static_assert(3 * 256 * sizeof(Vector) <= sizeof(HistogramMemory::counters), "counters of lanes");

IUSCORE_HD Vector choose(Vector mask, Vector yes, Vector no) { return _mm512_ternarylogic_epi64(mask, yes, no, 0xca); }

// Between the high bits of each 2 * kShift of `low` and the low bits of `high`.
template <int kShift>
IUSCORE_HD void exchange(Vector& low, Vector& high, std::uint8_t low_bits) {
  const Vector mask = _mm512_set1_epi8(static_cast<char>(low_bits));
  const Vector high_of_low = _mm512_maskz_srli_epi64(kAll, low, kShift);
  low = choose(mask, low, _mm512_maskz_slli_epi64(kAll, high, kShift));
  high = choose(mask, high_of_low, high);
}

// From eight vectors of bytes to those of their bits 0..7.
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

// Of the values of three bits, the lowest first.
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

// Masks of 512 pixels: of the three lowest bits that count, of the three above, and, for all eight bits, of the highest
// two. kHigh: 4 then; 1 where only the highest six count.
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

// masks [n, kMasks], counters [kHigh, 8, 8], of each the sum of its lanes counts: 4 x 4 of them at a time.
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
std::int64_t count_channels(const std::uint8_t* p, std::int64_t pixels, HistogramMemory& memory,
                            std::uint32_t* totals) {
  constexpr int kCells = kHigh * 64;
  auto* masks = reinterpret_cast<Vector*>(memory.tables);
  auto* counters = reinterpret_cast<Vector*>(memory.counters);
  clear(counters, kChannels * kCells);
  const std::int64_t vectors = pixels / kBitPixels;
  for (std::int64_t i = 0; i < vectors; i += kAtOnce)
    for (int c = 0; c < kChannels; ++c)
      count_group<kChannels, kHigh>(p + i * kChannels * kBitPixels + c, vectors - i < kAtOnce ? vectors - i : kAtOnce,
                                    masks, counters + c * kCells, totals + c * 256);
  for (int c = 0; c < kChannels; ++c) add_lanes<256 / kCells>(counters + c * kCells, kCells, totals + c * 256);
  return vectors * kBitPixels;
}

// Adds the histograms of the first of consecutive pixels to totals [kChannels, 256] and returns how many they are.
template <int kChannels>
std::int64_t count_bits(const std::uint8_t* p, std::int64_t pixels, bool by_fours, HistogramMemory& memory,
                        std::uint32_t* totals) {
  constexpr std::int64_t kFewest = 8 * kBitPixels;  // below, the sums over lanes cost more than is won
  if (pixels < kFewest || !__builtin_cpu_supports("avx512vpopcntdq")) return 0;
  return by_fours ? count_channels<kChannels, 1>(p, pixels, memory, totals)
                  : count_channels<kChannels, 4>(p, pixels, memory, totals);
}

#else

template <int kChannels>
std::int64_t count_bits(const std::uint8_t*, std::int64_t, bool, HistogramMemory&, std::uint32_t*) {
  return 0;
}

#endif

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
