#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/histogram_arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

// counts and outside are as large as their shapes say: the caller allocates them.
void color_histogram(const ViewTable& views, const ViewTable& masks, std::int32_t channels,
                     const std::string& pixel_type, const std::string& space, bool joint,
                     const std::vector<EdgeArray>& edges, std::uintptr_t counts, std::uintptr_t outside,
                     std::int32_t threads) {
  if (channels != 1 && channels != 3) throw py::value_error("channels: expected 1 or 3");
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
  args.outside = checked_address<std::int32_t>(outside, "outside");
  args.threads = std::max(threads, 1);
  const py::gil_scoped_release released;
  color_histogram_cpu(args);
}

py::tuple guessed_axis(const EdgeArray& edges) {
  check_edge_array(edges, kMostBins);
  const BinAxis axis = bin_axis(edges.data(), static_cast<std::int32_t>(edges.size()) - 1);
  return py::make_tuple(axis.low, axis.scale, axis.close);
}

}  // namespace

void bind_color_histogram(py::module_& module) {
  using namespace py::literals;
  module.def("color_histogram", &color_histogram, "views"_a, "masks"_a, py::kw_only(), "channels"_a, "pixel_type"_a,
             "space"_a, "joint"_a, "edges"_a, "counts"_a, "outside"_a, "threads"_a,
             "Writes int32 counts [B, bins] and outside [B, C, 3] to the addresses `counts` and `outside`.");
  module.def("guessed_axis", &guessed_axis, "edges"_a,
             "(low, scale, close) by which kernels guess a bin: csrc/core/histogram.h.");
}

}  // namespace iuscore
