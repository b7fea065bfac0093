// A resize of bytes: a block resizes the rows that it needs in width, into shared memory, then in height.
#include "core/macros.h"
#include "core/resize.h"
#include "cuda/block.cuh"
#include "cuda/launch.h"
#include "ops/resize.h"

namespace iuscore {

// ---- How the work is divided: a block computes a band of output rows

constexpr std::int64_t kResizeBandBytes = 32 * 1024;  // of shared memory: several blocks fit a multiprocessor

struct ResizeLayout {
  std::int32_t band;   // output rows of a block
  std::int32_t bands;  // of an image
  std::int64_t shared_bytes;
  std::int64_t blocks;
  std::int32_t threads;
};

// Largest number of input rows that `band` output rows need. Their windows begin at most height / out rows, rounded up,
// apart.
IUSCORE_HD std::int64_t resize_rows(const ResizeTaps& rows, std::int64_t height, std::int64_t band) {
  if (rows.taps == 0) return band;
  const std::int64_t step = (height + rows.out - 1) / rows.out;
  const std::int64_t reach = (band - 1) * step + rows.taps;
  return reach < height ? reach : height;
}

// band = 0 if not even one output row fits.
IUSCORE_HD ResizeLayout resize_layout(const ResizeCudaArgs& args, std::int64_t shared_limit) {
  const std::int64_t row_bytes = std::int64_t{args.columns.out} * args.channels;
  const auto bytes_of = [&](std::int64_t band) { return resize_rows(args.rows, args.image.height, band) * row_bytes; };
  ResizeLayout layout{};
  if (bytes_of(1) > shared_limit) return layout;
  std::int64_t band = 1;
  const std::int64_t wanted = shared_limit < kResizeBandBytes ? shared_limit : kResizeBandBytes;
  while (band < args.rows.out && bytes_of(band + 1) <= wanted) ++band;
  layout.band = static_cast<std::int32_t>(band);
  layout.bands = static_cast<std::int32_t>((args.rows.out + band - 1) / band);
  layout.shared_bytes = bytes_of(band);
  layout.blocks = args.batch * layout.bands;
  layout.threads = args.threads > 0 ? args.threads : kMaxResizeBlock;
  return layout;
}

// ---- The kernel

// Byte (x, c) of input row y, resized in width.
template <int kChannels>
__device__ std::uint8_t resized_column(const ResizeCudaArgs& args, const std::uint8_t* image, std::int32_t y,
                                       std::int32_t x, std::int32_t c) {
  const std::uint8_t* row = image + y * args.image.stride_h + c * args.image.stride_c;
  const ResizeTaps& taps = args.columns;
  if (taps.taps == 0) return row[x * args.image.stride_w];
  const std::int32_t start = taps.start[x];
  const std::int16_t* weights = taps.weights + std::int64_t{x} * taps.taps;
  const auto left = static_cast<std::int32_t>(args.image.width) - start;
  const std::int32_t count = taps.taps < left ? taps.taps : left;
  std::int32_t sum = resize_half(taps.shift);
  for (std::int32_t j = 0; j < count; ++j) sum += weights[j] * row[(start + j) * args.image.stride_w];
  return resize_byte(sum, taps.shift);
}

template <int kChannels>
__global__ void __launch_bounds__(kMaxResizeBlock) resize_kernel(ResizeCudaArgs args, ResizeLayout layout) {
  auto* done = reinterpret_cast<std::uint8_t*>(dynamic_shared());
  const auto row_bytes = args.columns.out * kChannels;
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  const auto threads = static_cast<std::int32_t>(blockDim.x);
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) / layout.bands;
  const auto band = static_cast<std::int32_t>(static_cast<std::int64_t>(blockIdx.x) % layout.bands);
  const auto* image = static_cast<const std::uint8_t*>(args.image.data) + index * args.batch_stride;
  const ResizeTaps& rows = args.rows;
  const std::int32_t from = band * layout.band;
  const std::int32_t to = from + layout.band < rows.out ? from + layout.band : rows.out;
  const std::int32_t first = rows.taps > 0 ? rows.start[from] : from;
  const std::int32_t reach = rows.taps > 0 ? rows.start[to - 1] + rows.taps : to;
  const auto height = static_cast<std::int32_t>(args.image.height);
  const std::int32_t count = (reach < height ? reach : height) - first;
  for (std::int32_t k = thread; k < count * row_bytes; k += threads) {
    const std::int32_t at = k % row_bytes;
    done[k] = resized_column<kChannels>(args, image, first + k / row_bytes, at / kChannels, at % kChannels);
  }
  __syncthreads();
  std::uint8_t* out = args.out + (index * rows.out + from) * row_bytes;
  for (std::int32_t k = thread; k < (to - from) * row_bytes; k += threads) {
    if (rows.taps == 0) {
      out[k] = done[k];
      continue;
    }
    const std::int32_t o = from + k / row_bytes;
    const std::int32_t start = rows.start[o] - first;
    const std::int16_t* weights = rows.weights + std::int64_t{o} * rows.taps;
    const std::int32_t used = rows.taps < count - start ? rows.taps : count - start;
    std::int32_t sum = resize_half(rows.shift);
    for (std::int32_t j = 0; j < used; ++j) sum += weights[j] * done[(start + j) * row_bytes + k % row_bytes];
    out[k] = resize_byte(sum, rows.shift);
  }
}

using ResizeKernel = void (*)(ResizeCudaArgs, ResizeLayout);

inline ResizeKernel resize_kernel_of(const ResizeCudaArgs& args) {
  return args.channels == 3 ? resize_kernel<3> : resize_kernel<1>;
}

bool resize_cuda_fits(const ResizeCudaArgs& args) {
  return resize_layout(args, Launcher("resize", args.device).shared_limit()).band > 0;
}

void resize_cuda(const ResizeCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher("resize", args.device);
  const CurrentDevice current = launcher.use_device();
  const ResizeLayout layout = resize_layout(args, launcher.shared_limit());
  if (layout.band == 0)
    throw std::runtime_error("resize: the input rows of one output row do not fit into shared memory");
  launcher.launch(resize_kernel_of(args), layout.blocks, layout.threads, layout.shared_bytes, stream, args, layout);
}

}  // namespace iuscore
