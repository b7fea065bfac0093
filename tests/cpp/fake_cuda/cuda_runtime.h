// Stands in the way of CUDA's header: a runtime of four devices that counts, and refuses what it is told to.
#pragma once

enum cudaError_t { cudaSuccess, cudaErrorInvalidDevice };

namespace fake_cuda {
inline int current = 0;
inline int switches = 0;
inline cudaError_t last = cudaSuccess;
}  // namespace fake_cuda

inline cudaError_t cudaGetDevice(int* device) {
  *device = fake_cuda::current;
  return cudaSuccess;
}

inline cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device > 3) return fake_cuda::last = cudaErrorInvalidDevice;
  fake_cuda::current = device;
  ++fake_cuda::switches;
  return cudaSuccess;
}

inline cudaError_t cudaGetLastError() {
  const cudaError_t error = fake_cuda::last;
  fake_cuda::last = cudaSuccess;
  return error;
}

inline const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaSuccess ? "none" : "cudaErrorInvalidDevice";
}
inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "" : "invalid device ordinal";
}
