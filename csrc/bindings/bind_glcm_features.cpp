#include <algorithm>

#include "bindings/glcm_arguments.h"
#include "bindings/module.h"
#include "ops/glcm_features.h"

namespace py = pybind11;

namespace iuscore {
namespace {

std::int32_t glcm_features(const ViewTable& views, const MaskTable& masks, std::int32_t channels,
                           const std::string& pixel_type, const std::string& mode, std::int32_t levels, double low,
                           double divisor, const OffsetTable& offsets, bool symmetric, const FeatureTable& features,
                           bool wide, std::uintptr_t values, std::int32_t threads) {
  const std::vector<ImageView> images = views_of(views);
  const std::vector<MaskView> mask_views = masks_of(masks, images.size());
  const std::vector<PixelOffset> pairs = offsets_of(offsets);
  const std::vector<GlcmFeature> names = features_of(features);
  GlcmFeaturesArgs args{};
  args.images = images.data();
  args.masks = mask_views.empty() ? nullptr : mask_views.data();
  args.batch = static_cast<std::int64_t>(images.size());
  args.channels = channels;
  args.pixel_type = pixel_type_of(pixel_type);
  args.quantization = quantization_of(mode, levels, low, divisor);
  args.offsets = pairs.data();
  args.offset_count = static_cast<std::int32_t>(pairs.size());
  args.symmetric = symmetric;
  args.features = names.data();
  args.feature_count = static_cast<std::int32_t>(names.size());
  args.wide = wide;
  args.threads = std::max(threads, 1);
  check_glcm_images(images, channels, args.pixel_type, args.quantization);
  std::int32_t largest = 0;
  if (images.empty()) return largest;
  args.values = checked_address<void>(values, "values", wide ? 8 : 4);
  args.largest = &largest;
  const py::gil_scoped_release released;
  glcm_features_cpu(args);
  return largest;
}

void glcm_matrix_features(std::uintptr_t counts, std::int64_t batch, std::int32_t offsets, std::int32_t levels,
                          bool symmetric, const FeatureTable& features, bool wide, std::uintptr_t values,
                          std::int32_t threads) {
  if (batch < 0 || offsets < 1) throw py::value_error("counts: expected a shape [B, O, levels, levels], O at least 1");
  const std::vector<GlcmFeature> names = features_of(features);
  GlcmFeaturesArgs args{};
  args.batch = batch;
  args.quantization.levels = checked_levels(levels);
  args.offset_count = offsets;
  args.symmetric = symmetric;
  args.features = names.data();
  args.feature_count = static_cast<std::int32_t>(names.size());
  args.wide = wide;
  args.threads = std::max(threads, 1);
  if (batch == 0) return;
  args.counts = checked_address<const std::int32_t>(counts, "counts");
  args.values = checked_address<void>(values, "values", wide ? 8 : 4);
  const py::gil_scoped_release released;
  glcm_features_cpu(args);
}

}  // namespace

void bind_glcm_features(py::module_& module) {
  using namespace py::literals;
  module.def("glcm_features", &glcm_features, "views"_a, "masks"_a, py::kw_only(), "channels"_a, "pixel_type"_a,
             "mode"_a, "levels"_a, "low"_a, "divisor"_a, "offsets"_a, "symmetric"_a, "features"_a, "wide"_a, "values"_a,
             "threads"_a,
             "Writes [B, O, F] features, float64 where wide, else float32, to the address `values`.\n"
             "Returns the largest counted value (mode levels), else 0.");
  module.def("glcm_matrix_features", &glcm_matrix_features, py::kw_only(), "counts"_a, "batch"_a, "offsets"_a,
             "levels"_a, "symmetric"_a, "features"_a, "wide"_a, "values"_a, "threads"_a,
             "The same of int32 counts [B, O, levels, levels] at the address `counts`.");
}

}  // namespace iuscore
