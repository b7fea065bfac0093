#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/module.h"
#include "cpu/tap_table.h"
#include "ops/perceptual_maps.h"

namespace py = pybind11;

namespace iuscore {
namespace {

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
  if (in < 1 || out < 1 || in > kLongestSide || out > kLongestSide)
    throw py::value_error("in_size and out_size: expected 1.." + std::to_string(kLongestSide) + ", got " +
                          std::to_string(in) + " and " + std::to_string(out));
  const OwnedTaps table = make_taps(in, out, antialias);
  const py::array_t<std::int32_t> start(static_cast<py::ssize_t>(table.start.size()), table.start.data());
  const py::array_t<float> weight({static_cast<py::ssize_t>(table.taps), static_cast<py::ssize_t>(out)},
                                  table.weight.data());
  return py::make_tuple(start, weight);
}

}  // namespace

void bind_perceptual_maps(py::module_& module) {
  using namespace py::literals;
  module.def("perceptual_maps", &perceptual_maps, "views"_a, py::kw_only(), "channels"_a, "pixel_type"_a, "color"_a,
             "clean"_a, "height"_a, "width"_a, "maps"_a, "map_type"_a, "ranges"_a, "threads"_a,
             "Writes [B, 4, height, width] maps and [B, 4] float32 ranges to the addresses `maps` and `ranges`.");
  module.def("resample_table", &resample_table, "in_size"_a, "out_size"_a, "antialias"_a,
             "(start int32 [out], weight float32 [taps, out]) of one direction of the bicubic resize.");
}

}  // namespace iuscore
