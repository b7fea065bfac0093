#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/module.h"
#include "ops/texture_stats.h"

namespace py = pybind11;

namespace iuscore {
namespace {

void texture_stats(const ViewTable& views, const MaskTable& masks, std::int32_t channels, const std::string& pixel_type,
                   bool color, std::int32_t bins, std::int32_t levels,
                   const std::vector<std::pair<std::int32_t, std::int32_t>>& offsets, std::uintptr_t histograms,
                   std::uintptr_t statistics, std::uintptr_t counted, std::uintptr_t properties, std::uintptr_t blocks,
                   std::int32_t threads) {
  if (channels != 1 && channels != 3) throw py::value_error("channels: expected 1 or 3");
  if (bins < 2 || bins > 256 || 256 % bins != 0) throw py::value_error("bins: expected a power of two, 2..256");
  if (levels < 2 || levels > 256) throw py::value_error("levels: expected 2..256");
  const std::vector<ImageView> images = views_of(views);
  for (const ImageView& image : images)
    if (image.height > kMostGlcmPixels / image.width) throw py::value_error("views: expected at most 2^30 pixels");
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

}  // namespace

void bind_texture_stats(py::module_& module) {
  using namespace py::literals;
  module.def("texture_stats", &texture_stats, "views"_a, "masks"_a, py::kw_only(), "channels"_a, "pixel_type"_a,
             "color"_a, "bins"_a, "levels"_a, "offsets"_a, "histograms"_a, "statistics"_a, "counted"_a, "properties"_a,
             "blocks"_a, "threads"_a, "Writes what csrc/ops/texture_stats.h says to the addresses given.");
}

}  // namespace iuscore
