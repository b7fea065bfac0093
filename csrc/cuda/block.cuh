// What the threads of a block do together. All threads of the block call each function.
#pragma once

#include <cstdint>

#include "core/macros.h"
#include "core/range.h"

#if !defined(__CUDACC__) && !defined(IUSCORE_HOST_CUDA)
#error "compile with nvcc, or include tests/cpp/host_cuda.h first"
#endif

namespace iuscore {

constexpr std::int32_t kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Before loops. ROLLED: the bodies of loops over pixels are long; unrolled they gain nothing and spill registers.
#if defined(__CUDACC__)
#define IUSCORE_ROLLED _Pragma("unroll 1")
#define IUSCORE_UNROLLED_BY_2 _Pragma("unroll 2")
#define IUSCORE_UNROLLED _Pragma("unroll")
#define IUSCORE_NOINLINE __noinline__ static  // so that its registers do not add to those of the caller
#else
#define IUSCORE_ROLLED
#define IUSCORE_UNROLLED_BY_2
#define IUSCORE_UNROLLED
#define IUSCORE_NOINLINE static
#endif

// Four consecutive values moved by one load or store.
template <class T>
struct alignas(4 * sizeof(T)) Four {
  T values[4];
};

#if defined(__CUDACC__)
__device__ inline float* dynamic_shared() {
  extern __shared__ float4 iuscore_dynamic_shared[];
  return reinterpret_cast<float*>(iuscore_dynamic_shared);
}
#else
inline float* dynamic_shared() { return static_cast<float*>(host_cuda::dynamic_shared()); }
#endif

__device__ inline void widen_over_warp(Range& range) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    const float low = __shfl_xor_sync(kAllLanes, range.low, offset);
    const float high = __shfl_xor_sync(kAllLanes, range.high, offset);
    widen(range, low, high);
  }
}

__device__ inline std::int64_t sum_over_warp(std::int64_t value) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(kAllLanes, value, offset);
  return value;
}

__device__ inline std::uint64_t sum_over_warp(std::uint64_t value) {
  return static_cast<std::uint64_t>(sum_over_warp(static_cast<std::int64_t>(value)));
}

// Widens the first kRanges ranges of each thread to those of the block. Has a barrier: all threads see what the others
// wrote before. scratch: shared, [kRanges, 2, kWarpSize].
template <int kRanges>
__device__ void widen_over_block(Range* ranges, float* scratch) {
  const auto warp = static_cast<std::int32_t>(threadIdx.x) / kWarpSize;
  const auto lane = static_cast<std::int32_t>(threadIdx.x) % kWarpSize;
  const auto warps = static_cast<std::int32_t>(blockDim.x) / kWarpSize;
  for (int r = 0; r < kRanges; ++r) widen_over_warp(ranges[r]);
  __syncthreads();  // scratch of an earlier call may still be read
  if (lane == 0) {
    for (int r = 0; r < kRanges; ++r) {
      scratch[2 * r * kWarpSize + warp] = ranges[r].low;
      scratch[(2 * r + 1) * kWarpSize + warp] = ranges[r].high;
    }
  }
  __syncthreads();
  for (int r = 0; r < kRanges; ++r) {
    if (lane < warps) ranges[r] = {scratch[2 * r * kWarpSize + lane], scratch[(2 * r + 1) * kWarpSize + lane]};
    widen_over_warp(ranges[r]);
  }
}

}  // namespace iuscore
