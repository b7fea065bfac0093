// The op `additive_mlp`: csrc/ops/additive_mlp.h.
//
// x: (address, rows, inputs, stride of rows, stride of inputs in elements). first_input: int32 [G + 1] in host memory;
// first_input_device: address of the same numbers in device memory. sizes: (H1, H2, C). weights and gradients:
// addresses of w1, b1, w2, b2, w3, b3, contiguous. incoming: addresses of the gradients of contributions and of total;
// one of the two may be 0. gradient_x: an address, or 0 where it is not wanted.
#include "ops/additive_mlp.h"

#include <algorithm>
#include <tuple>

#include "bindings/arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

using GroupStarts = py::array_t<std::int32_t, py::array::c_style>;
using HiddenSizes = std::array<std::int32_t, 3>;
using WeightAddresses = std::array<std::uintptr_t, 6>;
using GradientAddresses = std::array<std::uintptr_t, 2>;

// Sizes alone; addresses stay null, but for first_input, which must live as long as the result.
AdditiveMlpArgs additive_mlp_sizes(std::int64_t rows, const GroupStarts& first_input, const HiddenSizes& sizes) {
  if (rows < 0) throw py::value_error("x: expected at least 0 rows");
  if (*std::min_element(sizes.begin(), sizes.end()) < 1 || *std::max_element(sizes.begin(), sizes.end()) > (1 << 24))
    throw py::value_error("sizes: expected H1, H2 and C of 1.." + std::to_string(1 << 24));
  if (first_input.ndim() != 1 || first_input.size() < 2) throw py::value_error("first_input: expected int32 [G + 1]");
  AdditiveMlpArgs args{};
  args.rows = rows;
  args.first_input = first_input.data();
  args.groups = static_cast<std::int32_t>(first_input.size() - 1);
  args.inputs = args.first_input[args.groups];
  for (std::int32_t g = 0; g < args.groups; ++g) {
    const std::int32_t size = args.first_input[g + 1] - args.first_input[g];
    if (size < 1) throw py::value_error("first_input: expected ascending numbers");
    args.largest_group = std::max(args.largest_group, size);
  }
  args.hidden_1 = sizes[0];
  args.hidden_2 = sizes[1];
  args.outputs = sizes[2];
  return args;
}

AdditiveMlpArgs additive_mlp_args(const FloatMatrix& x, const GroupStarts& first_input, const HiddenSizes& sizes,
                                  const WeightAddresses& weights) {
  const auto [address, rows, inputs, stride_row, stride_input] = x;
  AdditiveMlpArgs args = additive_mlp_sizes(rows, first_input, sizes);
  if (args.first_input[0] != 0 || args.inputs != inputs)
    throw py::value_error("first_input: expected to begin at 0 and to end at the number of inputs");
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

AdditiveMlpGradients additive_mlp_gradients(std::int64_t rows, const GradientAddresses& incoming, std::uintptr_t x,
                                            const WeightAddresses& weights) {
  if (rows > 0 && incoming[0] == 0 && incoming[1] == 0) throw py::value_error("incoming: two null addresses");
  return {float_address(incoming[0], "incoming", 0),   float_address(incoming[1], "incoming", 0),
          float_address(x, "gradient_x", 0),           float_address(weights[0], "gradient of w1"),
          float_address(weights[1], "gradient of b1"), float_address(weights[2], "gradient of w2"),
          float_address(weights[3], "gradient of b2"), float_address(weights[4], "gradient of w3"),
          float_address(weights[5], "gradient of b3")};
}

#if !defined(IUSCORE_CUDA_MODULE)

void additive_mlp(const FloatMatrix& x, const GroupStarts& first_input, const HiddenSizes& sizes,
                  const WeightAddresses& weights, std::uintptr_t contributions, std::uintptr_t total,
                  std::int32_t threads) {
  AdditiveMlpArgs args = additive_mlp_args(x, first_input, sizes, weights);
  args.contributions = float_address(contributions, "contributions", args.rows);
  args.total = float_address(total, "total", args.rows);
  const py::gil_scoped_release released;
  additive_mlp_cpu(args, std::max(threads, 1));
}

void additive_mlp_backward(const FloatMatrix& x, const GroupStarts& first_input, const HiddenSizes& sizes,
                           const WeightAddresses& weights, const GradientAddresses& incoming, std::uintptr_t gradient_x,
                           const WeightAddresses& gradients, std::int32_t threads) {
  const AdditiveMlpArgs args = additive_mlp_args(x, first_input, sizes, weights);
  const AdditiveMlpGradients to = additive_mlp_gradients(args.rows, incoming, gradient_x, gradients);
  const py::gil_scoped_release released;
  additive_mlp_backward_cpu(args, to, std::max(threads, 1));
}

#else  // _cuda

AdditiveMlpCudaArgs cuda_args(const AdditiveMlpArgs& mlp, std::int32_t device, std::int32_t threads) {
  checked_threads(threads, kMaxMlpBlock);
  AdditiveMlpCudaArgs args{};
  args.mlp = mlp;
  args.device = device;
  args.threads = threads;
  return args;
}

void set_workspace(AdditiveMlpCudaArgs& args, std::uintptr_t first_input_device, std::uintptr_t workspace,
                   std::int64_t workspace_bytes) {
  args.mlp.first_input = checked_address<const std::int32_t>(first_input_device, "first_input_device");
  if (workspace_bytes > 0) args.workspace = checked_address<float>(workspace, "workspace", 16);
  args.workspace_bytes = workspace_bytes;
}

void additive_mlp(std::int32_t device, std::uintptr_t stream, const FloatMatrix& x, const GroupStarts& first_input,
                  std::uintptr_t first_input_device, const HiddenSizes& sizes, const WeightAddresses& weights,
                  std::uintptr_t contributions, std::uintptr_t total, std::uintptr_t workspace,
                  std::int64_t workspace_bytes, std::int32_t threads) {
  AdditiveMlpCudaArgs args = cuda_args(additive_mlp_args(x, first_input, sizes, weights), device, threads);
  set_workspace(args, first_input_device, workspace, workspace_bytes);
  args.mlp.contributions = float_address(contributions, "contributions", args.mlp.rows);
  args.mlp.total = float_address(total, "total", args.mlp.rows);
  const py::gil_scoped_release released;
  additive_mlp_cuda(args, reinterpret_cast<void*>(stream));
}

void additive_mlp_backward(std::int32_t device, std::uintptr_t stream, const FloatMatrix& x,
                           const GroupStarts& first_input, std::uintptr_t first_input_device, const HiddenSizes& sizes,
                           const WeightAddresses& weights, const GradientAddresses& incoming, std::uintptr_t gradient_x,
                           const WeightAddresses& gradients, std::uintptr_t workspace, std::int64_t workspace_bytes,
                           std::int32_t threads) {
  AdditiveMlpCudaArgs args = cuda_args(additive_mlp_args(x, first_input, sizes, weights), device, threads);
  set_workspace(args, first_input_device, workspace, workspace_bytes);
  const AdditiveMlpGradients to = additive_mlp_gradients(args.mlp.rows, incoming, gradient_x, gradients);
  const py::gil_scoped_release released;
  additive_mlp_backward_cuda(args, to, reinterpret_cast<void*>(stream));
}

// (bytes of the forward pass, bytes of the backward pass)
py::tuple additive_mlp_workspace(std::int32_t device, std::int64_t rows, const GroupStarts& first_input,
                                 const HiddenSizes& sizes, std::int32_t threads) {
  const AdditiveMlpCudaArgs args = cuda_args(additive_mlp_sizes(rows, first_input, sizes), device, threads);
  return py::make_tuple(additive_mlp_cuda_workspace(args), additive_mlp_backward_cuda_workspace(args));
}

#endif

}  // namespace

void bind_additive_mlp(py::module_& module) {
  using namespace py::literals;
#if !defined(IUSCORE_CUDA_MODULE)
  module.def("additive_mlp", &additive_mlp, py::kw_only(), "x"_a, "first_input"_a, "sizes"_a, "weights"_a,
             "contributions"_a, "total"_a, "threads"_a, "Writes [rows, G, C] contributions and [rows, C] totals.");
  module.def("additive_mlp_backward", &additive_mlp_backward, py::kw_only(), "x"_a, "first_input"_a, "sizes"_a,
             "weights"_a, "incoming"_a, "gradient_x"_a, "gradients"_a, "threads"_a,
             "Writes the gradients of x and of the six weights.");
#else
  module.def("additive_mlp", &additive_mlp, py::kw_only(), "device"_a, "stream"_a, "x"_a, "first_input"_a,
             "first_input_device"_a, "sizes"_a, "weights"_a, "contributions"_a, "total"_a, "workspace"_a = 0,
             "workspace_bytes"_a = 0, "threads"_a = 0,
             "Queues the kernels that write [rows, G, C] contributions and [rows, C] totals.");
  module.def("additive_mlp_backward", &additive_mlp_backward, py::kw_only(), "device"_a, "stream"_a, "x"_a,
             "first_input"_a, "first_input_device"_a, "sizes"_a, "weights"_a, "incoming"_a, "gradient_x"_a,
             "gradients"_a, "workspace"_a = 0, "workspace_bytes"_a = 0, "threads"_a = 0,
             "Queues the kernels that write the gradients of x and of the six weights.");
  module.def("additive_mlp_workspace", &additive_mlp_workspace, py::kw_only(), "device"_a, "rows"_a, "first_input"_a,
             "sizes"_a, "threads"_a = 0,
             "Bytes of device memory that the forward pass and the backward pass need besides their arguments.");
#endif
}

}  // namespace iuscore
