// What every launcher needs: CUDA's errors as exceptions, attributes of the device, and the launch itself.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "cuda/device.h"

#if !defined(__CUDACC__) && !defined(IUSCORE_HOST_CUDA)
#error "compile with nvcc, or include tests/cpp/host_cuda.h first"
#endif

namespace iuscore {

constexpr std::int64_t kGrantedShared = 48 * 1024;  // bytes of shared memory that a kernel can use without asking

// Calls CUDA for one op, whose name begins its error messages.
class Launcher {
 public:
  Launcher(const char* op, std::int32_t device) : op_(op), device_(device) {}

  void check(cudaError_t error, const char* what) const { check_cuda(error, op_, what); }

  std::int32_t attribute(cudaDeviceAttr which) const {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device_), "cannot read an attribute of the device");
    return value;
  }

  // The largest shared memory that a block may ask for, in bytes.
  std::int64_t shared_limit() const { return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin); }
  std::int32_t multiprocessors() const { return attribute(cudaDevAttrMultiProcessorCount); }

  // The device is current as long as the returned object lives.
  [[nodiscard]] CurrentDevice use_device() const { return CurrentDevice(device_, op_); }

  void check_workspace(std::int64_t needed, std::int64_t given) const {
    if (needed > given)
      throw std::runtime_error(std::string(op_) + ": workspace: expected " + std::to_string(needed) + " bytes, got " +
                               std::to_string(given));
  }

  template <class... Parameters, class... Arguments>
  void launch(void (*kernel)(Parameters...), std::int64_t blocks, std::int32_t threads, std::int64_t shared_bytes,
              void* stream, const Arguments&... arguments) const {
    // Always the same value: the attribute belongs to the kernel, and threads that set different values would undo each
    // other's. No kernel has static shared memory, which would count as well.
    if (shared_bytes > kGrantedShared)
      check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_limit())),
            "cannot reserve shared memory");
#if defined(__CUDACC__)
    kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads), static_cast<std::size_t>(shared_bytes),
             static_cast<cudaStream_t>(stream)>>>(arguments...);
#else
    fake_cuda::start(kernel, blocks, threads, shared_bytes, static_cast<cudaStream_t>(stream), arguments...);
#endif
    check(cudaGetLastError(), "the kernel was not started");
  }

 private:
  const char* op_;
  std::int32_t device_;
};

}  // namespace iuscore
