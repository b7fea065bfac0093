// The op `texture_stats`: csrc/ops/texture_stats.h.
#include "ops/texture_stats.h"

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/module.h"
#include "core/texture.h"

namespace py = pybind11;

namespace iuscore {
namespace {

#if !defined(IUSCORE_CUDA_MODULE)

void texture_stats(const ViewTable& views, const MaskTable& masks, std::int32_t channels, const std::string& pixel_type,
                   bool color, std::int32_t bins, std::int32_t levels,
                   const std::vector<std::pair<std::int32_t, std::int32_t>>& offsets, std::uintptr_t histograms,
                   std::uintptr_t statistics, std::uintptr_t counted, std::uintptr_t properties, std::uintptr_t blocks,
                   std::int32_t threads) {
  check_channels(channels);
  if (bins < 2 || bins > 256 || 256 % bins != 0) throw py::value_error("bins: expected a power of two, 2..256");
  checked_levels(levels);
  const std::vector<ImageView> images = views_of(views);
  for (const ImageView& image : images)
    if (image.height > kMaxGlcmPixels / image.width) throw py::value_error("views: expected at most 2^30 pixels");
  const std::vector<MaskView> masks_of_images = masks_of(masks, images.size());
  const PixelType type = pixel_type_of(pixel_type);
  if (images.empty()) return;
  std::vector<PixelOffset> pairs;
  for (const auto& [rows, columns] : offsets) pairs.push_back({rows, columns});
  const TextureStatsArgs args{images.data(),
                              masks_of_images.empty() ? nullptr : masks_of_images.data(),
                              static_cast<std::int64_t>(images.size()),
                              channels,
                              type,
                              color,
                              bins,
                              levels,
                              pairs.data(),
                              static_cast<std::int32_t>(pairs.size()),
                              checked_address<std::int32_t>(histograms, "histograms"),
                              checked_address<float>(statistics, "statistics"),
                              checked_address<std::int32_t>(counted, "counted"),
                              pairs.empty() ? nullptr : checked_address<float>(properties, "properties"),
                              checked_address<float>(blocks, "blocks"),
                              std::max(threads, 1)};
  const py::gil_scoped_release released;
  texture_stats_cpu(args);
}

#else  // _cuda

using Offsets = std::vector<std::pair<std::int32_t, std::int32_t>>;

TextureStatsCudaArgs sizes_of(std::int32_t device, const ImageNumbers& image, const MaskNumbers& mask,
                              std::int64_t batch, const std::string& pixel_type, bool color, std::int32_t levels,
                              const Offsets& offsets, std::int32_t threads) {
  const auto [data, height, width, stride_h, stride_w, stride_c] = image;
  if (height < 1 || width < 1 || height > kMaxGlcmPixels / width)
    throw py::value_error("image: expected height and width of at least 1 and at most 2^30 pixels");
  check_batch(batch);
  checked_levels(levels);
  if (offsets.size() > kMaxOffsets) throw py::value_error("offsets: expected at most " + std::to_string(kMaxOffsets));
  if (threads != 0 && (threads < 64 || threads > kMaxTextureBlock || threads % 32 != 0))
    throw py::value_error("threads: expected 0 or a multiple of 32 from 64 to " + std::to_string(kMaxTextureBlock));
  TextureStatsCudaArgs args{};
  args.device = device;
  args.image = {reinterpret_cast<const void*>(data), height, width, stride_h, stride_w, stride_c};
  args.mask = mask_of(mask);
  args.batch = batch;
  args.pixel_type = pixel_type_of(pixel_type);
  args.color = color;
  args.levels = levels;
  args.threads = threads;
  for (const auto& [rows, columns] : offsets) {
    if (rows < 0) throw py::value_error("offsets: expected rows of at least 0");
    args.offsets[args.n_offsets++] = {rows, columns};
  }
  return args;
}

void texture_stats(std::int32_t device, std::uintptr_t stream, const ImageNumbers& image, std::int64_t batch_stride,
                   const MaskNumbers& mask, std::int64_t mask_batch_stride, std::int64_t batch, std::int32_t channels,
                   const std::string& pixel_type, bool color, std::int32_t bins, std::int32_t levels,
                   const Offsets& offsets, std::uintptr_t histograms, std::uintptr_t statistics, std::uintptr_t counted,
                   std::uintptr_t properties, std::uintptr_t blocks, std::uintptr_t workspace,
                   std::int64_t workspace_bytes, std::int32_t threads) {
  TextureStatsCudaArgs args = sizes_of(device, image, mask, batch, pixel_type, color, levels, offsets, threads);
  check_channels(channels);
  if (bins < 2 || bins > 256 || 256 % bins != 0) throw py::value_error("bins: expected a power of two, 2..256");
  if (batch == 0) return;
  if (args.image.data == nullptr) throw py::value_error("image: null address");
  args.batch_stride = batch_stride;
  args.mask_batch_stride = mask_batch_stride;
  args.channels = channels;
  args.bins = bins;
  args.histograms = checked_address<std::int32_t>(histograms, "histograms");
  args.statistics = checked_address<float>(statistics, "statistics");
  args.counted = checked_address<std::int32_t>(counted, "counted");
  if (args.n_offsets > 0) args.properties = checked_address<float>(properties, "properties");
  args.blocks = checked_address<float>(blocks, "blocks");
  if (workspace_bytes > 0) args.workspace = checked_address<std::uint64_t>(workspace, "workspace");
  args.workspace_bytes = workspace_bytes;
  const py::gil_scoped_release released;
  texture_stats_cuda(args, reinterpret_cast<void*>(stream));
}

std::int64_t texture_stats_workspace(std::int32_t device, const ImageNumbers& image, const MaskNumbers& mask,
                                     std::int64_t batch, const std::string& pixel_type, bool color, std::int32_t levels,
                                     const Offsets& offsets, std::int32_t threads) {
  return texture_stats_cuda_workspace(
      sizes_of(device, image, mask, batch, pixel_type, color, levels, offsets, threads));
}

#endif

}  // namespace

void bind_texture_stats(py::module_& module) {
  using namespace py::literals;
#if !defined(IUSCORE_CUDA_MODULE)
  export_limit(module, "TEXTURE_GRID", kGrid);
  export_limit(module, "TEXTURE_STATISTICS", kStatistics);
  export_limit(module, "TEXTURE_PROPERTIES", kTextureProperties);
  export_limit(module, "TEXTURE_COLOR_PLANES", kColorPlanes);
  export_limit(module, "TEXTURE_GRAY_PLANES", kGrayPlanes);
  module.def("texture_stats", &texture_stats, "views"_a, "masks"_a, py::kw_only(), "channels"_a, "pixel_type"_a,
             "color"_a, "bins"_a, "levels"_a, "offsets"_a, "histograms"_a, "statistics"_a, "counted"_a, "properties"_a,
             "blocks"_a, "threads"_a, "Writes what csrc/ops/texture_stats.h says to the addresses given.");
#else
  module.def("texture_stats", &texture_stats, py::kw_only(), "device"_a, "stream"_a, "image"_a, "batch_stride"_a,
             "mask"_a, "mask_batch_stride"_a, "batch"_a, "channels"_a, "pixel_type"_a, "color"_a, "bins"_a, "levels"_a,
             "offsets"_a, "histograms"_a, "statistics"_a, "counted"_a, "properties"_a, "blocks"_a, "workspace"_a = 0,
             "workspace_bytes"_a = 0, "threads"_a = 0,
             "Queues the kernel that writes what _core.texture_stats writes to device memory.");
  module.def("texture_stats_workspace", &texture_stats_workspace, py::kw_only(), "device"_a, "image"_a, "mask"_a,
             "batch"_a, "pixel_type"_a, "color"_a, "levels"_a, "offsets"_a, "threads"_a = 0,
             "Bytes of device memory the kernel needs besides its arguments; -1 where it cannot run on these sizes.");
#endif
}

}  // namespace iuscore
