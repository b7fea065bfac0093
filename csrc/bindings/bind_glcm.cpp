#include <algorithm>

#include "bindings/glcm_arguments.h"
#include "bindings/module.h"
#include "ops/glcm.h"

namespace py = pybind11;

namespace iuscore {
namespace {

std::int32_t glcm(const ViewTable& views, const MaskTable& masks, std::int32_t channels, const std::string& pixel_type,
                  const std::string& mode, std::int32_t levels, double low, double divisor, const OffsetTable& offsets,
                  bool symmetric, std::uintptr_t counts, std::int32_t threads) {
  const std::vector<ImageView> images = views_of(views);
  const std::vector<MaskView> mask_views = masks_of(masks, images.size());
  const std::vector<PixelOffset> pairs = offsets_of(offsets);
  const Quantization by = quantization_of(mode, levels, low, divisor);
  const PixelType type = pixel_type_of(pixel_type);
  check_glcm_images(images, channels, type, by);
  check_counts_fit(images, pairs, symmetric);
  std::int32_t largest = 0;
  if (images.empty()) return largest;
  const GlcmArgs args{images.data(),
                      mask_views.empty() ? nullptr : mask_views.data(),
                      static_cast<std::int64_t>(images.size()),
                      channels,
                      type,
                      by,
                      pairs.data(),
                      static_cast<std::int32_t>(pairs.size()),
                      symmetric,
                      checked_address<std::int32_t>(counts, "counts"),
                      &largest,
                      std::max(threads, 1)};
  const py::gil_scoped_release released;
  glcm_cpu(args);
  return largest;
}

}  // namespace

void bind_glcm(py::module_& module) {
  using namespace py::literals;
  module.def("glcm", &glcm, "views"_a, "masks"_a, py::kw_only(), "channels"_a, "pixel_type"_a, "mode"_a, "levels"_a,
             "low"_a, "divisor"_a, "offsets"_a, "symmetric"_a, "counts"_a, "threads"_a,
             "Writes [B, O, levels, levels] int32 counts to the address `counts`.\n"
             "low and divisor (of core/quantize.h) are NaN where they come from each image.\n"
             "Returns the largest counted value (mode levels), else 0.");
}

}  // namespace iuscore
