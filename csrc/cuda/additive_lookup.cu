// Tables of functions. Each warp looks up a row at a time, its lanes neighboring groups; then each thread adds up a
// row.
#include "core/lookup.h"
#include "core/mlp.h"
#include "cuda/block.cuh"
#include "cuda/launch.h"
#include "ops/additive_lookup.h"

namespace iuscore {

constexpr std::int32_t kLookupRows = 64;  // of a block

__global__ void __launch_bounds__(kMaxLookupBlock)
    additive_lookup_kernel(const __grid_constant__ AdditiveLookupArgs args) {
  const auto lane = static_cast<std::int32_t>(threadIdx.x) % kWarpSize;
  const auto warp = static_cast<std::int32_t>(threadIdx.x) / kWarpSize;
  const auto warps = static_cast<std::int32_t>(blockDim.x) / kWarpSize;
  const std::int64_t first = std::int64_t{blockIdx.x} * kLookupRows;
  const std::int64_t end = first + kLookupRows < args.rows ? first + kLookupRows : args.rows;
  const std::int32_t c = args.outputs;
  for (std::int64_t row = first + warp; row < end; row += warps)
    for (std::int32_t g = lane; g < args.groups; g += kWarpSize) {
      const float x = args.x[row * args.stride_row + g * args.stride_group];
      const TablePlace place = table_place(x, args.low[g], args.scale[g], args.knots - 1);
      const float* left = args.values + (std::int64_t{g} * args.knots + place.cell) * c;
      float* out = args.contributions + (row * args.groups + g) * c;
      for (std::int32_t i = 0; i < c; ++i) out[i] = table_value(x, left[i], left[c + i], place.part);
    }
  __syncthreads();
  for (std::int64_t at = first * c + threadIdx.x; at < end * c; at += blockDim.x) {
    const float* from = args.contributions + at / c * args.groups * c + at % c;
    float sum = *from;
    for (std::int32_t g = 1; g < args.groups; ++g) sum = sum + from[std::int64_t{g} * c];
    args.total[at] = canonical_nan(sum);
  }
}

void additive_lookup_cuda(const AdditiveLookupCudaArgs& args, void* stream) {
  const AdditiveLookupArgs& lookup = args.lookup;
  if (lookup.rows == 0) return;
  const Launcher launcher("additive_lookup", args.device);
  const CurrentDevice current = launcher.use_device();
  launcher.launch(additive_lookup_kernel, (lookup.rows + kLookupRows - 1) / kLookupRows,
                  args.threads > 0 ? args.threads : 128, 0, stream, lookup);
}

}  // namespace iuscore
