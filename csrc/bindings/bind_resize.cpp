#include "bindings/module.h"
#include "bindings/resize_arguments.h"

namespace py = pybind11;

namespace iuscore {
namespace {

using AddressTable = py::array_t<std::int64_t, py::array::c_style>;

void resize(const ViewTable& views, std::int32_t channels, const TapAddresses& columns, const TapAddresses& rows,
            const AddressTable& out, std::int32_t threads) {
  if (channels != 1 && channels != 3) throw py::value_error("channels: expected 1 or 3");
  const std::vector<ImageView> images = views_of(views);
  if (out.ndim() != 1 || static_cast<std::size_t>(out.shape(0)) != images.size())
    throw py::value_error("out: expected one address per image");
  if (images.empty()) return;
  for (const ImageView& image : images)
    if (image.height != images[0].height || image.width != images[0].width)
      throw py::value_error("views: expected images of one size");
  std::vector<std::uint8_t*> results;
  for (py::ssize_t i = 0; i < out.shape(0); ++i)
    results.push_back(checked_address<std::uint8_t>(static_cast<std::uintptr_t>(out.at(i)), "out"));
  const ResizeArgs args{images.data(),
                        static_cast<std::int64_t>(images.size()),
                        channels,
                        taps_of(columns, images[0].width, "columns"),
                        taps_of(rows, images[0].height, "rows"),
                        results.data(),
                        threads > 1 ? threads : 1};
  const py::gil_scoped_release released;
  resize_cpu(args);
}

}  // namespace

void bind_resize(py::module_& module) {
  using namespace py::literals;
  module.def("resize", &resize, "views"_a, py::kw_only(), "channels"_a, "columns"_a, "rows"_a, "out"_a, "threads"_a,
             "Writes bytes [rows, columns, C] to the address given for each image.");
}

}  // namespace iuscore
