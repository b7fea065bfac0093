// As bind_resize.cpp, on the device: all addresses are device memory, those of the taps too; `stream` is torch's
// `Stream.cuda_stream`; threads: of a block, 0 to have it chosen.
#include "bindings/module.h"
#include "bindings/resize_arguments.h"

namespace py = pybind11;

namespace iuscore {
namespace {

ResizeCudaArgs args_of(std::int32_t device, std::int64_t batch, std::int32_t channels,
                       const std::array<std::int64_t, 6>& image, std::int64_t batch_stride, const TapAddresses& columns,
                       const TapAddresses& rows, std::uintptr_t out, std::int32_t threads) {
  if (channels != 1 && channels != 3) throw py::value_error("channels: expected 1 or 3");
  if (batch < 0) throw py::value_error("batch: expected at least 0");
  if (threads < 0 || threads > kResizeBlock || threads % 32 != 0)
    throw py::value_error("threads: expected 0 or a multiple of 32 up to " + std::to_string(kResizeBlock));
  const auto [data, height, width, stride_h, stride_w, stride_c] = image;
  if (height < 1 || width < 1) throw py::value_error("image: height and width must be at least 1");
  const auto* pixels =
      batch > 0 ? checked_address<const std::uint8_t>(static_cast<std::uintptr_t>(data), "image") : nullptr;
  return {{pixels, height, width, stride_h, stride_w, stride_c},
          batch_stride,
          batch,
          channels,
          taps_of(columns, width, "columns"),
          taps_of(rows, height, "rows"),
          batch > 0 ? checked_address<std::uint8_t>(out, "out") : nullptr,
          device,
          threads};
}

void resize(std::int32_t device, std::uintptr_t stream, std::int64_t batch, std::int32_t channels,
            const std::array<std::int64_t, 6>& image, std::int64_t batch_stride, const TapAddresses& columns,
            const TapAddresses& rows, std::uintptr_t out, std::int32_t threads) {
  const ResizeCudaArgs args = args_of(device, batch, channels, image, batch_stride, columns, rows, out, threads);
  const py::gil_scoped_release released;
  resize_cuda(args, reinterpret_cast<void*>(stream));
}

bool resize_fits(std::int32_t device, std::int32_t channels, std::int64_t height, std::int32_t width,
                 std::int32_t row_taps) {
  ResizeCudaArgs args{};
  args.device = device;
  args.channels = channels;
  args.image.height = height;
  args.columns.out = width;
  args.rows.taps = row_taps;
  args.rows.out = 1;
  return resize_cuda_fits(args);
}

}  // namespace

void bind_resize_cuda(py::module_& module) {
  using namespace py::literals;
  module.def("resize", &resize, py::kw_only(), "device"_a, "stream"_a, "batch"_a, "channels"_a, "image"_a,
             "batch_stride"_a, "columns"_a, "rows"_a, "out"_a, "threads"_a = 0,
             "Queues the kernel that writes bytes [B, rows, columns, C].");
  module.def("resize_fits", &resize_fits, py::kw_only(), "device"_a, "channels"_a, "height"_a, "width"_a, "row_taps"_a,
             "Whether the input rows that one output row of this width is made of fit a block's shared memory.");
}

}  // namespace iuscore
