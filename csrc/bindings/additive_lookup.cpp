// The op `additive_lookup`: csrc/ops/additive_lookup.h.
//
// x: (address, rows, G, stride of rows, stride of groups in elements). tables: addresses of values [G, knots, outputs],
// low [G] and scale [G], contiguous.
#include "ops/additive_lookup.h"

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

using TableAddresses = std::array<std::uintptr_t, 3>;  // values, low, scale

AdditiveLookupArgs additive_lookup_args(const FloatMatrix& x, std::int32_t knots, std::int32_t outputs,
                                        const TableAddresses& tables, std::uintptr_t contributions,
                                        std::uintptr_t total) {
  const auto [address, rows, groups, stride_row, stride_group] = x;
  constexpr std::int64_t kMax = 0x7fffffff;
  if (rows < 0) throw py::value_error("x: expected at least 0 rows");
  if (groups < 1 || groups > kMax) throw py::value_error("x: expected at least 1 column");
  if (knots < 2 || knots > kMaxKnots) throw py::value_error("knots: expected 2.." + std::to_string(kMaxKnots));
  if (outputs < 1 || groups * knots > kMax / outputs)
    throw py::value_error("outputs: expected at least 1, and tables of fewer than 2^31 values");
  AdditiveLookupArgs args{};
  args.x = float_address(address, "x", rows);
  args.stride_row = stride_row;
  args.stride_group = stride_group;
  args.rows = rows;
  args.groups = static_cast<std::int32_t>(groups);
  args.knots = knots;
  args.outputs = outputs;
  args.values = float_address(tables[0], "values");
  args.low = float_address(tables[1], "low");
  args.scale = float_address(tables[2], "scale");
  args.contributions = float_address(contributions, "contributions", rows);
  args.total = float_address(total, "total", rows);
  return args;
}

#if !defined(IUSCORE_CUDA_MODULE)

void additive_lookup(const FloatMatrix& x, std::int32_t knots, std::int32_t outputs, const TableAddresses& tables,
                     std::uintptr_t contributions, std::uintptr_t total, std::int32_t threads) {
  const AdditiveLookupArgs args = additive_lookup_args(x, knots, outputs, tables, contributions, total);
  const py::gil_scoped_release released;
  additive_lookup_cpu(args, std::max(threads, 1));
}

#else  // _cuda

void additive_lookup(std::int32_t device, std::uintptr_t stream, const FloatMatrix& x, std::int32_t knots,
                     std::int32_t outputs, const TableAddresses& tables, std::uintptr_t contributions,
                     std::uintptr_t total, std::int32_t threads) {
  checked_threads(threads, kMaxLookupBlock);
  const AdditiveLookupCudaArgs args{additive_lookup_args(x, knots, outputs, tables, contributions, total), device,
                                    threads};
  const py::gil_scoped_release released;
  additive_lookup_cuda(args, reinterpret_cast<void*>(stream));
}

#endif

}  // namespace

void bind_additive_lookup(py::module_& module) {
  using namespace py::literals;
#if !defined(IUSCORE_CUDA_MODULE)
  export_limit(module, "MAX_KNOTS", kMaxKnots);
  module.def("additive_lookup", &additive_lookup, py::kw_only(), "x"_a, "knots"_a, "outputs"_a, "tables"_a,
             "contributions"_a, "total"_a, "threads"_a, "Writes [rows, G, C] contributions and [rows, C] totals.");
#else
  module.def("additive_lookup", &additive_lookup, py::kw_only(), "device"_a, "stream"_a, "x"_a, "knots"_a, "outputs"_a,
             "tables"_a, "contributions"_a, "total"_a, "threads"_a = 0,
             "Queues the kernel that writes [rows, G, C] contributions and [rows, C] totals.");
#endif
}

}  // namespace iuscore
