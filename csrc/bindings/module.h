// The ops of a module. csrc/bindings/<op>.cpp is compiled for each module: for _core as it is, for _cuda with
// IUSCORE_CUDA_MODULE defined.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

namespace iuscore {

#define IUSCORE_OP(name) void bind_##name(pybind11::module_& module);
#include "ops/ops.def"
#undef IUSCORE_OP

// A number that Python needs too. What _core exports becomes python/iuscore/ops/_constants.py: tools/generate_stubs.py.
inline void export_limit(pybind11::module_& module, const char* name, std::int64_t value) {
  pybind11::dict limits = module.attr("LIMITS");
  if (limits.contains(name)) throw pybind11::key_error(name);
  limits[name] = value;
}

// Adds the functions of all ops to the module; OPS, their names; and LIMITS, what export_limit() was given.
inline void bind_ops(pybind11::module_& module) {
  pybind11::list names;
  module.attr("LIMITS") = pybind11::dict();
#define IUSCORE_OP(name) \
  names.append(#name);   \
  bind_##name(module);
#include "ops/ops.def"
#undef IUSCORE_OP
  module.attr("OPS") = pybind11::tuple(names);
}

}  // namespace iuscore
