// A small matrix product, the one inner loop of `additive_mlp`: columns in vector lanes, a block of rows by columns in
// registers, terms in ascending order.
#pragma once

#include <cstdint>

#include "cpu/lanes.h"

namespace iuscore::IUSCORE_ISA {
namespace {

enum class Start { zero, of_row, of_column, of_output };
enum class End { as_is, relu, masked };

// out[m][n] = end(start + sum over k of a[m, k] * b[k][n]) for m < rows, n < vectors * kLanes, k < terms.
// b and out have whole vectors of columns; what lies beyond the real ones there is computed and never looked at.
struct Product {
  const float* a;
  std::int64_t a_row, a_term;  // strides of a
  const float* b;
  std::int64_t b_term;
  float* out;
  std::int64_t out_row;
  std::int64_t rows;
  std::int64_t terms;
  int vectors;
  Start start;
  const float* bias;  // of rows or columns, where it starts the sum
  End end;
  // masked: what a ReLU that gave the value in `out` lets through; the result takes that value's place.
};

IUSCORE_HD Lanes started(const Product& p, std::int64_t row, std::int64_t column, const float* out) {
  if (p.start == Start::of_row) return in_all_lanes(p.bias[row]);
  if (p.start == Start::of_column) return load(p.bias + column);
  return p.start == Start::of_output ? load(out) : in_all_lanes(0.0f);
}

// kM rows times kN vectors of columns; kN loads and kM broadcasts serve kM * kN multiplications.
template <int kM, int kN>
void product_block(const Product& p, std::int64_t row, int vector) {
  Lanes sums[kM][kN];
  float* out = p.out + row * p.out_row + vector * kLanes;
  IUSCORE_UNROLLED
  for (int m = 0; m < kM; ++m) {
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n) {
      sums[m][n] = started(p, row + m, (vector + n) * kLanes, out + m * p.out_row + n * kLanes);
    }
  }
  const float* a = p.a + row * p.a_row;
  const float* b = p.b + vector * kLanes;
  const std::int64_t a_row = p.a_row;
  for (std::int64_t k = 0; k < p.terms; ++k) {
    Lanes columns[kN];
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n) columns[n] = load(b + n * kLanes);
    IUSCORE_UNROLLED
    for (int m = 0; m < kM; ++m) {
      const Lanes factor = in_all_lanes(a[m * a_row]);
      IUSCORE_UNROLLED
      for (int n = 0; n < kN; ++n) sums[m][n] = multiply_add(factor, columns[n], sums[m][n]);
    }
    a += p.a_term;
    b += p.b_term;
  }
  IUSCORE_UNROLLED
  for (int m = 0; m < kM; ++m) {
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n) {
      float* at = out + m * p.out_row + n * kLanes;
      if (p.end == End::relu) sums[m][n] = relu(sums[m][n]);
      if (p.end == End::masked) sums[m][n] = gradient_through(load(at), sums[m][n]);
      store(at, sums[m][n]);
    }
  }
}

// All rows of kN vectors of columns, kM at a time while there are so many.
template <int kM, int kN>
void product_columns(const Product& p, std::int64_t row, int vector) {
  for (; row + kM <= p.rows; row += kM) product_block<kM, kN>(p, row, vector);
  if constexpr (kM > 1) {
    if (row < p.rows) product_columns<kM / 2, kN>(p, row, vector);
  }
}

// Blocks that fill the vector registers: 32 (AVX-512) or 16.
constexpr int kWide = kLanes == 16 ? 4 : 3;

[[maybe_unused]] void multiply(const Product& p) {
  int vector = 0;
  for (; vector + kWide <= p.vectors; vector += kWide) product_columns<4, kWide>(p, 0, vector);
  for (; vector + 2 <= p.vectors; vector += 2) product_columns<kLanes == 16 ? 8 : 4, 2>(p, 0, vector);
  for (; vector < p.vectors; ++vector) product_columns<8, 1>(p, 0, vector);
}

constexpr std::int64_t in_whole_lanes(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
