// As bind_additive_mlp.cpp, on the device: all addresses are device memory, first_input_device that of the same int32
// numbers as first_input; `stream` is torch's `Stream.cuda_stream`; workspace: what the functions that end with
// _workspace say; threads: of a block, 0 to have it chosen.
#include "bindings/additive_mlp_arguments.h"
#include "bindings/arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

AdditiveMlpCudaArgs cuda_args(const AdditiveMlpArgs& mlp, std::int32_t device, std::int32_t threads) {
  if (threads < 0 || threads > kLargestAdditiveBlock || threads % 32 != 0)
    throw py::value_error("threads: expected 0 or a multiple of 32 up to " + std::to_string(kLargestAdditiveBlock));
  AdditiveMlpCudaArgs args{};
  args.mlp = mlp;
  args.device = device;
  args.threads = threads;
  return args;
}

void set_memory(AdditiveMlpCudaArgs& args, std::uintptr_t first_input_device, std::uintptr_t workspace,
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
  set_memory(args, first_input_device, workspace, workspace_bytes);
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
  set_memory(args, first_input_device, workspace, workspace_bytes);
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

}  // namespace

void bind_additive_mlp_cuda(py::module_& module) {
  using namespace py::literals;
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
}

}  // namespace iuscore
