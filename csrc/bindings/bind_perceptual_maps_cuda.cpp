// _cuda.perceptual_maps(*, device, stream, batch, channels, pixel_type, color, clean, height, width, maps, map_type,
//     ranges, starts, weights,
//     image=(address, height, width, stride_h, stride_w, stride_c), batch_stride=0, taps=(6 offsets),   equal images
//     views=0, view_taps=0, strip_width=0,                                                              or ragged ones
//     workspace=0, workspace_bytes=0, threads=0) -> None
// _cuda.perceptual_maps_workspace(*, device, batch, channels, color, clean, height, width, strip_width, threads=0)
//     -> bytes
//
// Every address is an integer and device memory; strides count elements; `stream` is torch's `Stream.cuda_stream`.
// starts (int32) and weights (float32) hold the tables of _core.resample_table one after another; the six offsets of an
// image are (row_start, row_weight, row_taps, column_start, column_weight, column_taps): csrc/ops/perceptual_maps.h.
// Equal images of the maps' own size need no tables. views: int64 [B, 6], the same six numbers as `image` a row;
// view_taps: int64 [B, 6]; both on the device and alive until the kernel has run. strip_width: width of the widest
// image that is not height x width already, 0 where none is; for equal images it follows from `image`.
#include <pybind11/stl.h>

#include <array>

#include "bindings/arguments.h"
#include "bindings/module.h"
#include "ops/perceptual_maps.h"

namespace py = pybind11;

namespace iuscore {
namespace {

using SixNumbers = std::array<std::int64_t, 6>;

// Sizes and choices, which the workspace depends on; addresses stay null.
PerceptualMapsCudaArgs sizes_of(std::int32_t device, std::int64_t batch, std::int32_t channels, bool color, bool clean,
                                std::int32_t height, std::int32_t width, std::int64_t strip_width,
                                std::int32_t threads) {
  check_maps(channels, height, width);
  if (std::int64_t{height} * width > kLargestCudaMap)
    throw py::value_error("height and width of the maps: expected a product of at most " +
                          std::to_string(kLargestCudaMap));
  if (batch < 0) throw py::value_error("batch: expected at least 0");
  if (strip_width < 0 || strip_width > kLargestCudaMap) throw py::value_error("strip_width: out of range");
  if (threads < 0 || threads > kLargestCudaBlock || threads % 32 != 0)
    throw py::value_error("threads: expected 0 or a multiple of 32 up to " + std::to_string(kLargestCudaBlock));
  PerceptualMapsCudaArgs args{};
  args.device = device;
  args.batch = batch;
  args.channels = channels;
  args.color = color;
  args.clean = clean;
  args.height = height;
  args.width = width;
  args.strip_width = strip_width;
  args.threads = threads;
  return args;
}

void set_equal_images(PerceptualMapsCudaArgs& args, const SixNumbers& image, std::int64_t batch_stride,
                      const SixNumbers& taps) {
  const auto [data, height, width, stride_h, stride_w, stride_c] = image;
  if (data == 0) throw py::value_error("image: null address");
  if (height < 1 || width < 1 || height > kLargestCudaMap || width > kLargestCudaMap)
    throw py::value_error("image: height and width must be 1.." + std::to_string(kLargestCudaMap));
  const bool resized = height != args.height || width != args.width;
  if (resized && (taps[2] < 1 || taps[2] > height || taps[5] < 1 || taps[5] > width))
    throw py::value_error("taps: expected 1..height taps of a row and 1..width taps of a column");
  args.image = {reinterpret_cast<const void*>(data), height, width, stride_h, stride_w, stride_c};
  args.batch_stride = batch_stride;
  args.taps = {taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]};
  args.strip_width = resized ? width : 0;
}

void perceptual_maps(std::int32_t device, std::uintptr_t stream, std::int64_t batch, std::int32_t channels,
                     const std::string& pixel_type, bool color, bool clean, std::int32_t height, std::int32_t width,
                     std::uintptr_t maps, const std::string& map_type, std::uintptr_t ranges, std::uintptr_t starts,
                     std::uintptr_t weights, const SixNumbers& image, std::int64_t batch_stride, const SixNumbers& taps,
                     std::uintptr_t views, std::uintptr_t view_taps, std::int64_t strip_width, std::uintptr_t workspace,
                     std::int64_t workspace_bytes, std::int32_t threads) {
  PerceptualMapsCudaArgs args = sizes_of(device, batch, channels, color, clean, height, width, strip_width, threads);
  args.pixel_type = pixel_type_of(pixel_type);
  args.map_type = map_type_of(map_type);
  if (batch == 0) return;
  args.maps = checked_address<void>(maps, "maps", map_alignment(args.map_type));
  args.ranges = checked_address<float>(ranges, "ranges");
  if (views != 0) {
    args.images = checked_address<const ImageView>(views, "views");
    args.image_taps = checked_address<const ImageTaps>(view_taps, "view_taps");
  } else {
    set_equal_images(args, image, batch_stride, taps);
  }
  if (args.strip_width > 0) {
    args.starts = checked_address<const std::int32_t>(starts, "starts");
    args.weights = checked_address<const float>(weights, "weights");
  }
  if (workspace_bytes > 0) args.workspace = checked_address<float>(workspace, "workspace", 16);
  args.workspace_bytes = workspace_bytes;
  const py::gil_scoped_release released;
  perceptual_maps_cuda(args, reinterpret_cast<void*>(stream));
}

std::int64_t perceptual_maps_workspace(std::int32_t device, std::int64_t batch, std::int32_t channels, bool color,
                                       bool clean, std::int32_t height, std::int32_t width, std::int64_t strip_width,
                                       std::int32_t threads) {
  return perceptual_maps_cuda_workspace(
      sizes_of(device, batch, channels, color, clean, height, width, strip_width, threads));
}

}  // namespace

void bind_perceptual_maps_cuda(py::module_& module) {
  using namespace py::literals;
  module.def("perceptual_maps", &perceptual_maps, py::kw_only(), "device"_a, "stream"_a, "batch"_a, "channels"_a,
             "pixel_type"_a, "color"_a, "clean"_a, "height"_a, "width"_a, "maps"_a, "map_type"_a, "ranges"_a,
             "starts"_a, "weights"_a, "image"_a = SixNumbers{}, "batch_stride"_a = 0, "taps"_a = SixNumbers{},
             "views"_a = 0, "view_taps"_a = 0, "strip_width"_a = 0, "workspace"_a = 0, "workspace_bytes"_a = 0,
             "threads"_a = 0,
             "Queues the kernel that writes [B, 4, height, width] maps and [B, 4] float32 ranges to device memory.");
  module.def("perceptual_maps_workspace", &perceptual_maps_workspace, py::kw_only(), "device"_a, "batch"_a,
             "channels"_a, "color"_a, "clean"_a, "height"_a, "width"_a, "strip_width"_a, "threads"_a = 0,
             "Bytes of device memory the kernel needs besides its arguments; 0 where shared memory is enough.");
}

}  // namespace iuscore
