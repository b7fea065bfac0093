// Runs the CUDA kernel body of image_views on the host against the CPU op: equal in every bit.
// Usage: run_image_views CASES LARGEST_BLOCK SEED. 16 consecutive cases cover channels x color or gray x memory
// layouts; everything else is drawn. Exits 1 and names the first difference.

// clang-format off
#include "host_cuda.h"  // must come first: it defines the CUDA keywords used in the .cu
// clang-format on

#include <cstdio>

#include "cuda/image_views.cu"
#include "drawn_images.h"

using namespace iuscore;

namespace {

std::vector<float> drawn_numbers(std::size_t count, Random& random) {
  std::vector<float> numbers(count);
  for (float& number : numbers) number = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
  return numbers;
}

bool same(const char* name, const std::vector<float>& got, const std::vector<float>& expected,
          const std::string& text) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::memcmp(&got[i], &expected[i], sizeof(float)) == 0) continue;
    std::printf("FAILED %s\n%s[%zu]: %.9g instead of %.9g\n", text.c_str(), name, i, static_cast<double>(got[i]),
                static_cast<double>(expected[i]));
    return false;
  }
  return true;
}

bool equal_bits(unsigned number, std::int32_t largest_block, Random& random) {
  Digits digits{number};
  ImagesCase images{};
  images.pixel_type = PixelType::u8;
  images.channels = digits.next(2) == 0 ? 1 : 3;
  const bool color = digits.next(2) == 1;
  images.memory = static_cast<Memory>(digits.next(4));
  images.misaligned = random() % 4 == 0;
  const Size size =
      pick(random, {Size{1, 1}, Size{5, 3}, Size{32, 32}, Size{64, 32}, Size{33, 40}, Size{7, 70}, Size{600, 9}});
  for (unsigned n = 1 + random() % 2; n > 0; --n) {
    images.sizes.push_back(size);
    images.contents.push_back(draw_content(random, images.pixel_type));
  }
  const DrawnImages drawn(images, random);
  const std::size_t batch = images.sizes.size();
  const std::size_t views = color ? 3 : 1;
  std::vector<float> weights = drawn_numbers(views * kPatchArea * kPatchFilters, random);
  const std::vector<float> bias = drawn_numbers(kPatchFilters, random);
  if (random() % 6 == 0) weights[random() % weights.size()] = pick(random, {NAN, INFINITY});
  std::vector<float> thumb(batch * views * kThumbSide * kThumbSide, -1.0f);
  std::vector<float> patch(batch * kPatchResponses, -1.0f);
  std::vector<float> expected_thumb = thumb;
  std::vector<float> expected_patch = patch;
  const PatchFilters filters{weights.data(), bias.data()};
  image_views_cpu({drawn.views.data(), static_cast<std::int64_t>(batch), images.channels, color, filters,
                   expected_thumb.data(), expected_patch.data(), 1});
  ImageViewsCudaArgs args{drawn.views[0],
                          drawn.batch_stride,
                          static_cast<std::int64_t>(batch),
                          images.channels,
                          color,
                          filters,
                          thumb.data(),
                          patch.data(),
                          0,
                          std::min(pick(random, {32, 64, 96, 256, 256}), std::min(largest_block, kMaxViewsBlock))};
  host_cuda::launch(image_views_kernel_of(args), {static_cast<unsigned>(batch)}, {static_cast<unsigned>(args.threads)},
                    static_cast<std::size_t>(image_views_shared_bytes(args)), args);
  const std::string text = images.text() + (color ? ", color" : ", gray") + ", threads " + std::to_string(args.threads);
  return same("thumb", thumb, expected_thumb, text) && same("patch", patch, expected_patch, text);
}

}  // namespace

IUSCORE_MAIN main(int count, char** values) {
  if (count != 4) return std::puts("usage: run_image_views CASES LARGEST_BLOCK SEED"), 2;
  const auto cases = static_cast<unsigned>(std::atoi(values[1]));
  Random random(static_cast<unsigned>(std::atoi(values[3])));
  for (unsigned i = 0; i < cases; ++i)
    if (!equal_bits(i, std::atoi(values[2]), random)) return 1;
  std::printf("%u cases equal\n", cases);
  return 0;
}
