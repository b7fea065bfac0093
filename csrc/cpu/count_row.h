// 32 counts as vectors of the width that the instruction set has. Included by files that are compiled for each
// instruction set only.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

namespace iuscore::IUSCORE_ISA {
namespace {

constexpr int kRowCounts = 32;
#if defined(__AVX512BW__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class Count>
struct Row {
  typedef Count Lanes __attribute__((vector_size(kVectorBytes)));
  // The same at any address: copied by memcpy, a vector may take a detour through memory in smaller pieces.
  typedef Count Anywhere __attribute__((vector_size(kVectorBytes), aligned(sizeof(Count)), may_alias));
  static constexpr int kParts = kRowCounts * sizeof(Count) / kVectorBytes;
  static constexpr int kLanes = kVectorBytes / sizeof(Count);
  Lanes part[kParts];
};

template <class Count>
inline __attribute__((always_inline)) void load(const Count* from, Row<Count>& row) {
  for (int k = 0; k < Row<Count>::kParts; ++k)
    row.part[k] = *reinterpret_cast<const typename Row<Count>::Anywhere*>(from + k * Row<Count>::kLanes);
}

template <class Count>
inline __attribute__((always_inline)) void store(const Row<Count>& row, Count* to) {
  for (int k = 0; k < Row<Count>::kParts; ++k)
    *reinterpret_cast<typename Row<Count>::Anywhere*>(to + k * Row<Count>::kLanes) = row.part[k];
}

template <class Count>
inline __attribute__((always_inline)) void clear(Count* to) {
  store(Row<Count>{}, to);
}

template <class Count>
inline __attribute__((always_inline)) void add(const Row<Count>& row, Row<Count>& to) {
  for (int k = 0; k < Row<Count>::kParts; ++k) to.part[k] += row.part[k];
}

template <class Count>
inline __attribute__((always_inline)) void add_at(const Row<Count>& row, Count* to) {
  Row<Count> sum;
  load(to, sum);
  add(row, sum);
  store(sum, to);
}

template <class Count>
inline __attribute__((always_inline)) void widen_to(const Row<Count>& row, Row<Count>& largest) {
  for (int k = 0; k < Row<Count>::kParts; ++k)
    largest.part[k] = row.part[k] > largest.part[k] ? row.part[k] : largest.part[k];
}

// Whether a count is above 1.
template <class Count>
inline __attribute__((always_inline)) bool any_above_one(const Count* row) {
#if defined(__AVX512BW__)
  if constexpr (sizeof(Count) == 2) return _mm512_cmpgt_epu16_mask(_mm512_loadu_si512(row), _mm512_set1_epi16(1)) != 0;
#endif
  std::uint64_t words[kRowCounts * sizeof(Count) / 8];
  std::memcpy(words, row, sizeof words);
  std::uint64_t any = 0;
  for (const std::uint64_t word : words) any |= word;
  return (any & (sizeof(Count) == 2 ? 0xfffefffefffefffeu : 0xfffffffefffffffeu)) != 0;
}

// Adds the sums of eight rows of 32 counts, which lie one after another, to sums[8]; whether one is above 0.
template <class Count>
bool add_row_sums(const Count* rows, Count* sums) {
  bool any = false;
  for (int k = 0; k < 8; ++k) {
    Count sum = 0;
    for (int j = 0; j < kRowCounts; ++j) sum = static_cast<Count>(sum + rows[kRowCounts * k + j]);
    sums[k] = static_cast<Count>(sums[k] + sum);
    any |= sum != 0;
  }
  return any;
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
// Of 16 bits: eight vectors of partial sums are added in a tree of interleaved halves.
[[maybe_unused]] inline __attribute__((always_inline)) bool add_row_sums(const std::uint16_t* rows,
                                                                         std::uint16_t* sums) {
  typedef std::uint16_t Eight __attribute__((vector_size(16)));
  typedef std::uint16_t Anywhere __attribute__((vector_size(16), aligned(2), may_alias));
  Eight v[8];
  for (int k = 0; k < 8; ++k) {
    const auto* quarters = reinterpret_cast<const Anywhere*>(rows + kRowCounts * k);
    v[k] = quarters[0] + quarters[1] + quarters[2] + quarters[3];
  }
  for (int half = 4; half > 0; half /= 2)
    for (int k = 0; k < half; ++k)
      v[k] = __builtin_shufflevector(v[k], v[k + half], 0, 8, 1, 9, 2, 10, 3, 11) +
             __builtin_shufflevector(v[k], v[k + half], 4, 12, 5, 13, 6, 14, 7, 15);
  *reinterpret_cast<Anywhere*>(sums) += v[0];
  std::uint64_t words[2];
  std::memcpy(words, v, sizeof words);
  return (words[0] | words[1]) != 0;
}
#endif
#endif

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
