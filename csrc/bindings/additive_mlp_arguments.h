// Python values -> csrc/ops/additive_mlp.h, for both modules. Raises ValueError for what could read or write outside
// the buffers.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <string>

#include "ops/additive_mlp.h"

namespace iuscore {

using FloatMatrix = std::tuple<std::uintptr_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
using GroupStarts = pybind11::array_t<std::int32_t, pybind11::array::c_style>;
using HiddenSizes = std::array<std::int32_t, 3>;
using WeightAddresses = std::array<std::uintptr_t, 6>;
using GradientAddresses = std::array<std::uintptr_t, 2>;

// Null only where there is nothing to read or write.
inline float* float_address(std::uintptr_t value, const char* name, std::int64_t rows = 1) {
  if (value == 0 && rows > 0) throw pybind11::value_error(std::string(name) + ": null address");
  if (value % alignof(float) != 0) throw pybind11::value_error(std::string(name) + ": misaligned address");
  return reinterpret_cast<float*>(value);
}

// Sizes alone; addresses stay null, but for first_input, which must live as long as the result.
inline AdditiveMlpArgs additive_mlp_sizes(std::int64_t rows, const GroupStarts& first_input, const HiddenSizes& sizes) {
  if (rows < 0) throw pybind11::value_error("x: expected at least 0 rows");
  if (*std::min_element(sizes.begin(), sizes.end()) < 1 || *std::max_element(sizes.begin(), sizes.end()) > (1 << 24))
    throw pybind11::value_error("sizes: expected H1, H2 and C of 1.." + std::to_string(1 << 24));
  if (first_input.ndim() != 1 || first_input.size() < 2)
    throw pybind11::value_error("first_input: expected int32 [G + 1]");
  AdditiveMlpArgs args{};
  args.rows = rows;
  args.first_input = first_input.data();
  args.groups = static_cast<std::int32_t>(first_input.size() - 1);
  args.inputs = args.first_input[args.groups];
  for (std::int32_t g = 0; g < args.groups; ++g) {
    const std::int32_t size = args.first_input[g + 1] - args.first_input[g];
    if (size < 1) throw pybind11::value_error("first_input: expected ascending numbers");
    args.largest_group = std::max(args.largest_group, size);
  }
  args.hidden_1 = sizes[0];
  args.hidden_2 = sizes[1];
  args.outputs = sizes[2];
  return args;
}

inline AdditiveMlpArgs additive_mlp_args(const FloatMatrix& x, const GroupStarts& first_input, const HiddenSizes& sizes,
                                         const WeightAddresses& weights) {
  const auto [address, rows, inputs, stride_row, stride_input] = x;
  AdditiveMlpArgs args = additive_mlp_sizes(rows, first_input, sizes);
  if (args.first_input[0] != 0 || args.inputs != inputs)
    throw pybind11::value_error("first_input: expected to begin at 0 and to end at the number of inputs");
  args.x = float_address(address, "x", rows);
  args.stride_row = stride_row;
  args.stride_input = stride_input;
  args.w1 = float_address(weights[0], "w1");
  args.b1 = float_address(weights[1], "b1");
  args.w2 = float_address(weights[2], "w2");
  args.b2 = float_address(weights[3], "b2");
  args.w3 = float_address(weights[4], "w3");
  args.b3 = float_address(weights[5], "b3");
  return args;
}

inline AdditiveMlpGradients additive_mlp_gradients(std::int64_t rows, const GradientAddresses& incoming,
                                                   std::uintptr_t x, const WeightAddresses& weights) {
  if (rows > 0 && incoming[0] == 0 && incoming[1] == 0) throw pybind11::value_error("incoming: two null addresses");
  return {float_address(incoming[0], "incoming", 0),   float_address(incoming[1], "incoming", 0),
          float_address(x, "gradient_x", 0),           float_address(weights[0], "gradient of w1"),
          float_address(weights[1], "gradient of b1"), float_address(weights[2], "gradient of w2"),
          float_address(weights[3], "gradient of b2"), float_address(weights[4], "gradient of w3"),
          float_address(weights[5], "gradient of b3")};
}

}  // namespace iuscore
