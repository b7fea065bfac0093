// A kernel that reads its neighbor's shared value with no barrier before it. ThreadSanitizer must report this program:
// were it silent, its silence about the real kernels would mean nothing.
#include <cstdio>

#include "host_cuda.h"

__global__ void shift(int* out) {
  __shared__ int values[64];
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  // __syncthreads() belongs here.
  out[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}

int main() {
  int out[64];
  host_cuda::launch(shift, {1}, {64}, 0, static_cast<int*>(out));
  std::printf("%d\n", out[0]);
  return 0;
}
