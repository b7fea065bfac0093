// Contract of the op `resize`. What it computes: docs/resize.md.
#pragma once

#include <cstdint>

#include "ops/images.h"

namespace iuscore {

constexpr std::int32_t kMinResizeShift = 1;
constexpr std::int32_t kMaxResizeShift = 22;

// One direction, made by ops/_taps.py: output o = sum over j < taps of weights[o, j] * input[start[o] + j], rounded.
// Weights beyond the last input are 0, and nothing is read there.
struct ResizeTaps {
  const std::int32_t* start;    // [out], 0 .. in - 1
  const std::int16_t* weights;  // [out, taps]
  std::int32_t taps;            // >= 1; 0: this direction keeps its size
  std::int32_t shift;           // fraction bits of the weights
  std::int32_t out;             // >= 1
};

struct ResizeArgs {
  const ImageView* images;  // [batch] of bytes, all of one height and width
  std::int64_t batch;       // >= 0
  std::int32_t channels;    // 1 or 3
  ResizeTaps columns;       // first, rounded to bytes between
  ResizeTaps rows;
  std::uint8_t* const* out;  // [batch] addresses of [rows.out, columns.out, channels]
  std::int32_t threads;      // >= 1
};

void resize_cpu(const ResizeArgs& args);

constexpr std::int32_t kMaxResizeBlock = 256;  // threads of a block

// Images of one size: image i is `image` moved by i * batch_stride elements. All addresses are device memory.
struct ResizeCudaArgs {
  ImageView image;  // bytes
  std::int64_t batch_stride;
  std::int64_t batch;     // >= 0
  std::int32_t channels;  // 1 or 3
  ResizeTaps columns;
  ResizeTaps rows;
  std::uint8_t* out;     // [batch, rows.out, columns.out, channels]
  std::int32_t device;   // ordinal; becomes the calling thread's current device
  std::int32_t threads;  // of a block: a multiple of 32, 32..kMaxResizeBlock, or 0 to have it chosen
};

// Queues the kernel on `stream` (a cudaStream_t). Throws std::runtime_error with CUDA's reason.
void resize_cuda(const ResizeCudaArgs& args, void* stream);

// Whether the input rows of one output row fit a block's shared memory. Reads device, channels, image.height,
// columns.out and rows.taps.
bool resize_cuda_fits(const ResizeCudaArgs& args);

}  // namespace iuscore
