// Contract of the op `additive_cnn`: docs/additive_cnn.md.
#pragma once

#include <cstdint>

namespace iuscore {

// Channels and units stand in memory in multiples of this; what fills up is zero.
constexpr std::int64_t kCnnVector = 16;
// Columns of a packed matrix that stand together: matrix [terms, n] is stored as ceil(n / 32) panels [terms, 32], the
// last of 16 where that is enough.
constexpr std::int64_t kCnnPanel = 32;
// Numbers of a transformed tile: 4x4 outputs of a 3x3 kernel need 6x6.
constexpr std::int64_t kCnnTile = 4;
constexpr std::int64_t kCnnPatch = 6;
constexpr std::int64_t kCnnPoints = kCnnPatch * kCnnPatch;
// A number of a narrow patch is at most this. Sums of products with a narrow kernel fit 32 bits: where kernels are
// packed, their magnitudes add up to (2^31 - 1) / kCnnNarrow at most.
constexpr std::int32_t kCnnNarrow = 4095;

// A 3x3 convolution with ReLU. in and out are the real numbers of channels.
struct CnnConvolution {
  std::int32_t in;
  std::int32_t out;
  bool pooled;          // then 2x2 max pooling, and value * scale + shift
  bool narrow;          // kernels are 16-bit integers, and so are patches; products are summed in 32 bits, exactly
  const void* kernels;  // [G] times 36 packed matrices [in rounded up to even, out], float or int16
  const float* unit;    // [G, 36, out in whole vectors]: what 1 stands for in narrow kernels; null where they are not
  const float* bias;    // [G, out in whole vectors]
  const float* scale;   // the same; null where not pooled
  const float* shift;   // the same
  std::int64_t step;    // values of `kernels` from one network to the next
};

// A matrix and bias. relu follows all but the last one.
struct CnnLinear {
  std::int64_t in;  // rows of the matrix; of the first: height * width * channels in whole vectors, channels last
  std::int32_t out;
  const float* weights;  // [G] times a packed matrix [in, out]
  const float* bias;     // [G, out in whole vectors]
};

// G networks of the same shape, each for its own map.
struct AdditiveCnnArgs {
  const float* maps;    // [batch, G, height, width], contiguous
  std::int64_t batch;   // >= 0
  std::int32_t groups;  // G >= 1
  std::int64_t height;
  std::int64_t width;
  std::int32_t channels;               // of the first convolution, which has one input and no pooling
  const float* first_kernels;          // [G, 9, channels in whole vectors]
  const float* first_bias;             // [G, channels in whole vectors]
  const CnnConvolution* convolutions;  // the others, at least one
  std::int32_t n_convolutions;
  const CnnLinear* linears;  // at least one
  std::int32_t n_linears;
  float* evidence;  // [batch, G, out of the last linear]; NaN of a map that is not finite
};

// Whether this CPU adds up products of 16-bit integers by one instruction, so that a convolution may be narrow.
bool additive_cnn_has_narrow();
// Whether this CPU fuses multiplication and addition. Where not, results have the same bits but take very long.
bool additive_cnn_has_fma();

// Throws std::runtime_error where a convolution is narrow and may not be.
void additive_cnn_cpu(const AdditiveCnnArgs& args, std::int32_t threads);

}  // namespace iuscore
