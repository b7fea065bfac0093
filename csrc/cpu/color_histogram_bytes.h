// Counting the bytes of uint8 images. Included by color_histogram_zone.cpp alone.
//
// A processor adds to one counter a cycle at best, and far slower where one addition waits for the last one to the same
// counter. So: several histograms in turn; blocks of eight pixels that repeat (black borders) are counted once, times
// their number; and where the bins are four bytes wide or a multiple of it, two bytes are counted by one addition to a
// table of 64 x 64 pairs.
#pragma once

#include "core/macros.h"
#include "cpu/color_histogram_zone.h"

namespace iuscore::IUSCORE_ZONE {
namespace {

constexpr std::int64_t kBlock = 24;         // bytes: eight pixels of three channels
constexpr std::int64_t kChunksAtOnce = 64;  // x kHalf / 2 additions to a table stay below 65536
template <int kChannels>
constexpr std::int64_t kFewestForPairs = 2 * kHalf * kChannels;  // below, a table of pairs costs more than it saves
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

IUSCORE_HD std::uint8_t byte_of(const Block& block, int k) {
  const std::uint64_t word = k < 8 ? block.first : k < 16 ? block.second : block.third;
  return static_cast<std::uint8_t>(word >> (8 * (k % 8)));
}

// Of the repeats of a block. Apart, as in line its addresses would be kept in registers that the main loop needs.
#define IUSCORE_NOT_INLINE __attribute__((noinline))

// Histogram that byte k of a block goes to: two in turn for each of three channels, or four in turn for one.
template <int kChannels>
IUSCORE_HD int histogram_of(int k) {
  return kChannels == 3 ? k % 3 * 2 + k / 3 % 2 : k % 4;
}
template <int kChannels>
constexpr int kHistograms = kChannels == 3 ? 6 : 4;

template <int kChannels>
IUSCORE_HD void add_block(const Block& block, std::uint32_t times, std::uint32_t* counters) {
#pragma GCC unroll 24
  for (int k = 0; k < kBlock; ++k) counters[histogram_of<kChannels>(k) * 256 + byte_of(block, k)] += times;
}

template <int kChannels>
IUSCORE_NOT_INLINE void add_repeats(const std::uint8_t* p, std::uint32_t times, std::uint32_t* counters) {
  for (int k = 0; k < kBlock; ++k) counters[histogram_of<kChannels>(k) * 256 + p[k]] += times;
}

// counters: [kHistograms, 256]. `size` bytes from a first channel on.
template <int kChannels>
void count_bytes(const std::uint8_t* p, std::int64_t size, std::uint32_t* counters) {
  const std::uint8_t* end = p + size;
  while (end - p >= kBlock) {
    const Block block = load_block(p);
    add_block<kChannels>(block, 1, counters);
    const std::uint8_t* begin = p;
    for (p += kBlock; end - p >= kBlock && same(load_block(p), block);) p += kBlock;
    if (__builtin_expect(p - begin > kBlock, 0))
      add_repeats<kChannels>(begin, static_cast<std::uint32_t>((p - begin) / kBlock - 1), counters);
  }
  for (int k = 0; p < end; ++p, ++k) ++counters[histogram_of<kChannels>(k) * 256 + *p];
}

// Adds the histograms of each channel to totals [kChannels, 256].
template <int kChannels>
void fold_bytes(const std::uint32_t* counters, std::uint32_t* totals) {
  constexpr int kOfChannel = kHistograms<kChannels> / kChannels;
  for (int c = 0; c < kChannels; ++c)
    for (int h = 0; h < kOfChannel; ++h)
      for (int v = 0; v < 256; ++v) totals[c * 256 + v] += counters[(c * kOfChannel + h) * 256 + v];
}

// Tables of pairs: one per channel, or two in turn.
template <int kChannels>
constexpr int kTables = kChannels == 3 ? 3 : 2;

constexpr int kGroup = 12;  // codes: a multiple of the number of tables, and 24 bytes

template <int kChannels>
IUSCORE_HD void add_codes(const std::uint16_t* codes, std::uint16_t* tables) {
#pragma GCC unroll 12
  for (int k = 0; k < kGroup; ++k) ++tables[k % kTables<kChannels> * kPairs + codes[k]];
}

template <int kChannels>
IUSCORE_NOT_INLINE void add_repeated_codes(const std::uint16_t* codes, int times, std::uint16_t* tables) {
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
    __builtin_prefetch(p + 2 * kHalf + 2 * k);  // of the next pairs: they are read all at once
    add_codes<kChannels>(codes + begin, tables);
    for (k += kGroup; k < kHalf && same(load_block(codes + k), load_block(codes + begin));) k += kGroup;
    if (__builtin_expect(k - begin > kGroup, 0))
      add_repeated_codes<kChannels>(codes + begin, (k - begin) / kGroup - 1, tables);
  }
}

// Adds a table's two halves to the totals [256] of its channel, each at the first byte of its four.
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

template <class T>
void clear(T* values, std::int64_t n) {
  __builtin_memset(values, 0, static_cast<std::size_t>(n) * sizeof(T));
}

// Adds the histograms of `size` consecutive bytes to totals [kChannels, 256].
template <int kChannels>
void count_span(const std::uint8_t* p, std::int64_t size, bool by_fours, HistogramMemory& memory,
                std::uint32_t* totals) {
  while (by_fours && size >= kFewestForPairs<kChannels>) {
    clear(memory.pairs, kTables<kChannels> * kPairs);
    for (std::int64_t chunk = 0; chunk < kChunksAtOnce && size >= 2 * kHalf; ++chunk) {
      count_pairs<kChannels>(p, memory.pairs);
      p += 2 * kHalf;
      size -= 2 * kHalf;
    }
    for (int t = 0; t < kTables<kChannels>; ++t) fold_pairs(memory.pairs + t * kPairs, totals + t % kChannels * 256);
  }
  if (size == 0) return;
  clear(memory.counters, kHistograms<kChannels> * 256);
  count_bytes<kChannels>(p, size, memory.counters);
  fold_bytes<kChannels>(memory.counters, totals);
}

// Adds the histograms of an image whose rows are dense and `stride` apart.
template <int kChannels>
void count_rows(const std::uint8_t* p, std::int64_t rows, std::int64_t row_size, std::int64_t stride, bool by_fours,
                HistogramMemory& memory, std::uint32_t* totals) {
  if (stride == row_size || rows == 1) return count_span<kChannels>(p, rows * row_size, by_fours, memory, totals);
  clear(memory.counters, kHistograms<kChannels> * 256);
  for (std::int64_t y = 0; y < rows; ++y) count_bytes<kChannels>(p + y * stride, row_size, memory.counters);
  fold_bytes<kChannels>(memory.counters, totals);
}

// Joint histogram: two in turn where they are small.
constexpr std::int32_t kFewCells = 4096;

// The cell of an interleaved pixel by one multiplication where bins are a power of two up to 16: the highest bits of
// three bytes move side by side, and what else the multiplication makes lies above and below them.
IUSCORE_HD std::uint32_t packed_cell(const std::uint8_t* p, const PackedKeys& packed) {
  std::uint32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return static_cast<std::uint32_t>((word & packed.bits) * packed.multiplier >> packed.shift) & packed.last;
}

struct JointCounter {
  const ByteTables* tables;
  std::uint32_t cells;
  std::int64_t pitch;  // from one of two histograms in turn to the other; 0 where there is only one
  std::uint32_t* counters;

  void add(const std::uint8_t* p, std::int64_t stride_c, std::int64_t x, std::uint32_t times) const {
    const std::uint32_t key = tables->keys[0][p[0]] + tables->keys[1][p[stride_c]] + tables->keys[2][p[2 * stride_c]];
    counters[(x & 1) * pitch + slot_of_key(key, cells)] += times;
  }

  IUSCORE_NOT_INLINE void add_repeats(const std::uint8_t* p, std::uint32_t times) const {
    for (int k = 0; k < 8; ++k) add(p + 3 * k, 1, k, times);
  }
};

// Blocks of eight interleaved pixels; returns how many pixels were counted. Reads one byte behind a pixel, and so keeps
// one pixel away from the end.
template <bool kPacked>
std::int64_t count_joint_blocks(const std::uint8_t* p, std::int64_t width, const JointCounter& to) {
  const JointCounter counter = to;
  const PackedKeys packed = counter.tables->packed;
  std::int64_t x = 0;
  while (x + 8 < width) {
    const std::uint8_t* begin = p + 3 * x;
    const Block block = load_block(begin);
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      if (kPacked) {
        ++counter.counters[(k & 1) * counter.pitch + packed_cell(begin + 3 * k, packed)];
      } else {
        counter.add(begin + 3 * k, 1, k, 1);
      }
    }
    const std::int64_t first = x;
    for (x += 8; x + 8 < width && same(load_block(p + 3 * x), block);) x += 8;
    if (__builtin_expect(x - first > 8, 0)) counter.add_repeats(begin, static_cast<std::uint32_t>((x - first) / 8 - 1));
  }
  return x;
}

void count_joint_row(const std::uint8_t* p, std::int64_t width, std::int64_t stride_w, std::int64_t stride_c,
                     const JointCounter& counter) {
  std::int64_t x = 0;
  if (stride_w == 3 && stride_c == 1)
    x = counter.tables->packed.multiplier != 0 ? count_joint_blocks<true>(p, width, counter)
                                               : count_joint_blocks<false>(p, width, counter);
  for (; x < width; ++x) counter.add(p + x * stride_w, stride_c, x, 1);
}

}  // namespace
}  // namespace iuscore::IUSCORE_ZONE
