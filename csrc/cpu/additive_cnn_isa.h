// Parts of one network's forward pass, on one thread. Compiled once for each instruction set, AVX-512 VNNI among them;
// no std containers or templates with external linkage inside.
#pragma once

#include "core/macros.h"
#include "cpu/isa.h"
#include "ops/additive_cnn.h"

namespace iuscore {

IUSCORE_HD std::int64_t in_cnn_vectors(std::int64_t n) { return (n + kCnnVector - 1) / kCnnVector * kCnnVector; }
IUSCORE_HD std::int64_t in_tiles(std::int64_t n) { return (n + kCnnTile - 1) / kCnnTile; }
IUSCORE_HD std::int64_t in_pairs(std::int64_t n) { return n + (n & 1); }

// Pixels [height, width] with channels side by side; `pixel` points at pixel (0, 0).
struct CnnPlane {
  float* pixel;
  std::int64_t row;  // floats from one row to the next
  std::int64_t channels;
};

// The first convolution, which has one input channel, of some rows of the map.
struct CnnFirst {
  const float* map;  // with a border of zeros around it
  std::int64_t map_row;
  std::int64_t width;
  const float* kernels;  // [9, channels in whole vectors]
  const float* bias;
  CnnPlane out;
  std::int64_t first_row;
  std::int64_t rows;
};

// Some tiles of one of the other convolutions. Tiles are numbered row by row.
struct CnnTiles {
  const CnnConvolution* convolution;
  std::int32_t group;
  std::int64_t height;  // of the plane that comes in
  std::int64_t width;
  CnnPlane in;  // whole tiles, and around them a border of zeros
  CnnPlane out;
  std::int64_t first_tile;
  std::int64_t tiles;
  void* patches;    // 36 times cnn_point_step() floats, or as many integers if the convolution is quantized
  float* products;  // 36 times cnn_point_step() floats
  float* raw;       // only quantized: one tile's 36 times cnn_point_step(1) floats, before rounding
  float* units;     // only quantized: [36, tiles], the value that 1 stands for
};

// Distance between consecutive ones of a tile's 36 numbers. It is one cache line larger than needed: otherwise all 36
// would map to the same cache set.
IUSCORE_HD std::int64_t cnn_point_step(std::int64_t tiles, std::int64_t channels) {
  return tiles * in_cnn_vectors(channels) + 2 * kCnnVector;
}

// out[row] = weights^T values[row] + bias, for some rows.
struct CnnRows {
  const CnnLinear* linear;
  std::int32_t group;
  const float* values;
  std::int64_t values_row;
  std::int64_t rows;
  bool relu;
  float* out;
  std::int64_t out_row;
};

IUSCORE_IN_EVERY_ISA(void additive_cnn_first(const CnnFirst&); void additive_cnn_tiles(const CnnTiles&);
                     void additive_cnn_rows(const CnnRows&);)
namespace avx512_vnni {
void additive_cnn_first(const CnnFirst&);
void additive_cnn_tiles(const CnnTiles&);
void additive_cnn_rows(const CnnRows&);
}  // namespace avx512_vnni

}  // namespace iuscore
