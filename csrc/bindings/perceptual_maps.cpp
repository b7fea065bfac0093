// The op `perceptual_maps`: csrc/ops/perceptual_maps.h.
//
// On a GPU, images come as one batch (image, batch_stride and taps) or as images of several sizes (views, view_taps and
// strip_width).
// starts (int32) and weights (float32) hold the tables of _core.resample_table one after another. taps: six offsets
// into them, (row_start, row_weight, row_taps, column_start, column_weight, column_taps); images that have the size of
// the maps need no tables. views: int64 [B, 6], for each image the six numbers of `image`; view_taps: int64 [B, 6], for
// each image its taps. Both lie in device memory and stay there until the kernel has run. strip_width: width of the
// widest image that is resized, 0 where none is; for one batch it follows from `image`.
#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/module.h"
#include "core/resample.h"
#if !defined(IUSCORE_CUDA_MODULE)
#include "cpu/tap_table.h"
#endif
#include "ops/perceptual_maps.h"

namespace py = pybind11;

namespace iuscore {
namespace {

MapType map_type_of(const std::string& name) {
  if (name == "float32") return MapType::f32;
  if (name == "float16") return MapType::f16;
  if (name == "bfloat16") return MapType::bf16;
  throw py::value_error("map_type: expected float32, float16 or bfloat16, got " + name);
}

std::uintptr_t map_alignment(MapType type) { return type == MapType::f32 ? 4 : 2; }

void check_maps(std::int32_t channels, std::int32_t height, std::int32_t width) {
  check_channels(channels);
  if (height < kMinMapSide || width < kMinMapSide)
    throw py::value_error("height and width of the maps: expected at least " + std::to_string(kMinMapSide));
}

#if !defined(IUSCORE_CUDA_MODULE)

void perceptual_maps(const ViewTable& views, std::int32_t channels, const std::string& pixel_type, bool color,
                     bool clean, std::int32_t height, std::int32_t width, std::uintptr_t maps,
                     const std::string& map_type, std::uintptr_t ranges, std::int32_t threads) {
  check_maps(channels, height, width);
  const std::vector<ImageView> images = views_of(views);
  const PixelType from = pixel_type_of(pixel_type);
  const MapType to = map_type_of(map_type);
  if (images.empty()) return;
  const PerceptualMapsArgs args{images.data(),
                                static_cast<std::int64_t>(images.size()),
                                channels,
                                from,
                                color,
                                clean,
                                height,
                                width,
                                checked_address<void>(maps, "maps", map_alignment(to)),
                                to,
                                checked_address<float>(ranges, "ranges"),
                                std::max(threads, 1)};
  const py::gil_scoped_release released;
  perceptual_maps_cpu(args);
}

py::tuple resample_table(std::int32_t in, std::int32_t out, bool antialias) {
  if (in < 1 || out < 1 || in > kMaxSide || out > kMaxSide)
    throw py::value_error("in_size and out_size: expected 1.." + std::to_string(kMaxSide) + ", got " +
                          std::to_string(in) + " and " + std::to_string(out));
  const OwnedTaps table = make_taps(in, out, antialias);
  const py::array_t<std::int32_t> start(static_cast<py::ssize_t>(table.start.size()), table.start.data());
  const py::array_t<float> weight({static_cast<py::ssize_t>(table.taps), static_cast<py::ssize_t>(out)},
                                  table.weight.data());
  return py::make_tuple(start, weight);
}

#else  // _cuda

using TapOffsets = std::array<std::int64_t, 6>;

// Sizes and choices, which the workspace depends on; addresses stay null.
PerceptualMapsCudaArgs sizes_of(std::int32_t device, std::int64_t batch, std::int32_t channels, bool color, bool clean,
                                std::int32_t height, std::int32_t width, std::int64_t strip_width,
                                std::int32_t threads) {
  check_maps(channels, height, width);
  if (std::int64_t{height} * width > kMaxMapPixels)
    throw py::value_error("height and width of the maps: expected a product of at most " +
                          std::to_string(kMaxMapPixels));
  check_batch(batch);
  if (strip_width < 0 || strip_width > kMaxMapPixels) throw py::value_error("strip_width: out of range");
  checked_threads(threads, kMaxMapsBlock);
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

void set_equal_images(PerceptualMapsCudaArgs& args, const ImageNumbers& image, std::int64_t batch_stride,
                      const TapOffsets& taps) {
  const auto [data, height, width, stride_h, stride_w, stride_c] = image;
  if (data == 0) throw py::value_error("image: null address");
  if (height < 1 || width < 1 || height > kMaxMapPixels || width > kMaxMapPixels)
    throw py::value_error("image: height and width must be 1.." + std::to_string(kMaxMapPixels));
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
                     std::uintptr_t weights, const ImageNumbers& image, std::int64_t batch_stride,
                     const TapOffsets& taps, std::uintptr_t views, std::uintptr_t view_taps, std::int64_t strip_width,
                     std::uintptr_t workspace, std::int64_t workspace_bytes, std::int32_t threads) {
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

#endif

}  // namespace

void bind_perceptual_maps(py::module_& module) {
  using namespace py::literals;
#if !defined(IUSCORE_CUDA_MODULE)
  export_limit(module, "MIN_MAP_SIDE", kMinMapSide);
  export_limit(module, "MAX_SIDE", kMaxSide);
  export_limit(module, "MAX_MAP_PIXELS", kMaxMapPixels);
  module.def("perceptual_maps", &perceptual_maps, "views"_a, py::kw_only(), "channels"_a, "pixel_type"_a, "color"_a,
             "clean"_a, "height"_a, "width"_a, "maps"_a, "map_type"_a, "ranges"_a, "threads"_a,
             "Writes [B, 4, height, width] maps and [B, 4] float32 ranges to the addresses `maps` and `ranges`.");
  module.def("resample_table", &resample_table, "in_size"_a, "out_size"_a, "antialias"_a,
             "(start int32 [out], weight float32 [taps, out]) of one direction of the bicubic resize.");
#else
  module.def("perceptual_maps", &perceptual_maps, py::kw_only(), "device"_a, "stream"_a, "batch"_a, "channels"_a,
             "pixel_type"_a, "color"_a, "clean"_a, "height"_a, "width"_a, "maps"_a, "map_type"_a, "ranges"_a,
             "starts"_a, "weights"_a, "image"_a = ImageNumbers{}, "batch_stride"_a = 0, "taps"_a = TapOffsets{},
             "views"_a = 0, "view_taps"_a = 0, "strip_width"_a = 0, "workspace"_a = 0, "workspace_bytes"_a = 0,
             "threads"_a = 0,
             "Queues the kernel that writes [B, 4, height, width] maps and [B, 4] float32 ranges to device memory.");
  module.def("perceptual_maps_workspace", &perceptual_maps_workspace, py::kw_only(), "device"_a, "batch"_a,
             "channels"_a, "color"_a, "clean"_a, "height"_a, "width"_a, "strip_width"_a, "threads"_a = 0,
             "Bytes of device memory the kernel needs besides its arguments; 0 where shared memory is enough.");
#endif
}

}  // namespace iuscore
