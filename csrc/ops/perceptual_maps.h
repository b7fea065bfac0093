// Contract of the op `perceptual_maps`. What the maps are: docs/perceptual_maps.md.
#pragma once

#include <cstdint>

#include "ops/images.h"

namespace iuscore {

enum class MapType : std::int32_t { f32, f16, bf16 };

constexpr std::int32_t kMinMapSide = 4;  // of the maps: the Gaussian reflects three pixels at the border

struct PerceptualMapsArgs {
  const ImageView* images;  // [batch], sizes may differ
  std::int64_t batch;       // >= 0
  std::int32_t channels;    // 1 or 3
  PixelType pixel_type;
  bool color;           // color maps, else gray maps
  bool clean;           // clean mode, else the published one
  std::int32_t height;  // of the maps, >= kMinMapSide
  std::int32_t width;   // of the maps, >= kMinMapSide
  void* maps;           // [batch, 4, height, width], contiguous, map_type
  MapType map_type;
  float* ranges;         // [batch, 4]
  std::int32_t threads;  // >= 1
};

void perceptual_maps_cpu(const PerceptualMapsArgs& args);

// Where one image's resampling tables (core/resample.h) lie in `starts` and `weights`, in elements.
struct ImageTaps {
  std::int64_t row_start;   // starts[row_start + o], o < height of the maps
  std::int64_t row_weight;  // weights[row_weight + j * height + o], j < row_taps
  std::int64_t row_taps;
  std::int64_t column_start;
  std::int64_t column_weight;
  std::int64_t column_taps;
};

// All addresses are device memory. Images come in one of two forms:
// equal:  image i is `image` moved by i * batch_stride elements, with the tables `taps`; `images` is null;
// ragged: image i is images[i] with the tables image_taps[i]; `image`, `batch_stride` and `taps` are not read.
struct PerceptualMapsCudaArgs {
  ImageView image;
  ImageTaps taps;
  std::int64_t batch_stride;    // in elements
  const ImageView* images;      // [batch] or null
  const ImageTaps* image_taps;  // [batch] or null
  const std::int32_t* starts;
  const float* weights;
  std::int64_t batch;        // >= 0
  std::int64_t strip_width;  // width of the widest image that is resized; 0 if none is
  std::int32_t channels;     // 1 or 3
  PixelType pixel_type;
  bool color;           // color maps, else gray maps
  bool clean;           // clean mode, else the published one
  std::int32_t height;  // of the maps, >= kMinMapSide
  std::int32_t width;   // of the maps, >= kMinMapSide; height * width <= kMaxMapPixels
  void* maps;           // [batch, 4, height, width], contiguous, map_type
  MapType map_type;
  float* ranges;                 // [batch, 4]
  float* workspace;              // perceptual_maps_cuda_workspace() bytes; not read where that is 0
  std::int64_t workspace_bytes;  // of `workspace`
  std::int32_t device;           // ordinal; becomes the calling thread's current device
  std::int32_t threads;          // of a block: a multiple of 32 up to kMaxMapsBlock, or 0 to have it chosen
};

constexpr std::int64_t kMaxMapPixels = std::int64_t{1} << 29;  // pixels are counted in 32 bits on the device

// Threads of a block. The kernels need 80 registers to run without spills; with 1024 threads there would be 64.
constexpr std::int32_t kMaxMapsBlock = 768;

// Queues the kernel on `stream` (a cudaStream_t). Throws std::runtime_error with CUDA's reason.
void perceptual_maps_cuda(const PerceptualMapsCudaArgs& args, void* stream);

// Bytes of device memory that args.workspace must hold; 0 if everything fits shared memory. Reads the sizes and choices
// of `args`, no address.
std::int64_t perceptual_maps_cuda_workspace(const PerceptualMapsCudaArgs& args);

}  // namespace iuscore
