#include "cpu/perceptual_maps_isa.h"

#include <cmath>
#include <cstring>

#include "core/color.h"
#include "core/perceptual.h"
#include "core/stencil.h"

namespace iuscore::IUSCORE_ISA {

// ---- First pass: resize the image to the size of the maps, and find the range of each channel

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
typedef float Float4 __attribute__((vector_size(16)));
typedef std::int32_t Int4 __attribute__((vector_size(16)));

// A range in lanes, which are folded once for each image instead of once for each row.
struct WideRange {
  Lanes low;
  Lanes high;
};

void clear(WideRange& range) {
  for (int l = 0; l < kLanes; ++l) {
    range.low[l] = INFINITY;
    range.high[l] = -INFINITY;
  }
}

void widen_by_row(WideRange& range, const float* row, std::int32_t n) {
  Lanes low = range.low;
  Lanes high = range.high;
  std::int32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Lanes values;
    std::memcpy(&values, row + i, sizeof values);
    low = values < low ? values : low;
    high = values > high ? values : high;
  }
  for (int l = 0; i < n; ++i, ++l) {
    low[l] = smaller(row[i], low[l]);
    high[l] = larger(row[i], high[l]);
  }
  range.low = low;
  range.high = high;
}

Range folded(const WideRange& range) {
  Range all = empty_range();
  for (int l = 0; l < kLanes; ++l) widen(all, range.low[l], range.high[l]);
  return all;
}

struct PixelStaged {
  using Storage = float;
  IUSCORE_HD float load(Storage v) { return v; }
};

template <class Pixel>
void accumulate(const typename Pixel::Storage* __restrict__ src, std::int64_t n, float weight, bool first,
                float* __restrict__ sum) {
  if (first) {
    for (std::int64_t i = 0; i < n; ++i) sum[i] = weight * Pixel::load(src[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) sum[i] += weight * Pixel::load(src[i]);
  }
}

template <class Pixel>
bool all_usable(const ImageView& image, std::int32_t channels) {
  const auto* data = static_cast<const typename Pixel::Storage*>(image.data);
  bool usable = true;
  for (std::int64_t y = 0; y < image.height; ++y)
    for (std::int32_t c = 0; c < channels; ++c) {
      const auto* row = data + y * image.stride_h + c * image.stride_c;
      for (std::int64_t x = 0; x < image.width; ++x) usable &= is_usable(Pixel::load(row[x * image.stride_w]));
    }
  return usable;
}

// Rows that are weighted sums of input rows: [width, 3] interleaved if the input is, else [kept, width] planar.
template <class Pixel>
class Rows {
 public:
  using Storage = typename Pixel::Storage;

  explicit Rows(const PerceptualMapsJob& job)
      : image_(job.image),
        taps_(job.rows),
        kept_(kept_channels(job.color, job.channels)),
        to_gray_(job.channels > kept_),
        sum_(job.strips),
        stage_(job.strips + 3 * job.image.width + 4) {
    const bool packed = image_.stride_c == 1 && image_.stride_w == 3 && kept_ == 3;
    const bool planar = (image_.stride_w == 1 || image_.width == 1) && !to_gray_;
    interleaved_ = packed;
    direct_ = packed || planar;
    std::memset(sum_, 0, sizeof(float) * static_cast<std::size_t>(3 * image_.width + 4));
  }

  bool interleaved() const { return interleaved_; }

  const float* at(std::int32_t out) {
    const std::int32_t start = taps_.start[out];
    bool first = true;
    for (std::int32_t j = 0; j < taps_.taps; ++j) {
      const float weight = taps_.weight[static_cast<std::int64_t>(j) * taps_.out + out];
      if (weight == 0.0f) continue;
      add(start + j, weight, first);
      first = false;
    }
    return sum_;
  }

 private:
  void add(std::int32_t y, float weight, bool first) {
    const std::int64_t w = image_.width;
    if (!direct_) return accumulate<PixelStaged>(staged(y), kept_ * w, weight, first, sum_);
    const Storage* row = static_cast<const Storage*>(image_.data) + y * image_.stride_h;
    if (interleaved_) return accumulate<Pixel>(row, 3 * w, weight, first, sum_);
    for (std::int32_t c = 0; c < kept_; ++c)
      accumulate<Pixel>(row + c * image_.stride_c, w, weight, first, sum_ + c * w);
  }

  // Converts input rows to floats. Windows of taps only move down, so a ring of `taps` rows converts each row once.
  const float* staged(std::int32_t y) {
    const std::int64_t slot_size = kept_ * image_.width;
    while (next_ <= y) {
      convert(next_, stage_ + next_ % taps_.taps * slot_size);
      ++next_;
    }
    return stage_ + y % taps_.taps * slot_size;
  }

  void convert(std::int32_t y, float* out) const {
    const Storage* row = static_cast<const Storage*>(image_.data) + y * image_.stride_h;
    const std::int64_t sw = image_.stride_w;
    const std::int64_t sc = image_.stride_c;
    if (to_gray_) {
      for (std::int64_t x = 0; x < image_.width; ++x) {
        const Storage* p = row + x * sw;
        out[x] = gray_of(Pixel::load(p[0]), Pixel::load(p[sc]), Pixel::load(p[2 * sc]));
      }
      return;
    }
    for (std::int32_t c = 0; c < kept_; ++c)
      for (std::int64_t x = 0; x < image_.width; ++x) out[c * image_.width + x] = Pixel::load(row[x * sw + c * sc]);
  }

  ImageView image_;
  TapTable taps_;
  std::int32_t kept_;
  bool to_gray_;
  bool interleaved_;
  bool direct_;
  float* sum_;
  float* stage_;
  std::int32_t next_ = 0;
};

// [in, 3] interleaved -> three rows of [out]. A vector holds the three channels of a pixel; its fourth lane is not
// used. kTaps: the number of taps if it is known, so that the sum is unrolled; else 0.
template <int kTaps>
void resample_interleaved(const float* __restrict__ in, const TapTable& table, float* __restrict__ r,
                          float* __restrict__ g, float* __restrict__ b) {
  const std::int32_t taps = kTaps > 0 ? kTaps : table.taps;
  for (std::int32_t o = 0; o < table.out; ++o) {
    const float* p = in + 3 * static_cast<std::int64_t>(table.start[o]);
    Float4 pixel;
    std::memcpy(&pixel, p, sizeof pixel);
    Float4 sum = table.weight[o] * pixel;
    for (std::int32_t j = 1; j < taps; ++j) {
      std::memcpy(&pixel, p + 3 * j, sizeof pixel);
      sum += table.weight[static_cast<std::int64_t>(j) * table.out + o] * pixel;
    }
    r[o] = sum[0];
    g[o] = sum[1];
    b[o] = sum[2];
  }
}

void split_interleaved(const float* __restrict__ in, std::int32_t n, float* __restrict__ r, float* __restrict__ g,
                       float* __restrict__ b) {
  for (std::int32_t o = 0; o < n; ++o) {
    r[o] = in[3 * o];
    g[o] = in[3 * o + 1];
    b[o] = in[3 * o + 2];
  }
}

void resample_row(const float* __restrict__ in, const TapTable& table, std::int32_t first, float* __restrict__ out) {
  for (std::int32_t o = first; o < table.out; ++o) {
    const float* p = in + table.start[o];
    float sum = table.weight[o] * p[0];
    for (std::int32_t j = 1; j < table.taps; ++j)
      sum += table.weight[static_cast<std::int64_t>(j) * table.out + o] * p[j];
    out[o] = sum;
  }
}

#if defined(__clang__)
#define IUSCORE_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define IUSCORE_SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, Int4{i, j, k, l})
#endif

// Four taps, four outputs at a time: their windows are transposed, so that one vector holds the same tap of all four.
void resample_row_of_4(const float* __restrict__ in, const TapTable& table, float* __restrict__ out) {
  std::int32_t o = 0;
  for (; o + 4 <= table.out; o += 4) {
    Float4 window[4];
    Float4 weight[4];
    for (int k = 0; k < 4; ++k) {
      std::memcpy(&window[k], in + table.start[o + k], sizeof window[k]);
      std::memcpy(&weight[k], table.weight + static_cast<std::int64_t>(k) * table.out + o, sizeof weight[k]);
    }
    const Float4 low01 = IUSCORE_SHUFFLE(window[0], window[1], 0, 4, 1, 5);
    const Float4 low23 = IUSCORE_SHUFFLE(window[2], window[3], 0, 4, 1, 5);
    const Float4 high01 = IUSCORE_SHUFFLE(window[0], window[1], 2, 6, 3, 7);
    const Float4 high23 = IUSCORE_SHUFFLE(window[2], window[3], 2, 6, 3, 7);
    Float4 sum = weight[0] * IUSCORE_SHUFFLE(low01, low23, 0, 1, 4, 5);
    sum += weight[1] * IUSCORE_SHUFFLE(low01, low23, 2, 3, 6, 7);
    sum += weight[2] * IUSCORE_SHUFFLE(high01, high23, 0, 1, 4, 5);
    sum += weight[3] * IUSCORE_SHUFFLE(high01, high23, 2, 3, 6, 7);
    std::memcpy(out + o, &sum, sizeof sum);
  }
  resample_row(in, table, o, out);
}

// Resizes one row of the kept channels in width, into their planes at `out`; copies it if the width stays.
void resize_row(const PerceptualMapsJob& job, const float* in, bool interleaved, float* out) {
  const TapTable& table = job.columns;
  const std::int64_t plane = static_cast<std::int64_t>(job.height) * job.width;
  const bool copied = job.image.width == table.out;
  if (interleaved) {
    const auto resample = table.taps == 4 ? resample_interleaved<4> : resample_interleaved<0>;
    if (copied) return split_interleaved(in, table.out, out, out + plane, out + 2 * plane);
    return resample(in, table, out, out + plane, out + 2 * plane);
  }
  for (std::int32_t c = 0; c < kept_channels(job.color, job.channels); ++c, in += job.image.width, out += plane) {
    if (copied) {
      std::memcpy(out, in, sizeof(float) * static_cast<std::size_t>(table.out));
    } else if (table.taps == 4) {
      resample_row_of_4(in, table, out);
    } else {
      resample_row(in, table, 0, out);
    }
  }
}

// Writes the resized channels into the planes and finds their ranges. A single channel goes to plane 3.
template <class Pixel>
void resize(const PerceptualMapsJob& job, WideRange ranges[3]) {
  const std::int32_t kept = kept_channels(job.color, job.channels);
  const std::int64_t plane = static_cast<std::int64_t>(job.height) * job.width;
  Rows<Pixel> rows(job);
  for (std::int32_t y = 0; y < job.height; ++y) {
    float* out = job.planes + (kept == 3 ? 0 : 3 * plane) + static_cast<std::int64_t>(y) * job.width;
    resize_row(job, rows.at(y), rows.interleaved(), out);
    for (std::int32_t c = 0; c < kept; ++c) widen_by_row(ranges[c], out + c * plane, job.width);
  }
}

// ---- Second pass: maps

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

// A ring of the last eight gray rows and of their horizontal Gaussians.
class GrayRing {
 public:
  GrayRing(float* rows, std::int32_t width, std::int32_t height)
      : gray_(rows + 3), blurred_(rows + kRing * (width + 6)), width_(width), height_(height) {}

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

// Computes the maps row by row, in place: row y of a plane is read before a map overwrites it. The coarse-fine map is
// one row behind, and the light-dark map three.
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
