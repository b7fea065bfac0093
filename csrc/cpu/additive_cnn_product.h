// The matrix product of `additive_cnn`: columns in vector lanes, a block of rows by columns in registers, terms in
// ascending order.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/lanes.h"
#include "ops/additive_cnn.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// What is multiplied: floats.
struct Single {
  using Value = float;
  using Sum = Lanes;
  static constexpr int kTerms = 1;  // a multiplication takes
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
// Pairs of integers that lie side by side; sums are exact, so no order shows.
struct Narrow {
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
  // Bits of numbers without their signs, which order as those do; those of NaN lie above all.
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
    const __m256i narrow = _mm512_maskz_cvtepi32_epi16(0xffff, _mm512_maskz_cvtps_epi32(0xffff, v));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow);
  }
  template <class Product>
  static Lanes value(Sum sum, const Product& p, std::int64_t row, std::int64_t column) {
    return multiply(_mm512_maskz_cvtepi32_ps(0xffff, (__m512i)sum),
                    multiply(in_all_lanes(p.row_units[row]), load(p.column_units + column)));
  }
};
#endif

// out[m][n] = sum over k < terms of a[m][k] * panel[k][n], times units of row and column where these are integers.
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
  const float* row_units;  // null where these are floats
  const float* column_units;
  // What is read next; while this panel is used, so many bytes of it are brought near for each row and multiplication.
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

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
