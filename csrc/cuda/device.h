// The device that a launcher works on, and the caller's, which stays current.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace iuscore {

// Throws std::runtime_error with CUDA's reason if there is an error. Clears the runtime's last error, which the next
// launch of any op would report otherwise.
inline void check_cuda(cudaError_t error, const char* op, const char* what) {
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw std::runtime_error(std::string(op) + ": " + what + ": " + cudaGetErrorName(error) + ": " +
                           cudaGetErrorString(error));
}

// Makes a device current while in scope. The runtime has one current device for each thread, which PyTorch uses as
// well; so the caller's device is restored, also after an exception.
class CurrentDevice {
 public:
  CurrentDevice(std::int32_t device, const char* op) : device_(device) {
    check_cuda(cudaGetDevice(&before_), op, "cannot ask for the current device");
    if (before_ != device_) check_cuda(cudaSetDevice(device_), op, "cannot use the device");
  }
  ~CurrentDevice() {
    if (before_ != device_) static_cast<void>(cudaSetDevice(before_));
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int device_;
  int before_ = 0;
};

}  // namespace iuscore
