// x: (address, rows, G, stride of rows, stride of groups in elements); tables: addresses of values [G, knots, outputs],
// low [G] and scale [G], contiguous.
#include "bindings/additive_lookup_arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

void additive_lookup(const FloatMatrix& x, std::int32_t knots, std::int32_t outputs, const TableAddresses& tables,
                     std::uintptr_t contributions, std::uintptr_t total, std::int32_t threads) {
  const AdditiveLookupArgs args = additive_lookup_args(x, knots, outputs, tables, contributions, total);
  const py::gil_scoped_release released;
  additive_lookup_cpu(args, std::max(threads, 1));
}

}  // namespace

void bind_additive_lookup(py::module_& module) {
  using namespace py::literals;
  module.def("additive_lookup", &additive_lookup, py::kw_only(), "x"_a, "knots"_a, "outputs"_a, "tables"_a,
             "contributions"_a, "total"_a, "threads"_a, "Writes [rows, G, C] contributions and [rows, C] totals.");
}

}  // namespace iuscore
