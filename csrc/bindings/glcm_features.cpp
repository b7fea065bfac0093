// The op `glcm_features`: csrc/ops/glcm_features.h.
#include "ops/glcm_features.h"

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

#if !defined(IUSCORE_CUDA_MODULE)

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

#else  // _cuda

void set_output(GlcmFeaturesCudaArgs& args, const std::vector<GlcmFeature>& features, bool wide, std::uintptr_t values,
                std::uintptr_t workspace, std::int64_t workspace_bytes) {
  args.features = features.data();
  args.feature_count = static_cast<std::int32_t>(features.size());
  args.wide = wide;
  args.values = checked_address<void>(values, "values", wide ? 8 : 4);
  args.workspace = checked_address<void>(workspace, "workspace", 16);
  args.workspace_bytes = workspace_bytes;
}

void glcm_features(std::int32_t device, std::uintptr_t stream, std::int64_t batch, const ImageNumbers& image,
                   std::int64_t batch_stride, const MaskNumbers& mask, std::int64_t mask_batch_stride,
                   std::int32_t channels, const std::string& pixel_type, const std::string& mode, std::int32_t levels,
                   double low, double divisor, const OffsetTable& offsets, bool symmetric, const FeatureTable& features,
                   bool wide, std::uintptr_t values, std::uintptr_t workspace, std::int64_t workspace_bytes,
                   std::int32_t threads) {
  const std::vector<PixelOffset> pairs = offsets_of(offsets);
  const std::vector<GlcmFeature> names = features_of(features);
  check_batch(batch);
  GlcmFeaturesCudaArgs args{};
  args.batch = batch;
  args.quantization = quantization_of(mode, levels, low, divisor);
  set_glcm_images(args, image, batch_stride, mask, mask_batch_stride, channels, pixel_type);
  args.offsets = pairs.data();
  args.offset_count = static_cast<std::int32_t>(pairs.size());
  args.symmetric = symmetric;
  set_output(args, names, wide, values, workspace, workspace_bytes);
  args.device = device;
  args.threads = checked_threads(threads, kMaxGlcmBlock);
  const py::gil_scoped_release released;
  glcm_features_cuda(args, reinterpret_cast<void*>(stream));
}

void glcm_matrix_features(std::int32_t device, std::uintptr_t stream, std::uintptr_t counts, std::int64_t batch,
                          std::int32_t offsets, std::int32_t levels, bool symmetric, const FeatureTable& features,
                          bool wide, std::uintptr_t values, std::uintptr_t workspace, std::int64_t workspace_bytes) {
  if (batch < 0 || offsets < 1) throw py::value_error("counts: expected a shape [B, O, levels, levels], O at least 1");
  const std::vector<GlcmFeature> names = features_of(features);
  GlcmFeaturesCudaArgs args{};
  args.batch = batch;
  args.quantization.levels = checked_levels(levels);
  args.offset_count = offsets;
  args.symmetric = symmetric;
  args.counts = checked_address<const std::int32_t>(counts, "counts");
  set_output(args, names, wide, values, workspace, workspace_bytes);
  args.device = device;
  const py::gil_scoped_release released;
  glcm_features_cuda(args, reinterpret_cast<void*>(stream));
}

std::int64_t glcm_features_workspace(std::int64_t batch, std::int64_t height, std::int64_t width, std::int32_t offsets,
                                     std::int32_t levels) {
  if (batch < 0 || height < 0 || width < 0 || offsets < 1)
    throw py::value_error("batch, height, width, offsets: expected sizes");
  GlcmFeaturesCudaArgs args{};
  static const std::int32_t given = 0;
  args.counts = height == 0 ? &given : nullptr;
  args.batch = batch;
  args.image.height = height;
  args.image.width = width;
  args.offset_count = offsets;
  args.quantization.levels = checked_levels(levels);
  return glcm_features_cuda_workspace(args);
}

#endif

}  // namespace

void bind_glcm_features(py::module_& module) {
  using namespace py::literals;
#if !defined(IUSCORE_CUDA_MODULE)
  module.def("glcm_features", &glcm_features, "views"_a, "masks"_a, py::kw_only(), "channels"_a, "pixel_type"_a,
             "mode"_a, "levels"_a, "low"_a, "divisor"_a, "offsets"_a, "symmetric"_a, "features"_a, "wide"_a, "values"_a,
             "threads"_a,
             "Writes [B, O, F] features, float64 where wide, else float32, to the address `values`.\n"
             "Returns the largest counted value (mode levels), else 0.");
  module.def("glcm_matrix_features", &glcm_matrix_features, py::kw_only(), "counts"_a, "batch"_a, "offsets"_a,
             "levels"_a, "symmetric"_a, "features"_a, "wide"_a, "values"_a, "threads"_a,
             "The same of int32 counts [B, O, levels, levels] at the address `counts`.");
#else
  module.def("glcm_features", &glcm_features, py::kw_only(), "device"_a, "stream"_a, "batch"_a, "image"_a,
             "batch_stride"_a, "mask"_a, "mask_batch_stride"_a, "channels"_a, "pixel_type"_a, "mode"_a, "levels"_a,
             "low"_a, "divisor"_a, "offsets"_a, "symmetric"_a, "features"_a, "wide"_a, "values"_a, "workspace"_a,
             "workspace_bytes"_a, "threads"_a = 0,
             "Queues the kernels that write [B, O, F] features, float64 where wide, else float32, to device memory.");
  module.def("glcm_matrix_features", &glcm_matrix_features, py::kw_only(), "device"_a, "stream"_a, "counts"_a,
             "batch"_a, "offsets"_a, "levels"_a, "symmetric"_a, "features"_a, "wide"_a, "values"_a, "workspace"_a,
             "workspace_bytes"_a,
             "The same of int32 counts [B, O, levels, levels] whose sums are known to be small enough.");
  module.def("glcm_features_workspace", &glcm_features_workspace, py::kw_only(), "batch"_a, "height"_a, "width"_a,
             "offsets"_a, "levels"_a, "Bytes of device memory the kernels need; height = width = 0 for matrices.");
#endif
}

}  // namespace iuscore
