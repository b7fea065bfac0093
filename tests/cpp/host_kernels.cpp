// A Python module with what _cuda offers for additive_cnn: the same bindings, launchers and kernel bodies, on the host.
// Addresses are host memory.

// clang-format off
#include "host_cuda.h"  // first: it gives the words of the .cuh a meaning
// clang-format on

#include "bindings/bind_additive_cnn_cuda.cpp"
#include "cuda/additive_cnn.cu"

PYBIND11_MODULE(host_kernels, module) { iuscore::bind_additive_cnn_cuda(module); }
