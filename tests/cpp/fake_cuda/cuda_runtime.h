// Replaces CUDA's header: a runtime with four devices, each as large as an H200. It counts calls. It refuses the calls
// that a test tells it to refuse, and launches that no GPU would start. Kernels run on the host before a launch
// returns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

enum cudaError_t { cudaSuccess, cudaErrorInvalidValue, cudaErrorInvalidConfiguration, cudaErrorInvalidDevice };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrMultiProcessorCount };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
using cudaStream_t = void*;

namespace fake_cuda {

constexpr std::int64_t kGrantedShared = 48 * 1024;  // bytes that every block has
constexpr std::int64_t kMaxShared = 227 * 1024;     // and after cudaFuncSetAttribute
inline int current = 0;
inline int switches = 0;
inline int multiprocessors = 132;
inline cudaError_t last = cudaSuccess;
inline std::vector<int> widths;        // threads of the blocks that were started
inline std::set<const void*> granted;  // kernels that may have kMaxShared

inline cudaError_t answer(cudaError_t error) { return error == cudaSuccess ? error : last = error; }

}  // namespace fake_cuda

inline cudaError_t cudaGetDevice(int* device) {
  *device = fake_cuda::current;
  return cudaSuccess;
}

inline cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device > 3) return fake_cuda::answer(cudaErrorInvalidDevice);
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
  switch (error) {
    case cudaSuccess:
      return "none";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
  }
  return "";
}

inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
  }
  return "";
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int device) {
  if (device < 0 || device > 3) return fake_cuda::answer(cudaErrorInvalidDevice);
  *value = which == cudaDevAttrMultiProcessorCount ? fake_cuda::multiprocessors : int{fake_cuda::kMaxShared};
  return cudaSuccess;
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int bytes) {
  if (bytes > fake_cuda::kMaxShared) return fake_cuda::answer(cudaErrorInvalidValue);
  fake_cuda::granted.insert(reinterpret_cast<const void*>(kernel));
  return cudaSuccess;
}

inline cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t) {
  std::memset(memory, value, bytes);
  return cudaSuccess;
}
