// _cuda.texture_stats(*, device, stream, image=(address, height, width, stride_h, stride_w, stride_c), batch_stride,
//     mask=(address or 0, stride_h, stride_w), mask_batch_stride, batch, channels, pixel_type, color, bins, levels,
//     offsets, histograms, statistics, counted, properties, blocks, workspace=0, workspace_bytes=0, threads=0) -> None
// _cuda.texture_stats_workspace(...the sizes and choices of these...) -> bytes, -1 where no strip fits
//
// Every address is an integer and device memory; strides count elements; `stream` is torch's `Stream.cuda_stream`.
#include <pybind11/stl.h>

#include <array>

#include "bindings/arguments.h"
#include "bindings/module.h"
#include "ops/texture_stats.h"

namespace py = pybind11;

namespace iuscore {
namespace {

using Offsets = std::vector<std::pair<std::int32_t, std::int32_t>>;

TextureStatsCudaArgs sizes_of(std::int32_t device, const std::array<std::int64_t, 6>& image,
                              const std::array<std::int64_t, 3>& mask, std::int64_t batch,
                              const std::string& pixel_type, bool color, std::int32_t levels, const Offsets& offsets,
                              std::int32_t threads) {
  const auto [data, height, width, stride_h, stride_w, stride_c] = image;
  if (height < 1 || width < 1 || height > (std::int64_t{1} << 30) / width)
    throw py::value_error("image: expected height and width of at least 1 and at most 2^30 pixels");
  if (batch < 0) throw py::value_error("batch: expected at least 0");
  if (levels < 2 || levels > 256) throw py::value_error("levels: expected 2..256");
  if (offsets.size() > kMostOffsets) throw py::value_error("offsets: expected at most " + std::to_string(kMostOffsets));
  if (threads != 0 && (threads < 64 || threads > kLargestTextureBlock || threads % 32 != 0))
    throw py::value_error("threads: expected 0 or a multiple of 32 from 64 to " + std::to_string(kLargestTextureBlock));
  TextureStatsCudaArgs args{};
  args.device = device;
  args.image = {reinterpret_cast<const void*>(data), height, width, stride_h, stride_w, stride_c};
  args.mask = {reinterpret_cast<const std::uint8_t*>(mask[0]), mask[1], mask[2]};
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

void texture_stats(std::int32_t device, std::uintptr_t stream, const std::array<std::int64_t, 6>& image,
                   std::int64_t batch_stride, const std::array<std::int64_t, 3>& mask, std::int64_t mask_batch_stride,
                   std::int64_t batch, std::int32_t channels, const std::string& pixel_type, bool color,
                   std::int32_t bins, std::int32_t levels, const Offsets& offsets, std::uintptr_t histograms,
                   std::uintptr_t statistics, std::uintptr_t counted, std::uintptr_t properties, std::uintptr_t blocks,
                   std::uintptr_t workspace, std::int64_t workspace_bytes, std::int32_t threads) {
  TextureStatsCudaArgs args = sizes_of(device, image, mask, batch, pixel_type, color, levels, offsets, threads);
  if (channels != 1 && channels != 3) throw py::value_error("channels: expected 1 or 3");
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

std::int64_t texture_stats_workspace(std::int32_t device, const std::array<std::int64_t, 6>& image,
                                     const std::array<std::int64_t, 3>& mask, std::int64_t batch,
                                     const std::string& pixel_type, bool color, std::int32_t levels,
                                     const Offsets& offsets, std::int32_t threads) {
  return texture_stats_cuda_workspace(
      sizes_of(device, image, mask, batch, pixel_type, color, levels, offsets, threads));
}

}  // namespace

void bind_texture_stats_cuda(py::module_& module) {
  using namespace py::literals;
  module.def("texture_stats", &texture_stats, py::kw_only(), "device"_a, "stream"_a, "image"_a, "batch_stride"_a,
             "mask"_a, "mask_batch_stride"_a, "batch"_a, "channels"_a, "pixel_type"_a, "color"_a, "bins"_a, "levels"_a,
             "offsets"_a, "histograms"_a, "statistics"_a, "counted"_a, "properties"_a, "blocks"_a, "workspace"_a = 0,
             "workspace_bytes"_a = 0, "threads"_a = 0,
             "Queues the kernel that writes what _core.texture_stats writes to device memory.");
  module.def("texture_stats_workspace", &texture_stats_workspace, py::kw_only(), "device"_a, "image"_a, "mask"_a,
             "batch"_a, "pixel_type"_a, "color"_a, "levels"_a, "offsets"_a, "threads"_a = 0,
             "Bytes of device memory the kernel needs besides its arguments; -1 where it cannot run on these sizes.");
}

}  // namespace iuscore
