#include <cuda_runtime_api.h>

#include <string>

#include "bindings/module.h"

namespace py = pybind11;

namespace {

// Never raises: that a machine has no driver is a result, not an error.
py::dict status() {
  using namespace py::literals;
  int runtime = 0;
  int driver = 0;
  int devices = 0;
  cudaError_t error = cudaRuntimeGetVersion(&runtime);
  if (error == cudaSuccess) error = cudaDriverGetVersion(&driver);
  if (error == cudaSuccess) error = cudaGetDeviceCount(&devices);
  static_cast<void>(cudaGetLastError());  // clears the error, which a later check would find
  py::object text = py::none();
  if (error != cudaSuccess) text = py::str(std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error));
  return py::dict("runtime"_a = runtime, "driver"_a = driver, "devices"_a = devices, "error"_a = text);
}

py::dict build_info() {
  using namespace py::literals;
  return py::dict("commit"_a = IUSCORE_COMMIT, "nvcc"_a = IUSCORE_NVCC, "architectures"_a = IUSCORE_CUDA_ARCHITECTURES);
}

}  // namespace

PYBIND11_MODULE(_cuda, module) {
  module.doc() = "CUDA kernels of iuscore.";
  module.def("status", &status,
             "CUDA runtime and driver version (0 without a driver), number of devices, and CUDA's error or None.");
  module.def("build_info", &build_info, "Commit, nvcc and architectures of this build.");
  iuscore::bind_ops(module);
}
