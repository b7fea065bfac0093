// filtered: (address, bytes) of height rows of 1 + width * channels. pixels: (address, bytes) of [height, width,
// channels].
#include <string>
#include <tuple>

#include "bindings/module.h"
#include "ops/png_rows.h"

namespace py = pybind11;

namespace iuscore {
namespace {

using PngBuffer = std::tuple<std::uintptr_t, std::int64_t>;

std::uintptr_t checked(const PngBuffer& buffer, std::int64_t bytes, const char* name) {
  const auto [address, found] = buffer;
  if (found != bytes)
    throw py::value_error(std::string(name) + ": expected " + std::to_string(bytes) + " bytes, got " +
                          std::to_string(found));
  if (address == 0) throw py::value_error(std::string(name) + ": null address");
  return address;
}

bool png_rows(const PngBuffer& filtered, const PngBuffer& pixels, std::int64_t height, std::int64_t width,
              std::int32_t channels) {
  constexpr std::int64_t largest = 1LL << 30;
  if (height < 1 || width < 1 || height > largest || width > largest)
    throw py::value_error("height, width: expected 1 to 2^30");
  if (channels != 1 && channels != 3) throw py::value_error("channels: expected 1 or 3");
  const std::int64_t row = width * channels;
  PngRowsArgs args{};
  args.filtered = reinterpret_cast<const std::uint8_t*>(checked(filtered, height * (row + 1), "filtered"));
  args.pixels = reinterpret_cast<std::uint8_t*>(checked(pixels, height * row, "pixels"));
  args.height = height;
  args.width = width;
  args.channels = channels;
  const py::gil_scoped_release released;
  return png_rows_cpu(args);
}

}  // namespace

void bind_png_rows(py::module_& module) {
  using namespace py::literals;
  module.def("png_rows", &png_rows, py::kw_only(), "filtered"_a, "pixels"_a, "height"_a, "width"_a, "channels"_a,
             "Undoes the row filters of a PNG file; False where a filter is unknown.");
}

}  // namespace iuscore
