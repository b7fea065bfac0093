// Counting the bytes of uint8 images. Included by color_histogram_isa.cpp alone.
//
// A processor adds to one counter a cycle at best, somewhat faster where additions that follow each other meet the same
// line of the cache, and far slower where one waits for the last one to the same counter. So: counters of 16 bits;
// several histograms in turn; channel after channel; blocks of eight pixels that repeat (black borders) are counted
// once, times their number; and where the bins are four bytes wide or a multiple of it, two bytes are counted by one
// addition to a table of 64 x 64 pairs.
#pragma once

#include "core/macros.h"
#include "cpu/color_histogram_bits.h"
#include "cpu/color_histogram_isa.h"

namespace iuscore::IUSCORE_ISA {
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

// How many times the block at p stands there in a row, at least once, before the end.
IUSCORE_HD std::int64_t repeats(const std::uint8_t* p, const std::uint8_t* end) {
  const Block block = load_block(p);
  const std::uint8_t* next = p + kBlock;
  while (end - next >= kBlock && same(load_block(next), block)) next += kBlock;
  return (next - p) / kBlock;
}

// Bytes that are counted without looking for repeats, and how often one counter can be met by them: of three channels
// two histograms stand in turn for each, of one channel six.
constexpr int kSpan = 96;
constexpr int kMeetings = 16;
constexpr int kHistograms = 6;

// Histograms of bytes, [kHistograms, 256] in memory.tables, that are added to totals [kChannels, 256] when they are
// full.
template <int kChannels>
struct ByteCounter {
  std::uint16_t* tables;
  std::uint32_t* totals;
  std::int64_t room;  // spans

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

constexpr int kGroup = 12;  // codes: a multiple of the number of tables, and one block

template <int kChannels>
IUSCORE_HD void add_codes(const std::uint16_t* codes, std::uint16_t* tables) {
#pragma GCC unroll 12
  for (int k = 0; k < kGroup; ++k) ++tables[k % kTables<kChannels> * kPairs + codes[k]];
}

// Of the repeats of a block. Apart, as in line its addresses would be kept in registers that the main loop needs.
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

// Adds the histograms of `rows` rows of consecutive bytes, `stride` apart, to totals [kChannels, 256].
template <int kChannels>
void count_rows(const std::uint8_t* p, std::int64_t rows, std::int64_t row_size, std::int64_t stride, bool by_fours,
                HistogramMemory& memory, std::uint32_t* totals) {
  if (stride == row_size) {
    row_size *= rows;
    rows = 1;
  }
  if (rows == 1) {
    const std::int64_t counted = kChannels * count_bits<kChannels>(p, row_size / kChannels, by_fours, memory, totals);
    p += counted;
    row_size -= counted;
  }
  std::int64_t size = rows == 1 ? row_size : 0;
  while (by_fours && size >= kFewestForPairs<kChannels>) {
    clear(memory.tables, kTables<kChannels> * kPairs);
    for (std::int64_t chunk = 0; chunk < kChunksAtOnce && size >= 2 * kHalf; ++chunk) {
      count_pairs<kChannels>(p, memory.tables);
      p += 2 * kHalf;
      size -= 2 * kHalf;
    }
    for (int t = 0; t < kTables<kChannels>; ++t) fold_pairs(memory.tables + t * kPairs, totals + t % kChannels * 256);
    row_size = size;
  }
  if (row_size == 0) return;
  ByteCounter<kChannels> counter{memory.tables, totals, 0};
  counter.begin();
  for (std::int64_t y = 0; y < rows; ++y) counter.add(p + y * stride, row_size);
  counter.end();
}

// Joint histogram: two in turn where they are small.
constexpr std::int32_t kFewCells = 4096;
constexpr std::int32_t kSlotsAtOnce = 1024;

// Slots of n pixels where the highest kBits of each byte are its bin; their channels are kStep apart from pixel to
// pixel.
template <int kBits, int kStep>
void find_slots_of_bits(const std::uint8_t* __restrict r, const std::uint8_t* __restrict g,
                        const std::uint8_t* __restrict b, std::int32_t n, std::uint16_t* __restrict slots) {
  constexpr int kRest = 8 - kBits;
  std::int32_t i = 0;
#if defined(__x86_64__) && !defined(__AVX2__)
  // Shuffles of three channels are slow here. By one multiplication the bits of the three bytes of a word move side by
  // side; what else it makes lies above and below them. The last pixel may have no byte behind it.
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

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
