// The matrix product of `additive_cnn`: columns in vector lanes, a block of rows by columns in registers, terms in
// ascending order.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/lanes.h"
#include "ops/additive_cnn.h"

namespace iuscore::IUSCORE_ZONE {
namespace {

// What is multiplied: floats, or pairs of bfloat16 that lie side by side.
struct Single {
  using Value = float;
  static constexpr int kTerms = 1;  // a multiplication takes
  static Lanes columns(const float* p) { return load(p); }
  static Lanes factor(const float* p) { return in_all_lanes(*p); }
  static Lanes multiply_add(Lanes a, Lanes b, Lanes sum) { return IUSCORE_ZONE::multiply_add(a, b, sum); }
  static void store_values(float* p, Lanes v) { store(p, v); }
};

#if defined(__AVX512BF16__)
struct Half {
  using Value = std::uint16_t;
  static constexpr int kTerms = 2;
  static __m512i columns(const std::uint16_t* p) { return _mm512_loadu_si512(p); }
  static __m512i factor(const std::uint16_t* p) {
    std::int32_t pair;
    std::memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
  }
  static Lanes multiply_add(__m512i a, __m512i b, Lanes sum) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
  static void store_values(std::uint16_t* p, Lanes v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(v));
  }
};
#endif

// out[m][n] = sum over k < terms of a[m][k] * panel[k][n].
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
  // What is read next; while this panel is used, so many bytes of it are brought near for each row and multiplication.
  const char* ahead;
  std::int64_t ahead_bytes;
};

template <class T, int kM, int kN>
void panel_block(const PanelProduct<T>& p, std::int64_t row, std::int64_t column) {
  Lanes sums[kM][kN];
  IUSCORE_UNROLLED
  for (int m = 0; m < kM; ++m) {
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n) sums[m][n] = in_all_lanes(0.0f);
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
    for (int n = 0; n < kN; ++n) store(out + m * p.out_row + n * kLanes, sums[m][n]);
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

}  // namespace
}  // namespace iuscore::IUSCORE_ZONE
