// Contract of the op `additive_lookup`: docs/additive_mlp.md.
#pragma once

#include <cstdint>

namespace iuscore {

constexpr std::int32_t kMaxKnots = 1 << 24;  // float32 holds every number of a knot up to here

// G functions of one variable each, as tables. CPU: host memory; CUDA: device memory, all of it.
struct AdditiveLookupArgs {
  const float* x;  // [rows, G]
  std::int64_t stride_row;
  std::int64_t stride_group;  // in elements
  std::int64_t rows;          // >= 0
  std::int32_t groups;        // G >= 1
  std::int32_t knots;         // P of 2..kMaxKnots
  std::int32_t outputs;       // C >= 1
  const float* values;        // [G, P, C], contiguous, G P C < 2^31
  const float* low;           // [G], x of the first knot
  const float* scale;         // [G], knots per unit of x
  float* contributions;       // [rows, G, C]
  float* total;               // [rows, C]: contributions added up, groups ascending
};

void additive_lookup_cpu(const AdditiveLookupArgs& args, std::int32_t threads);

struct AdditiveLookupCudaArgs {
  AdditiveLookupArgs lookup;
  std::int32_t device;   // ordinal; becomes the calling thread's current device
  std::int32_t threads;  // of a block: a multiple of 32 up to kMaxLookupBlock, or 0 to have it chosen
};

constexpr std::int32_t kMaxLookupBlock = 256;

// Queues the kernel on `stream` (a cudaStream_t). Throws std::runtime_error with CUDA's reason.
void additive_lookup_cuda(const AdditiveLookupCudaArgs& args, void* stream);

}  // namespace iuscore
