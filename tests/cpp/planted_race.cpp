// Kernels with a deliberate fault. Every way of running kernels on the host must report it: a way that misses the fault
// proves nothing about the real kernels. Usage: planted_race FAULT.
#include <cstdio>
#include <string>

#include "host_cuda.h"

// Reads its neighbor's shared value with no barrier before it.
__global__ void shift(int* out) {
  __shared__ int values[64];
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  // __syncthreads() belongs here.
  out[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}

// Both blocks write one result.
__global__ void same_place(int* out) {
  if (threadIdx.x == 0) out[0] = static_cast<int>(blockIdx.x);
}

// Every block reads what the block before it wrote.
__global__ void in_turn(int* out) { out[1 + blockIdx.x] = out[blockIdx.x] + 1; }

// Counts without an atomic operation, while other threads count with one.
__global__ void counts(int* out) {
  const int before = out[0];
  atomicAdd(out + 1, 1);
  out[0] = before + 1;
}

// One thread waits in a shuffle for its warp, while the rest of the warp waits for it at a barrier.
__global__ void stuck(int* out) {
  if (threadIdx.x == 0) return static_cast<void>(out[0] = __shfl_xor_sync(0xffffffffu, 1, 1));
  __syncthreads();
}

// The two halves of a warp call shuffles in two different lines.
__global__ void apart(int* out) {
  if (threadIdx.x % 2 == 0) {
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
  } else {
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 2, 1);
  }
}

int main(int, char** values) {
  const std::string fault = values[1];
  const auto kernel = fault == "shift"        ? shift
                      : fault == "same_place" ? same_place
                      : fault == "in_turn"    ? in_turn
                      : fault == "counts"     ? counts
                      : fault == "stuck"      ? stuck
                                              : apart;
  int out[64] = {};
  const unsigned threads = fault == "in_turn" ? 1 : 64;
  host_cuda::launch(kernel, {fault == "shift" || fault == "counts" ? 1u : 2u}, {threads}, 0, static_cast<int*>(out));
  for (const int value : out) std::printf("%d ", value);
  return 0;
}
