// As bind_additive_lookup.cpp, on the device: all addresses are device memory; `stream` is torch's
// `Stream.cuda_stream`; threads: of a block, 0 to have it chosen.
#include "bindings/additive_lookup_arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

void additive_lookup(std::int32_t device, std::uintptr_t stream, const FloatMatrix& x, std::int32_t knots,
                     std::int32_t outputs, const TableAddresses& tables, std::uintptr_t contributions,
                     std::uintptr_t total, std::int32_t threads) {
  if (threads < 0 || threads > kLargestLookupBlock || threads % 32 != 0)
    throw py::value_error("threads: expected 0 or a multiple of 32 up to " + std::to_string(kLargestLookupBlock));
  const AdditiveLookupCudaArgs args{additive_lookup_args(x, knots, outputs, tables, contributions, total), device,
                                    threads};
  const py::gil_scoped_release released;
  additive_lookup_cuda(args, reinterpret_cast<void*>(stream));
}

}  // namespace

void bind_additive_lookup_cuda(py::module_& module) {
  using namespace py::literals;
  module.def("additive_lookup", &additive_lookup, py::kw_only(), "device"_a, "stream"_a, "x"_a, "knots"_a, "outputs"_a,
             "tables"_a, "contributions"_a, "total"_a, "threads"_a = 0,
             "Queues the kernel that writes [rows, G, C] contributions and [rows, C] totals.");
}

}  // namespace iuscore
