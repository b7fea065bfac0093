#include "bindings/module.h"
#include "cpu/isa.h"
#include "ops/additive_cnn.h"

namespace py = pybind11;

namespace {

py::dict build_info() {
  using namespace py::literals;
  return py::dict("version"_a = IUSCORE_VERSION, "commit"_a = IUSCORE_COMMIT, "compiler"_a = IUSCORE_COMPILER,
                  "cuda"_a = IUSCORE_CUDA_STATUS, "cpu_isa"_a = iuscore::isa_name(iuscore::current_isa()),
                  "cpu_vnni"_a = iuscore::additive_cnn_has_vnni(), "cpu_fma"_a = iuscore::additive_cnn_has_fma());
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "CPU kernels of iuscore.";
  module.def("build_info", &build_info,
             "Version, commit, compiler and CUDA status of this build; instruction set in use, and what it can do.");
  iuscore::bind_ops(module);
}
