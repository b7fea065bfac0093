// The op `glcm`: csrc/ops/glcm.h.
//
// On a GPU the caller has made sure that with mode "levels" all values are below `levels`.
#include "ops/glcm.h"

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

#if !defined(IUSCORE_CUDA_MODULE)

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

#else  // _cuda

void glcm(std::int32_t device, std::uintptr_t stream, std::int64_t batch, const ImageNumbers& image,
          std::int64_t batch_stride, const MaskNumbers& mask, std::int64_t mask_batch_stride, std::int32_t channels,
          const std::string& pixel_type, const std::string& mode, std::int32_t levels, double low, double divisor,
          const OffsetTable& offsets, bool symmetric, std::uintptr_t counts, std::int32_t threads) {
  const std::vector<PixelOffset> pairs = offsets_of(offsets);
  check_batch(batch);
  GlcmCudaArgs args{};
  args.batch = batch;
  args.quantization = quantization_of(mode, levels, low, divisor);
  set_glcm_images(args, image, batch_stride, mask, mask_batch_stride, channels, pixel_type);
  args.offsets = pairs.data();
  args.offset_count = static_cast<std::int32_t>(pairs.size());
  args.symmetric = symmetric;
  check_counts_fit({args.image}, pairs, symmetric);
  args.counts = checked_address<std::int32_t>(counts, "counts");
  args.device = device;
  args.threads = checked_threads(threads, kMaxGlcmBlock);
  const py::gil_scoped_release released;
  glcm_cuda(args, reinterpret_cast<void*>(stream));
}

#endif

}  // namespace

void bind_glcm(py::module_& module) {
  using namespace py::literals;
#if !defined(IUSCORE_CUDA_MODULE)
  export_limit(module, "MIN_LEVELS", kMinLevels);
  export_limit(module, "MAX_LEVELS", kMaxLevels);
  export_limit(module, "MAX_OFFSETS", kMaxOffsets);
  export_limit(module, "MAX_GLCM_PIXELS", kMaxGlcmPixels);
  module.def("glcm", &glcm, "views"_a, "masks"_a, py::kw_only(), "channels"_a, "pixel_type"_a, "mode"_a, "levels"_a,
             "low"_a, "divisor"_a, "offsets"_a, "symmetric"_a, "counts"_a, "threads"_a,
             "Writes [B, O, levels, levels] int32 counts to the address `counts`.\n"
             "low and divisor (of core/quantize.h) are NaN where they come from each image.\n"
             "Returns the largest counted value (mode levels), else 0.");
#else
  module.def("glcm", &glcm, py::kw_only(), "device"_a, "stream"_a, "batch"_a, "image"_a, "batch_stride"_a, "mask"_a,
             "mask_batch_stride"_a, "channels"_a, "pixel_type"_a, "mode"_a, "levels"_a, "low"_a, "divisor"_a,
             "offsets"_a, "symmetric"_a, "counts"_a, "threads"_a = 0,
             "Queues the kernel that writes [B, O, levels, levels] int32 counts to device memory.");
#endif
}

}  // namespace iuscore
