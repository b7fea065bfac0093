// A Python module that offers what _cuda offers: the same bindings, launchers and kernel bodies, run on the host.
// Addresses point to host memory. Linked with csrc/bindings/<op>.cpp (bindings) and run_<op>.cpp (launchers and kernel
// bodies) of all ops.

// clang-format off
#include "host_cuda.h"  // must come first: it defines the CUDA keywords used in the .cu
// clang-format on

#include <pybind11/stl.h>

#include <string>
#include <utility>

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
  iuscore::bind_ops(module);
}
