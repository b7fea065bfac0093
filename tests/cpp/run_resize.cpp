// Runs the CUDA kernel body of resize on the host against the CPU op: equal bytes.
// Usage: run_resize CASES LARGEST_BLOCK SEED. 8 consecutive cases cover channels x memory layouts; everything else is
// drawn. Exits 1 and names the first difference.

// clang-format off
#include "host_cuda.h"  // must come first: it defines the CUDA keywords used in the .cu
// clang-format on

#include <cstdio>

#include "cuda/resize.cu"
#include "drawn_images.h"

using namespace iuscore;

namespace {

// The weights are arbitrary numbers. Kernels only rely on ascending starts and on no weight behind the last input.
struct DrawnTaps {
  std::vector<std::int32_t> start;
  std::vector<std::int16_t> weights;
  ResizeTaps taps{};

  DrawnTaps(std::int64_t size, std::int32_t out, Random& random) {
    taps = {nullptr, nullptr, 0, 0, out};
    if (out == size) return;
    const std::int64_t step = (size + out - 1) / out;
    const auto reach = static_cast<std::int32_t>(std::min<std::int64_t>(size, 4 * step + 1));
    taps.taps = reach;
    taps.shift = pick(random, {14, 15, 18});
    std::int64_t first = 0;
    for (std::int32_t o = 0; o < out; ++o) {
      start.push_back(static_cast<std::int32_t>(first));
      for (std::int32_t j = 0; j < reach; ++j) {
        const bool beyond = first + j >= size;
        weights.push_back(beyond ? std::int16_t{0} : static_cast<std::int16_t>(random() % 8000 - 3000));
      }
      first = std::min<std::int64_t>(size - 1, first + static_cast<std::int64_t>(random()) % (step + 1));
    }
    taps.start = start.data();
    taps.weights = weights.data();
  }
};

bool equal_bytes(unsigned index, std::int32_t largest_block, Random& random) {
  Digits digits{index};
  ImagesCase images{};
  images.pixel_type = PixelType::u8;
  images.channels = digits.next(2) == 0 ? 1 : 3;
  images.memory = static_cast<Memory>(digits.next(4));
  images.misaligned = random() % 4 == 0;
  const Size size =
      pick(random, {Size{1, 1}, Size{1, 16}, Size{5, 3}, Size{17, 13}, Size{16, 40}, Size{3, 80}, Size{48, 9}});
  for (unsigned i = 0, n = 1 + random() % 3; i < n; ++i) {
    images.sizes.push_back(size);
    images.contents.push_back(draw_content(random, images.pixel_type));
  }
  const DrawnImages drawn(images, random);
  const auto side = [&](std::int64_t same) {
    return random() % 4 == 0 ? static_cast<std::int32_t>(same) : pick(random, {1, 2, 7, 16, 33});
  };
  const std::int32_t height = side(size.height);
  const std::int32_t width = side(size.width);
  const DrawnTaps rows(size.height, height, random);
  const DrawnTaps columns(size.width, width, random);
  const auto bytes = static_cast<std::size_t>(height) * static_cast<std::size_t>(width * images.channels);
  std::vector<std::uint8_t> expected(images.sizes.size() * bytes, 7);
  std::vector<std::uint8_t> got(expected.size(), 9);
  std::vector<std::uint8_t*> places;
  for (std::size_t i = 0; i < images.sizes.size(); ++i) places.push_back(expected.data() + i * bytes);
  const auto batch = static_cast<std::int64_t>(images.sizes.size());
  resize_cpu({drawn.views.data(), batch, images.channels, columns.taps, rows.taps, places.data(), 1});
  ResizeCudaArgs args{drawn.views[0],
                      drawn.batch_stride,
                      batch,
                      images.channels,
                      columns.taps,
                      rows.taps,
                      got.data(),
                      0,
                      std::min(pick(random, {32, 32, 64, 96, 256}), largest_block)};
  // Sometimes only as much shared memory as one row of the result needs, so that there are several bands.
  const std::int64_t least = resize_rows(rows.taps, size.height, 1) * std::int64_t{width} * images.channels;
  const ResizeLayout layout = resize_layout(args, random() % 2 == 0 ? least : 48 * 1024);
  host_cuda::launch(resize_kernel_of(args), {static_cast<unsigned>(layout.blocks)},
                    {static_cast<unsigned>(layout.threads)}, static_cast<std::size_t>(layout.shared_bytes), args,
                    layout);
  if (got == expected) return true;
  std::size_t at = 0;
  while (got[at] == expected[at]) ++at;
  std::printf("FAILED %s to %dx%d, %d threads, bands of %d: byte %zu is %d instead of %d\n", images.text().c_str(),
              height, width, layout.threads, layout.band, at, got[at], expected[at]);
  return false;
}

}  // namespace

IUSCORE_MAIN main(int count, char** values) {
  if (count != 4) return std::puts("usage: run_resize CASES LARGEST_BLOCK SEED"), 2;
  const auto cases = static_cast<unsigned>(std::atoi(values[1]));
  Random random(static_cast<unsigned>(std::atoi(values[3])));
  for (unsigned i = 0; i < cases; ++i)
    if (!equal_bytes(i, std::atoi(values[2]), random)) return 1;
  std::printf("%u cases equal\n", cases);
  return 0;
}
