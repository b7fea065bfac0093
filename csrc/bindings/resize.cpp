// The op `resize`: csrc/ops/resize.h.
//
// columns, rows: one direction each, (address of start, address of weights, taps, shift, out); taps = 0 keeps the size.
#include "ops/resize.h"

#include "bindings/arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

using TapAddresses = std::array<std::int64_t, 5>;

ResizeTaps taps_of(const TapAddresses& given, std::int64_t size, const char* name) {
  const auto [start, weights, taps, shift, out] = given;
  constexpr std::int64_t kMax = std::numeric_limits<std::int32_t>::max() / 4;
  if (out < 1 || out > kMax || taps < 0 || taps > size)
    throw py::value_error(std::string(name) + ": expected out of at least 1 and taps of 0.." + std::to_string(size));
  if (taps == 0 && out != size) throw py::value_error(std::string(name) + ": without taps the size is kept");
  if (taps == 0) return {nullptr, nullptr, 0, 0, static_cast<std::int32_t>(out)};
  if (shift < kMinResizeShift || shift > kMaxResizeShift)
    throw py::value_error(std::string(name) + ": expected a shift of " + std::to_string(kMinResizeShift) + ".." +
                          std::to_string(kMaxResizeShift));
  return {checked_address<const std::int32_t>(static_cast<std::uintptr_t>(start), name),
          checked_address<const std::int16_t>(static_cast<std::uintptr_t>(weights), name),
          static_cast<std::int32_t>(taps), static_cast<std::int32_t>(shift), static_cast<std::int32_t>(out)};
}

#if !defined(IUSCORE_CUDA_MODULE)

using AddressTable = py::array_t<std::int64_t, py::array::c_style>;

void resize(const ViewTable& views, std::int32_t channels, const TapAddresses& columns, const TapAddresses& rows,
            const AddressTable& out, std::int32_t threads) {
  check_channels(channels);
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

#else  // _cuda

ResizeCudaArgs args_of(std::int32_t device, std::int64_t batch, std::int32_t channels, const ImageNumbers& image,
                       std::int64_t batch_stride, const TapAddresses& columns, const TapAddresses& rows,
                       std::uintptr_t out, std::int32_t threads) {
  check_channels(channels);
  check_batch(batch);
  checked_threads(threads, kMaxResizeBlock);
  const auto [data, height, width, stride_h, stride_w, stride_c] = image;
  if (height < 1 || width < 1) throw py::value_error("image: height and width must be at least 1");
  const auto* pixels =
      batch > 0 ? checked_address<const std::uint8_t>(static_cast<std::uintptr_t>(data), "image") : nullptr;
  return {{pixels, height, width, stride_h, stride_w, stride_c},
          batch_stride,
          batch,
          channels,
          taps_of(columns, width, "columns"),
          taps_of(rows, height, "rows"),
          batch > 0 ? checked_address<std::uint8_t>(out, "out") : nullptr,
          device,
          threads};
}

void resize(std::int32_t device, std::uintptr_t stream, std::int64_t batch, std::int32_t channels,
            const ImageNumbers& image, std::int64_t batch_stride, const TapAddresses& columns, const TapAddresses& rows,
            std::uintptr_t out, std::int32_t threads) {
  const ResizeCudaArgs args = args_of(device, batch, channels, image, batch_stride, columns, rows, out, threads);
  const py::gil_scoped_release released;
  resize_cuda(args, reinterpret_cast<void*>(stream));
}

bool resize_fits(std::int32_t device, std::int32_t channels, std::int64_t height, std::int32_t width,
                 std::int32_t row_taps) {
  ResizeCudaArgs args{};
  args.device = device;
  args.channels = channels;
  args.image.height = height;
  args.columns.out = width;
  args.rows.taps = row_taps;
  args.rows.out = 1;
  return resize_cuda_fits(args);
}

#endif

}  // namespace

void bind_resize(py::module_& module) {
  using namespace py::literals;
#if !defined(IUSCORE_CUDA_MODULE)
  export_limit(module, "MAX_RESIZE_SHIFT", kMaxResizeShift);
  module.def("resize", &resize, "views"_a, py::kw_only(), "channels"_a, "columns"_a, "rows"_a, "out"_a, "threads"_a,
             "Writes bytes [rows, columns, C] to the address given for each image.");
#else
  module.def("resize", &resize, py::kw_only(), "device"_a, "stream"_a, "batch"_a, "channels"_a, "image"_a,
             "batch_stride"_a, "columns"_a, "rows"_a, "out"_a, "threads"_a = 0,
             "Queues the kernel that writes bytes [B, rows, columns, C].");
  module.def("resize_fits", &resize_fits, py::kw_only(), "device"_a, "channels"_a, "height"_a, "width"_a, "row_taps"_a,
             "Whether the input rows that one output row of this width is made of fit a block's shared memory.");
#endif
}

}  // namespace iuscore
