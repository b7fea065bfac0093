#include "cpu/perceptual_maps_isa.h"

#include <cmath>

#include "core/color.h"
#include "core/perceptual.h"
#include "core/stencil.h"
#include "cpu/perceptual_maps_resize.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// Pass 2: maps.

void normalize_row(const float* in, std::int32_t n, Normalizer by, float* out) {
  for (std::int32_t i = 0; i < n; ++i) out[i] = normalized(in[i], by);
}

template <bool kClean>
void color_row(const float* __restrict__ r, const float* __restrict__ g, const float* __restrict__ b, std::int32_t n,
               float* __restrict__ red_green, float* __restrict__ blue_yellow, float* __restrict__ gray) {
  for (std::int32_t i = 0; i < n; ++i) {
    const OpponentColor color = opponent_color(r[i], g[i], b[i]);
    red_green[i] = kClean ? clean_opponent(color.a) : color.a;
    blue_yellow[i] = kClean ? clean_opponent(color.b) : color.b;
    gray[i] = gray_of(r[i], g[i], b[i]);
  }
}

void band_row(const float* __restrict__ gray, std::int32_t n, float* __restrict__ one, float* __restrict__ two) {
  for (std::int32_t i = 0; i < n; ++i) {
    one[i] = band_one(gray[i]);
    two[i] = band_two(gray[i]);
  }
}

template <bool kClean>
void sobel_row(const float* north, const float* center, const float* south, std::int32_t n, float* __restrict__ out) {
  out[0] = sobel_magnitude(north, center, south, 0, 1);
  for (std::int32_t i = 1; i < n - 1; ++i) out[i] = sobel_magnitude(north + i, center + i, south + i, -1, 1);
  out[n - 1] = sobel_magnitude(north + n - 1, center + n - 1, south + n - 1, -1, 0);
  if (kClean)
    for (std::int32_t i = 0; i < n; ++i) out[i] = clean_coarse_fine(out[i]);
}

// The last eight gray rows and their horizontal Gaussians.
class GrayRing {
 public:
  GrayRing(float* memory, std::int32_t width, std::int32_t height)
      : gray_(memory + 3), blurred_(memory + kRing * (width + 6)), width_(width), height_(height) {}

  float* row(std::int32_t y) { return gray_ + (y & (kRing - 1)) * (width_ + 6); }

  void blur(std::int32_t y) {
    float* g = row(y);
    for (int k = 1; k <= kGaussianRadius; ++k) {
      g[-k] = g[reflect(-k, width_)];
      g[width_ - 1 + k] = g[reflect(width_ - 1 + k, width_)];
    }
    float* out = blurred(y);
    for (std::int32_t x = 0; x < width_; ++x) {
      const float* p = g + x - kGaussianRadius;
      out[x] = gaussian_7(p[0], p[1], p[2], p[3], p[4], p[5], p[6]);
    }
  }

  template <bool kClean>
  void coarse_fine(std::int32_t y, float* out) {
    sobel_row<kClean>(row(replicate(y - 1, height_)), row(y), row(replicate(y + 1, height_)), width_, out);
  }

  void light_dark(std::int32_t y, float* __restrict__ out) {
    const float* p[7];
    for (int k = 0; k < 7; ++k) p[k] = blurred(reflect(y + k - kGaussianRadius, height_));
    for (std::int32_t x = 0; x < width_; ++x)
      out[x] = gaussian_7(p[0][x], p[1][x], p[2][x], p[3][x], p[4][x], p[5][x], p[6][x]);
  }

 private:
  float* blurred(std::int32_t y) { return blurred_ + (y & (kRing - 1)) * width_; }

  float* gray_;
  float* blurred_;
  std::int32_t width_;
  std::int32_t height_;
};

// Walks the rows once. A plane's row is read before any map's row overwrites it: maps of row
// y - 1 and y - 3 lag behind.
template <bool kClean>
void maps(const PerceptualMapsJob& job, const Normalizer by[3], WideRange ranges[kMaps]) {
  const std::int32_t w = job.width;
  const std::int32_t h = job.height;
  const std::int64_t plane = static_cast<std::int64_t>(h) * w;
  const std::int32_t kept = kept_channels(job.color, job.channels);
  float* source = job.planes + (kept == 3 ? 0 : 3 * plane);
  float* channels = job.strips;
  GrayRing ring(job.strips + 3 * w, w, h);
  const auto out = [&](int map, std::int32_t y) { return job.planes + map * plane + static_cast<std::int64_t>(y) * w; };
  const int coarse_fine = job.color ? 2 : 0;
  const int light_dark = coarse_fine + 1;
  const auto finish_light_dark = [&](std::int32_t y) {
    ring.light_dark(y, out(light_dark, y));
    widen_by_row(ranges[light_dark], out(light_dark, y), w);
  };
  const auto finish_coarse_fine = [&](std::int32_t y) {
    ring.coarse_fine<kClean>(y, out(coarse_fine, y));
    widen_by_row(ranges[coarse_fine], out(coarse_fine, y), w);
  };
  for (std::int32_t y = 0; y < h; ++y) {
    float* gray = ring.row(y);
    if (job.color) {
      for (std::int32_t c = 0; c < kept; ++c)
        normalize_row(source + c * plane + static_cast<std::int64_t>(y) * w, w, by[c], channels + c * w);
      const float* g = channels + (kept == 3 ? w : 0);
      const float* b = channels + (kept == 3 ? 2 * w : 0);
      color_row<kClean>(channels, g, b, w, out(0, y), out(1, y), gray);
    } else {
      normalize_row(source + static_cast<std::int64_t>(y) * w, w, by[0], gray);
      band_row(gray, w, out(2, y), out(3, y));
    }
    const int first_plain = job.color ? 0 : 2;
    widen_by_row(ranges[first_plain], out(first_plain, y), w);
    widen_by_row(ranges[first_plain + 1], out(first_plain + 1, y), w);
    ring.blur(y);
    if (y >= 1) finish_coarse_fine(y - 1);
    if (y >= kGaussianRadius) finish_light_dark(y - kGaussianRadius);
  }
  finish_coarse_fine(h - 1);
  for (std::int32_t y = h - kGaussianRadius; y < h; ++y) finish_light_dark(y);
}

template <class Pixel>
void image_maps(const PerceptualMapsJob& job) {
  const std::int64_t plane = static_cast<std::int64_t>(job.height) * job.width;
  if constexpr (Pixel::kCanBeNonFinite) {
    if (!all_usable<Pixel>(job.image, job.channels)) {
      for (std::int64_t i = 0; i < kMaps * plane; ++i) job.planes[i] = NAN;
      for (int m = 0; m < kMaps; ++m) job.ranges[m] = NAN;
      return;
    }
  }
  const std::int32_t kept = kept_channels(job.color, job.channels);
  WideRange channels[3];
  for (WideRange& range : channels) clear(range);
  resize<Pixel>(job, channels);
  Range image[3] = {folded(channels[0]), folded(channels[1]), folded(channels[2])};
  if (job.clean && kept == 3) merge(image);
  Normalizer by[3];
  for (int c = 0; c < 3; ++c) by[c] = image_normalizer(image[c], job.clean);
  WideRange widths[kMaps];
  for (WideRange& range : widths) clear(range);
  job.clean ? maps<true>(job, by, widths) : maps<false>(job, by, widths);
  Range ranges[kMaps];
  for (int m = 0; m < kMaps; ++m) ranges[m] = folded(widths[m]);
  if (!job.clean) {
    for (int m = 0; m < (job.color ? kMaps : 2); ++m)
      for (std::int32_t y = 0; y < job.height; ++y) {
        float* row = job.planes + m * plane + static_cast<std::int64_t>(y) * job.width;
        normalize_row(row, job.width, min_max(ranges[m]), row);
      }
  }
  bool noise = false;
  for (int c = 0; c < kept; ++c) noise |= !job.clean && is_rounding_noise(image[c]);
  for (int m = 0; m < kMaps; ++m) job.ranges[m] = noise ? 0.0f : ranges[m].high - ranges[m].low;
}

template <class Pixel>
void image_maps_of(const PerceptualMapsJob& job) {
  if (!job.color && job.channels == 1) return image_maps<OneAsGray<Pixel>>(job);
  return image_maps<Pixel>(job);
}

}  // namespace

void perceptual_maps_image(const PerceptualMapsJob& job) {
  switch (job.pixel_type) {
    case PixelType::u8:
      return image_maps_of<PixelU8>(job);
    case PixelType::u16:
      return image_maps_of<PixelU16>(job);
    case PixelType::f16:
      return image_maps_of<PixelF16>(job);
    case PixelType::bf16:
      return image_maps_of<PixelBF16>(job);
    case PixelType::f32:
      return image_maps_of<PixelF32>(job);
  }
}

}  // namespace iuscore::IUSCORE_ISA
