// _cuda.glcm(*, device, stream, batch, image=(address, height, width, strides of rows, columns, channels),
// batch_stride,
//     mask=(address or 0, strides of rows, columns), mask_batch_stride, channels, pixel_type, mode, levels, low,
//     divisor, offsets, symmetric, counts, threads=0) -> None
//
// Every address is device memory; strides count elements; `stream` is torch's `Stream.cuda_stream`; the rest as in
// bind_glcm.cpp. In mode levels whoever calls has made sure that values are below `levels`.
#include "bindings/glcm_cuda_arguments.h"
#include "bindings/module.h"
#include "ops/glcm.h"

namespace py = pybind11;

namespace iuscore {
namespace {

void glcm(std::int32_t device, std::uintptr_t stream, std::int64_t batch, const ImageNumbers& image,
          std::int64_t batch_stride, const MaskNumbers& mask, std::int64_t mask_batch_stride, std::int32_t channels,
          const std::string& pixel_type, const std::string& mode, std::int32_t levels, double low, double divisor,
          const OffsetTable& offsets, bool symmetric, std::uintptr_t counts, std::int32_t threads) {
  const std::vector<PixelOffset> pairs = offsets_of(offsets);
  if (batch < 0) throw py::value_error("batch: expected at least 0");
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
  args.threads = checked_glcm_threads(threads, kLargestGlcmBlock);
  const py::gil_scoped_release released;
  glcm_cuda(args, reinterpret_cast<void*>(stream));
}

}  // namespace

void bind_glcm_cuda(py::module_& module) {
  using namespace py::literals;
  module.def("glcm", &glcm, py::kw_only(), "device"_a, "stream"_a, "batch"_a, "image"_a, "batch_stride"_a, "mask"_a,
             "mask_batch_stride"_a, "channels"_a, "pixel_type"_a, "mode"_a, "levels"_a, "low"_a, "divisor"_a,
             "offsets"_a, "symmetric"_a, "counts"_a, "threads"_a = 0,
             "Queues the kernel that writes [B, O, levels, levels] int32 counts to device memory.");
}

}  // namespace iuscore
