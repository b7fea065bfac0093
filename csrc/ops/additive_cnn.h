// Contract of the op `additive_cnn`: docs/additive_cnn.md.
#pragma once

#include <cstdint>

namespace iuscore {

// Numbers of channels and of units are rounded up to multiples of this, and filled up with zeros.
constexpr std::int64_t kCnnVector = 16;
// Columns of a panel: a packed matrix [terms, n] is stored as ceil(n / 32) panels [terms, 32]; the last panel has 16
// columns if that is enough.
constexpr std::int64_t kCnnPanel = 32;
// A tile has 4x4 outputs, which need a patch of 6x6 inputs with a 3x3 kernel: 36 numbers, one for each point.
constexpr std::int64_t kCnnTile = 4;
constexpr std::int64_t kCnnPatch = 6;
constexpr std::int64_t kCnnPoints = kCnnPatch * kCnnPatch;
// The largest magnitude in a quantized patch. Kernels are packed so that the sum of their magnitudes is at most
// (2^31 - 1) / kCnnMaxPatch: sums of products then fit 32 bits.
constexpr std::int32_t kCnnMaxPatch = 4095;

// A 3x3 convolution with ReLU. in and out are the real numbers of channels.
struct CnnConvolution {
  std::int32_t in;
  std::int32_t out;
  bool pooled;          // then 2x2 max pooling, and value * scale + shift
  bool quantized;       // kernels and patches are 16-bit integers, and products are summed exactly in 32 bits
  const void* kernels;  // [G] times 36 packed matrices [in rounded up to even, out], float or int16
  const float* unit;    // quantized: [G, 36, out in whole vectors], the value that 1 stands for; else null
  const float* bias;    // [G, out in whole vectors]
  const float* scale;   // the same; null if not pooled
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

// Whether this CPU has AVX-512 VNNI, which multiplies and sums 16-bit integers; convolutions may then be quantized.
bool additive_cnn_has_vnni();
// Whether this CPU has fused multiply-add. Without it results have the same bits but take very long.
bool additive_cnn_has_fma();

// Throws std::runtime_error if a convolution is quantized and this CPU has no AVX-512 VNNI.
void additive_cnn_cpu(const AdditiveCnnArgs& args, std::int32_t threads);

// ---- CUDA kernels. cuDNN computes the convolutions between them. All addresses are device memory. float16 values are
// held as their bits, aligned to 16 bytes; numbers of channels are multiples of kCnnLanes, filled up with zeros.

constexpr std::int32_t kCnnLanes = 8;  // float16 values in 16 bytes
constexpr std::int32_t kCnnUnits = 4;  // units of the first linear layer are rounded up to multiples of this
constexpr std::int32_t kMaxCnnLinears = 8;
constexpr std::int32_t kMaxCnnUnits = 4096;  // of a linear layer

// The first convolution of all networks, bias and ReLU.
struct CnnFirstArgs {
  const float* maps;  // [batch, G, height, width]
  std::int64_t stride_image;
  std::int64_t stride_group;
  std::int64_t stride_row;  // in elements; columns are neighbors
  std::int32_t batch;       // >= 0
  std::int32_t groups;      // G >= 1; batch * G < 2^31
  std::int32_t height;
  std::int32_t width;
  std::int32_t channels;
  const float* kernels;  // [G, 9, channels]
  const float* bias;     // [G, channels]
  std::uint16_t* out;    // [G, batch, height, width, channels]
  std::int32_t*
      nonfinite;  // [G, batch], 0 before; set to 1 if a map or a value computed from it is not finite in float16
};

// The epilogue of a convolution that had no bias: bias and ReLU, in place; or bias, ReLU, 2x2 max pooling and batch
// norm.
struct CnnEpilogueArgs {
  std::uint16_t* in;  // [images, height, width, channels]
  std::int64_t images;
  std::int32_t height;
  std::int32_t width;
  std::int32_t channels;
  std::int32_t used;   // channels without those that fill up, which become 0
  const float* bias;   // [used], of the convolution
  std::uint16_t* out;  // [images, height / 2, width / 2, channels]; null: in place
  const float* mean;   // [used], and so on; null where in place
  const float* variance;
  const float* weight;  // null: 1
  const float* shift;   // null: 0
  float eps;
  std::int32_t* nonfinite;  // [images], as above
};

// The linear layers of all networks, ReLU after all but the last.
struct CnnHeadsArgs {
  const std::uint16_t* features;  // [G, batch, terms]
  std::int32_t batch;             // >= 0
  std::int32_t groups;            // batch * G < 2^31
  std::int64_t terms;             // a multiple of kCnnLanes
  std::int32_t n_linears;         // 1..kMaxCnnLinears
  std::int32_t units[kMaxCnnLinears];
  const std::uint16_t* weights;  // of the first layer: [G, units in fours, terms]
  const float* rest;             // [G, rest_floats]: bias of the first layer; weights [in, out] and bias of the others
  std::int64_t rest_floats;
  const std::int32_t* nonfinite;  // [G, batch]
  float* sums;                    // workspace: additive_cnn_heads_workspace(args) floats
  float* evidence;                // [batch, G, units of the last layer]; NaN if nonfinite
};

// Floats; depends on the sizes alone.
std::int64_t additive_cnn_heads_workspace(const CnnHeadsArgs& args);

// Queue kernels on `stream` (a cudaStream_t) of `device`, which becomes the calling thread's current one. Throw
// std::runtime_error with CUDA's reason.
void additive_cnn_first_cuda(const CnnFirstArgs& args, std::int32_t device, void* stream);
void additive_cnn_epilogue_cuda(const CnnEpilogueArgs& args, std::int32_t device, void* stream);
void additive_cnn_heads_cuda(const CnnHeadsArgs& args, std::int32_t device, void* stream);

}  // namespace iuscore
