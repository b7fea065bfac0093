// _cuda.color_histogram(*, device, stream, batch, channels, pixel_type, image=(address, height, width, stride_h,
//     stride_w, stride_c), batch_stride, mask=(address or 0, stride_h, stride_w), mask_batch_stride, space, joint,
//     bins, axes, edges, counts, outside, threads=0) -> None
//
// Every address is an integer and device memory; strides count elements; `stream` is torch's `Stream.cuda_stream`.
// edges (float32): those of each channel, bins + 1, one after another; axes: what _core.guessed_axis says of them.
#include <pybind11/stl.h>

#include <array>
#include <tuple>

#include "bindings/arguments.h"
#include "bindings/histogram_arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

using GuessedAxis = std::tuple<float, float, bool>;

void set_axes(ColorHistogramCudaArgs& args, const std::vector<std::int32_t>& bins, const std::vector<GuessedAxis>& axes,
              const float* edges) {
  const auto channels = static_cast<std::size_t>(histogram_channels(args.space));
  if (args.joint && channels != 3) throw py::value_error("joint: expected a space with three channels");
  if (bins.size() != channels || axes.size() != channels)
    throw py::value_error("bins and axes: expected one per channel of the space");
  const std::int32_t most = args.joint ? kMostJointBins : kMostBins;
  for (std::size_t c = 0; c < channels; ++c) {
    if (bins[c] < 1 || bins[c] > most) throw py::value_error("bins: expected 1.." + std::to_string(most));
    const auto [low, scale, close] = axes[c];
    args.axes[c] = {edges, low, scale, bins[c], close};
    edges += bins[c] + 1;
  }
}

void color_histogram(std::int32_t device, std::uintptr_t stream, std::int64_t batch, std::int32_t channels,
                     const std::string& pixel_type, const std::array<std::int64_t, 6>& image, std::int64_t batch_stride,
                     const std::array<std::int64_t, 3>& mask, std::int64_t mask_batch_stride, const std::string& space,
                     bool joint, const std::vector<std::int32_t>& bins, const std::vector<GuessedAxis>& axes,
                     std::uintptr_t edges, std::uintptr_t counts, std::uintptr_t outside, std::int32_t threads) {
  if (channels != 1 && channels != 3) throw py::value_error("channels: expected 1 or 3");
  if (batch < 0) throw py::value_error("batch: expected at least 0");
  if (threads < 0 || threads > kLargestHistogramBlock || threads % 32 != 0)
    throw py::value_error("threads: expected 0 or a multiple of 32 up to " + std::to_string(kLargestHistogramBlock));
  const auto [data, height, width, stride_h, stride_w, stride_c] = image;
  if (height < 1 || width < 1) throw py::value_error("image: height and width must be at least 1");
  check_pixels(height, width);
  ColorHistogramCudaArgs args{};
  args.device = device;
  args.batch = batch;
  args.channels = channels;
  args.pixel_type = pixel_type_of(pixel_type);
  args.space = color_space_of(space);
  args.joint = joint;
  args.threads = threads;
  if (batch == 0) return;
  set_axes(args, bins, axes, checked_address<const float>(edges, "edges"));
  if (data == 0) throw py::value_error("image: null address");
  args.image = {reinterpret_cast<const void*>(data), height, width, stride_h, stride_w, stride_c};
  args.batch_stride = batch_stride;
  args.mask = {reinterpret_cast<const std::uint8_t*>(mask[0]), mask[1], mask[2]};
  args.mask_batch_stride = mask_batch_stride;
  args.counts = checked_address<std::int32_t>(counts, "counts");
  args.outside = checked_address<std::int32_t>(outside, "outside");
  const py::gil_scoped_release released;
  color_histogram_cuda(args, reinterpret_cast<void*>(stream));
}

}  // namespace

void bind_color_histogram_cuda(py::module_& module) {
  using namespace py::literals;
  module.def("color_histogram", &color_histogram, py::kw_only(), "device"_a, "stream"_a, "batch"_a, "channels"_a,
             "pixel_type"_a, "image"_a, "batch_stride"_a, "mask"_a, "mask_batch_stride"_a, "space"_a, "joint"_a,
             "bins"_a, "axes"_a, "edges"_a, "counts"_a, "outside"_a, "threads"_a = 0,
             "Queues the kernel that writes int32 counts [B, bins] and outside [B, C, 3] to device memory.");
}

}  // namespace iuscore
