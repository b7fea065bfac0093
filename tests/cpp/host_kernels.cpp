// A Python module with what _cuda offers: the same bindings, launchers and kernel bodies, on the host. Addresses are
// host memory. The launchers and bodies are in run_<op>.cpp, which is linked with it.

// clang-format off
#include "host_cuda.h"  // first: it gives the words of the .cu a meaning
// clang-format on

#include <pybind11/stl.h>

#include <string>
#include <utility>

#include "bindings/bind_additive_cnn_cuda.cpp"
#include "bindings/bind_additive_lookup_cuda.cpp"
#include "bindings/bind_additive_mlp_cuda.cpp"
#include "bindings/bind_color_histogram_cuda.cpp"
#include "bindings/bind_glcm_cuda.cpp"
#include "bindings/bind_glcm_features_cuda.cpp"
#include "bindings/bind_perceptual_maps_cuda.cpp"
#include "bindings/bind_resize_cuda.cpp"
#include "bindings/bind_texture_stats_cuda.cpp"
#include "bindings/module.h"

namespace py = pybind11;

PYBIND11_MODULE(host_kernels, module) {
  using namespace py::literals;
  module.def("status",
             [] { return py::dict("runtime"_a = 0, "driver"_a = 0, "devices"_a = 1, "error"_a = py::none()); });
  module.def("set_order", [](const std::string& name) { host_cuda::set_order(name); }, "Of host_fibers.h.");
  module.def("set_multiprocessors", [](int count) { fake_cuda::multiprocessors = count; });
  module.def(
      "widths", [] { return std::exchange(fake_cuda::widths, {}); }, "Threads of the blocks since the last call.");
  iuscore::bind_cuda_ops(module);
}
