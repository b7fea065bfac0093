// Python values -> csrc/ops/additive_lookup.h, for both modules. Raises ValueError for what could read or write outside
// the buffers.
#pragma once

#include "bindings/additive_mlp_arguments.h"
#include "ops/additive_lookup.h"

namespace iuscore {

using TableAddresses = std::array<std::uintptr_t, 3>;  // values, low, scale

inline AdditiveLookupArgs additive_lookup_args(const FloatMatrix& x, std::int32_t knots, std::int32_t outputs,
                                               const TableAddresses& tables, std::uintptr_t contributions,
                                               std::uintptr_t total) {
  const auto [address, rows, groups, stride_row, stride_group] = x;
  constexpr std::int64_t kMost = 0x7fffffff;
  if (rows < 0) throw pybind11::value_error("x: expected at least 0 rows");
  if (groups < 1 || groups > kMost) throw pybind11::value_error("x: expected at least 1 column");
  if (knots < 2 || knots > kMostKnots) throw pybind11::value_error("knots: expected 2.." + std::to_string(kMostKnots));
  if (outputs < 1 || groups * knots > kMost / outputs)
    throw pybind11::value_error("outputs: expected at least 1, and tables of fewer than 2^31 values");
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

}  // namespace iuscore
