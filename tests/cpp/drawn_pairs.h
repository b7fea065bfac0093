// Random quantisations and offsets, for the programs that run the co-occurrence kernels on the host.
#pragma once

#include <cstdio>

#include "core/quantize.h"
#include "drawn_images.h"
#include "ops/glcm.h"

// A batch of equal images with what the ops `glcm` and `glcm_features` need beside it.
struct PairsCase {
  ImagesCase images;
  Masked masked;
  bool spread_mask;
  iuscore::Quantization quantization;
  std::vector<iuscore::PixelOffset> offsets;
  bool symmetric;
  std::int32_t threads;
  std::int64_t shared_limit;
  std::int32_t multiprocessors;
  std::int64_t most_code_bytes;

  std::string text() const {
    char line[300];
    std::snprintf(line, sizeof line,
                  "%s, %d levels by %d (low %g, divisor %g), %s, mask %d%s, %d threads, %lld and %lld bytes",
                  images.text().c_str(), quantization.levels, static_cast<int>(quantization.mode), quantization.low,
                  quantization.divisor, symmetric ? "symmetric" : "in order", static_cast<int>(masked),
                  spread_mask ? " spread" : "", threads, static_cast<long long>(shared_limit),
                  static_cast<long long>(most_code_bytes));
    std::string text = line;
    for (const iuscore::PixelOffset& o : offsets)
      text += " (" + std::to_string(o.rows) + ", " + std::to_string(o.columns) + ")";
    return text;
  }
};

inline iuscore::Quantization draw_quantization(iuscore::PixelType type, iuscore::QuantizeMode mode, std::int32_t levels,
                                               Random& random) {
  using iuscore::PixelType;
  const double top = type == PixelType::u8 ? 256.0 : type == PixelType::u16 ? 65536.0 : 1.0;
  const double low = random() % 2 ? 0.0 : pick(random, {0.25, 0.1, 1.0 / 3.0}) * top;  // values below are clamped
  // With a width of 10 many integers lie exactly on a bin edge; with the other widths few do.
  const double width = pick(random, {0.03 * top, 10.0, 4.0 / 128.0, 1e-45, 1e300});
  return {mode, levels, random() % 2 == 0, low, mode == iuscore::QuantizeMode::width ? width : 0.8 * top - low};
}

inline Size draw_size(Random& random) {
  const auto below = [&](unsigned n) { return static_cast<std::int64_t>(random() % n); };
  switch (random() % 6) {
    case 0:
      return {1 + below(2), 1 + below(3)};
    case 1:
      return {1, 1 + below(40)};
    case 2:
      return {1 + below(40), 1};
    case 3:
      return {1 + below(12), 16 * (1 + below(3))};
    default:
      return {2 + below(20), 2 + below(40)};
  }
}

// 20 consecutive cases cover pixel types x few or many levels x symmetric or not.
inline PairsCase draw_pairs(unsigned index, std::int32_t largest_block, Random& random) {
  using namespace iuscore;
  PairsCase c{};
  Digits digits{index};
  c.images.pixel_type = static_cast<PixelType>(digits.next(5));
  const bool few = digits.next(2) == 0;
  c.symmetric = digits.next(2) == 0;
  auto mode = static_cast<QuantizeMode>(random() % 4);
  c.images.channels = random() % 2 == 0 ? 1 : 3;
  if (mode == QuantizeMode::levels && (is_floating(c.images.pixel_type) || c.images.channels == 3))
    mode = QuantizeMode::minmax;
  const std::int32_t levels = few ? pick(random, {2, 3, 8, 32, 64}) : pick(random, {65, 100, 192, 255, 256});
  c.quantization = draw_quantization(c.images.pixel_type, mode, levels, random);
  c.images.memory =
      pick(random, {Memory::interleaved, Memory::interleaved, Memory::planar, Memory::general, Memory::negative});
  c.images.misaligned = random() % 4 == 0;
  const Size size = draw_size(random);
  for (unsigned i = 0, n = 1 + random() % 3; i < n; ++i) {
    c.images.sizes.push_back(size);
    c.images.contents.push_back(draw_content(random, c.images.pixel_type));
  }
  c.masked = pick(random, {Masked::nothing, Masked::nothing, Masked::half, Masked::half, Masked::everything});
  c.spread_mask = random() % 2 == 0;
  for (unsigned o = 0, n = 1 + random() % 5; o < n; ++o)
    c.offsets.push_back({static_cast<std::int32_t>(random() % 9) - 4, static_cast<std::int32_t>(random() % 13) - 6});
  if (random() % 8 == 0) c.offsets.push_back({1 << 30, -(1 << 30)});
  c.threads = std::min(pick(random, {32, 32, 32, 64, 64, 128, 384}), largest_block);
  // Shared memory for all matrices, for one, or for a band of one; for the whole image, a strip, or no pixels at all.
  c.shared_limit = pick(random, {227, 99, 40, 32}) * std::int64_t{1024};
  c.multiprocessors = pick(random, {1, 2, 100});
  c.most_code_bytes = pick(random, {64 * 1024, 64 * 1024, 64, 0});
  return c;
}
