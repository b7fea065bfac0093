// The op `color_histogram`: csrc/ops/color_histogram.h.
//
// The caller allocates counts and out_of_range as large as csrc/ops/color_histogram.h says. On a GPU, edges is the
// address of the edges of all channels (float32, bins + 1 each), one channel after another, and axes is what
// _core.guessed_axis returns for each channel.
#include "ops/color_histogram.h"

#include <algorithm>
#include <tuple>

#include "bindings/arguments.h"
#include "bindings/module.h"
#include "core/histogram.h"

namespace py = pybind11;

namespace iuscore {
namespace {

ColorSpace color_space_of(const std::string& name) {
  if (name == "rgb") return ColorSpace::rgb;
  if (name == "hsv") return ColorSpace::hsv;
  if (name == "lab") return ColorSpace::lab;
  if (name == "gray") return ColorSpace::gray;
  throw py::value_error("space: expected rgb, hsv, lab or gray, got " + name);
}

// Counts are 32 bits wide.
void check_pixels(std::int64_t height, std::int64_t width) {
  if (height * width > std::numeric_limits<std::int32_t>::max())
    throw py::value_error("images: expected fewer than 2^31 pixels each");
}

#if !defined(IUSCORE_CUDA_MODULE)

using EdgeArray = py::array_t<float, py::array::c_style | py::array::forcecast>;

void check_edge_array(const EdgeArray& edges, std::int32_t most) {
  if (edges.ndim() != 1 || edges.size() < 2 || edges.size() > most + 1)
    throw py::value_error("edges: expected 2.." + std::to_string(most + 1) + " values");
  for (py::ssize_t i = 1; i < edges.size(); ++i)
    if (!(edges.at(i - 1) <= edges.at(i))) throw py::value_error("edges: expected ascending values");
}

void check_edges(const std::vector<EdgeArray>& edges, ColorSpace space, bool joint) {
  if (edges.size() != static_cast<std::size_t>(histogram_channels(space)))
    throw py::value_error("edges: expected one array per channel of the space");
  if (joint && space == ColorSpace::gray) throw py::value_error("joint: expected a space with three channels");
  for (const EdgeArray& of_channel : edges) check_edge_array(of_channel, joint ? kMaxJointBins : kMaxBins);
}

// counts and out_of_range are as large as their shapes say: the caller allocates them.
void color_histogram(const ViewTable& views, const ViewTable& masks, std::int32_t channels,
                     const std::string& pixel_type, const std::string& space, bool joint,
                     const std::vector<EdgeArray>& edges, std::uintptr_t counts, std::uintptr_t out_of_range,
                     std::int32_t threads) {
  check_channels(channels);
  const std::vector<ImageView> images = views_of(views);
  for (const ImageView& image : images) check_pixels(image.height, image.width);
  const std::vector<MaskView> image_masks = masks_of(masks, images.size());
  ColorHistogramArgs args{};
  args.images = images.data();
  args.masks = image_masks.empty() ? nullptr : image_masks.data();
  args.batch = static_cast<std::int64_t>(images.size());
  args.channels = channels;
  args.pixel_type = pixel_type_of(pixel_type);
  args.space = color_space_of(space);
  args.joint = joint;
  check_edges(edges, args.space, joint);
  for (std::size_t c = 0; c < edges.size(); ++c) {
    args.bins[c] = static_cast<std::int32_t>(edges[c].size()) - 1;
    args.edges[c] = edges[c].data();
  }
  if (images.empty()) return;
  args.counts = checked_address<std::int32_t>(counts, "counts");
  args.out_of_range = checked_address<std::int32_t>(out_of_range, "out_of_range");
  args.threads = std::max(threads, 1);
  const py::gil_scoped_release released;
  color_histogram_cpu(args);
}

py::tuple guessed_axis(const EdgeArray& edges) {
  check_edge_array(edges, kMaxBins);
  const BinAxis axis = bin_axis(edges.data(), static_cast<std::int32_t>(edges.size()) - 1);
  return py::make_tuple(axis.low, axis.scale, axis.close);
}

#else  // _cuda

using GuessedAxis = std::tuple<float, float, bool>;

void set_axes(ColorHistogramCudaArgs& args, const std::vector<std::int32_t>& bins, const std::vector<GuessedAxis>& axes,
              const float* edges) {
  const auto channels = static_cast<std::size_t>(histogram_channels(args.space));
  if (args.joint && channels != 3) throw py::value_error("joint: expected a space with three channels");
  if (bins.size() != channels || axes.size() != channels)
    throw py::value_error("bins and axes: expected one per channel of the space");
  const std::int32_t most = args.joint ? kMaxJointBins : kMaxBins;
  for (std::size_t c = 0; c < channels; ++c) {
    if (bins[c] < 1 || bins[c] > most) throw py::value_error("bins: expected 1.." + std::to_string(most));
    const auto [low, scale, close] = axes[c];
    args.axes[c] = {edges, low, scale, bins[c], close};
    edges += bins[c] + 1;
  }
}

void color_histogram(std::int32_t device, std::uintptr_t stream, std::int64_t batch, std::int32_t channels,
                     const std::string& pixel_type, const ImageNumbers& image, std::int64_t batch_stride,
                     const MaskNumbers& mask, std::int64_t mask_batch_stride, const std::string& space, bool joint,
                     const std::vector<std::int32_t>& bins, const std::vector<GuessedAxis>& axes, std::uintptr_t edges,
                     std::uintptr_t counts, std::uintptr_t out_of_range, std::int32_t threads) {
  check_channels(channels);
  check_batch(batch);
  checked_threads(threads, kMaxHistogramBlock);
  ColorHistogramCudaArgs args{};
  args.image = image_of(image);
  check_pixels(args.image.height, args.image.width);
  args.device = device;
  args.batch = batch;
  args.channels = channels;
  args.pixel_type = pixel_type_of(pixel_type);
  args.space = color_space_of(space);
  args.joint = joint;
  args.threads = threads;
  if (batch == 0) return;
  set_axes(args, bins, axes, checked_address<const float>(edges, "edges"));
  if (args.image.data == nullptr) throw py::value_error("image: null address");
  args.batch_stride = batch_stride;
  args.mask = mask_of(mask);
  args.mask_batch_stride = mask_batch_stride;
  args.counts = checked_address<std::int32_t>(counts, "counts");
  args.out_of_range = checked_address<std::int32_t>(out_of_range, "out_of_range");
  const py::gil_scoped_release released;
  color_histogram_cuda(args, reinterpret_cast<void*>(stream));
}

#endif

}  // namespace

void bind_color_histogram(py::module_& module) {
  using namespace py::literals;
#if !defined(IUSCORE_CUDA_MODULE)
  export_limit(module, "MAX_BINS", kMaxBins);
  export_limit(module, "MAX_JOINT_BINS", kMaxJointBins);
  module.def("color_histogram", &color_histogram, "views"_a, "masks"_a, py::kw_only(), "channels"_a, "pixel_type"_a,
             "space"_a, "joint"_a, "edges"_a, "counts"_a, "out_of_range"_a, "threads"_a,
             "Writes int32 counts [B, bins] and out_of_range [B, C, 3] to the addresses `counts` and `out_of_range`.");
  module.def("guessed_axis", &guessed_axis, "edges"_a,
             "(low, scale, close) by which kernels guess a bin: csrc/core/histogram.h.");
#else
  module.def("color_histogram", &color_histogram, py::kw_only(), "device"_a, "stream"_a, "batch"_a, "channels"_a,
             "pixel_type"_a, "image"_a, "batch_stride"_a, "mask"_a, "mask_batch_stride"_a, "space"_a, "joint"_a,
             "bins"_a, "axes"_a, "edges"_a, "counts"_a, "out_of_range"_a, "threads"_a = 0,
             "Queues the kernel that writes int32 counts [B, bins] and out_of_range [B, C, 3] to device memory.");
#endif
}

}  // namespace iuscore
