// x: (address, rows, inputs, stride of rows, stride of inputs in elements); first_input: int32 [G + 1]; sizes: (H1, H2,
// C); weights and gradients: addresses of w1, b1, w2, b2, w3, b3, contiguous; incoming: addresses of the gradients of
// contributions and total, of which one may be 0; gradient_x: an address, or 0 where it is not wanted.
#include "bindings/additive_mlp_arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

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

}  // namespace

void bind_additive_mlp(py::module_& module) {
  using namespace py::literals;
  module.def("additive_mlp", &additive_mlp, py::kw_only(), "x"_a, "first_input"_a, "sizes"_a, "weights"_a,
             "contributions"_a, "total"_a, "threads"_a, "Writes [rows, G, C] contributions and [rows, C] totals.");
  module.def("additive_mlp_backward", &additive_mlp_backward, py::kw_only(), "x"_a, "first_input"_a, "sizes"_a,
             "weights"_a, "incoming"_a, "gradient_x"_a, "gradients"_a, "threads"_a,
             "Writes the gradients of x and of the six weights.");
}

}  // namespace iuscore
