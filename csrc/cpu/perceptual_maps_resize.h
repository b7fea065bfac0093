// Pass 1 of perceptual_maps_isa.cpp: the image at the maps' size, and the ranges of its channels. Included there once,
// so that everything has internal linkage in each instruction set.
#pragma once

#include <cmath>
#include <cstring>

#include "core/color.h"
#include "core/perceptual.h"
#include "cpu/perceptual_maps_isa.h"

namespace iuscore::IUSCORE_ISA {
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

// A range lane by lane: the lanes are folded once an image, not once a row.
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

// Image rows as weighted sums of input rows, [width, 3] interleaved or [kept, width] planar, whichever the input is.
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

  // Windows of taps only move down, so a ring of `taps` rows converts every input row once.
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

// [in, 3] interleaved -> three rows of [out]: one vector holds a pixel's channels and a lane nobody reads. A number of
// taps known to the compiler (0: it is not) unrolls the sum.
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

// Four taps, four outputs at once: their windows are transposed, so that the sums run across vectors, in order.
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

// One row of the kept channels, resized in width, into their planes at `out`. A single tap is a copy.
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

// Writes the resized channels into the planes and widens their ranges. One kept channel goes to plane 3.
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

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
