// The op `image_views`: csrc/ops/image_views.h.
//
// weights, bias: addresses of [36 C, 64] and [64] contiguous floats, C = 3 of color views and 1 of gray ones.
#include "ops/image_views.h"

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

void check_sides(const ImageView& image) {
  if (image.height > kMaxViewsSide || image.width > kMaxViewsSide)
    throw py::value_error("images: expected sides of at most " + std::to_string(kMaxViewsSide));
}

PatchFilters filters_of(std::uintptr_t weights, std::uintptr_t bias) {
  return {checked_address<const float>(weights, "weights"), checked_address<const float>(bias, "bias")};
}

#if !defined(IUSCORE_CUDA_MODULE)

void image_views(const ViewTable& views, std::int32_t channels, bool color, std::uintptr_t weights, std::uintptr_t bias,
                 std::uintptr_t thumb, std::uintptr_t patch, std::int32_t threads) {
  check_channels(channels);
  const std::vector<ImageView> images = views_of(views);
  for (const ImageView& image : images) check_sides(image);
  if (images.empty()) return;
  const ImageViewsArgs args{images.data(),
                            static_cast<std::int64_t>(images.size()),
                            channels,
                            color,
                            filters_of(weights, bias),
                            checked_address<float>(thumb, "thumb"),
                            checked_address<float>(patch, "patch"),
                            std::max(threads, 1)};
  const py::gil_scoped_release released;
  image_views_cpu(args);
}

#else  // _cuda

void image_views(std::int32_t device, std::uintptr_t stream, std::int64_t batch, std::int32_t channels,
                 const ImageNumbers& image, std::int64_t batch_stride, bool color, std::uintptr_t weights,
                 std::uintptr_t bias, std::uintptr_t thumb, std::uintptr_t patch, std::int32_t threads) {
  check_channels(channels);
  check_batch(batch);
  checked_threads(threads, kMaxViewsBlock);
  const ImageView view = image_of(image);
  check_sides(view);
  if (batch == 0) return;
  checked_address<const std::uint8_t>(static_cast<std::uintptr_t>(image[0]), "image");
  const ImageViewsCudaArgs args{view,
                                batch_stride,
                                batch,
                                channels,
                                color,
                                filters_of(weights, bias),
                                checked_address<float>(thumb, "thumb"),
                                checked_address<float>(patch, "patch"),
                                device,
                                threads};
  const py::gil_scoped_release released;
  image_views_cuda(args, reinterpret_cast<void*>(stream));
}

#endif

}  // namespace

void bind_image_views(py::module_& module) {
  using namespace py::literals;
#if !defined(IUSCORE_CUDA_MODULE)
  export_limit(module, "MAX_VIEWS_SIDE", kMaxViewsSide);
  export_limit(module, "PATCH_FILTERS", kPatchFilters);
  export_limit(module, "PATCH_RESPONSES", kPatchResponses);
  export_limit(module, "PATCH_SIDE", kPatchSide);
  export_limit(module, "PATCH_WINDOW", kPatchWindow);
  export_limit(module, "THUMB_SIDE", kThumbSide);
  module.def("image_views", &image_views, "views"_a, py::kw_only(), "channels"_a, "color"_a, "weights"_a, "bias"_a,
             "thumb"_a, "patch"_a, "threads"_a, "Writes [B, 64 C] thumbnails and [B, 512] patch responses.");
#else
  module.def("image_views", &image_views, py::kw_only(), "device"_a, "stream"_a, "batch"_a, "channels"_a, "image"_a,
             "batch_stride"_a, "color"_a, "weights"_a, "bias"_a, "thumb"_a, "patch"_a, "threads"_a = 0,
             "Queues the kernel that writes [B, 64 C] thumbnails and [B, 512] patch responses.");
#endif
}

}  // namespace iuscore
