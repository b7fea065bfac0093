#include "cpu/texture_stats_isa.h"

#include <cstring>

#include "core/pixel.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// Loads one channel of one row, floats clamped to [0, 1]; clears `valid` of pixels that are not finite.
template <class Pixel>
void load_row(const typename Pixel::Storage* __restrict__ source, std::int64_t stride, std::int64_t n,
              float* __restrict__ values, std::uint8_t* __restrict__ valid) {
  const auto load = [&](std::int64_t step) __attribute__((always_inline)) {
    for (std::int64_t x = 0; x < n; ++x) {
      const float value = Pixel::load(source[x * step]);
      if constexpr (Pixel::kCanBeNonFinite) {
        const bool finite = is_finite(value);
        valid[x] = static_cast<std::uint8_t>(valid[x] & (finite ? 1 : 0));
        values[x] = unit_clamped(finite ? value : 0.0f);
      } else {
        values[x] = value;
      }
    }
  };
  // With constant strides the compiler loads whole vectors.
  if (stride == 1) return load(1);
  if (stride == 3) return load(3);
  load(stride);
}

// Not inlined: inlined, it would have too few registers.
__attribute__((noinline)) void linear_row(const std::uint8_t* __restrict__ source, std::int64_t stride, std::int64_t n,
                                          const float* __restrict__ table, float* __restrict__ linear) {
  const auto look_up = [&](std::int64_t step) __attribute__((always_inline)) {
    for (std::int64_t x = 0; x < n; ++x) linear[x] = table[source[x * step]];
  };
  if (stride == 3) return look_up(3);
  look_up(stride);
}

void linear_row(const float* __restrict__ values, std::int64_t n, float unit, float* __restrict__ linear) {
  for (std::int64_t x = 0; x < n; ++x) linear[x] = srgb_to_linear(values[x] * unit);
}

// How pixels are loaded for color planes. Integers stay as they are, so that hues can be exact; kUnit brings them to
// the unit scale.
template <class Pixel>
struct ColorPixel {
  using Load = Pixel;
  static constexpr std::int32_t kMax = 0;
  static constexpr float kUnit = 1.0f;
};
template <>
struct ColorPixel<UnitU8> {
  using Load = RawU8;
  static constexpr std::int32_t kMax = 255;
  static constexpr float kUnit = 1.0f / 255.0f;
};
template <>
struct ColorPixel<UnitU16> {
  using Load = RawU16;
  static constexpr std::int32_t kMax = 65535;
  static constexpr float kUnit = 1.0f / 65535.0f;
};

struct Channels {
  const float* r;
  const float* g;
  const float* b;
};

void lab_codes(const Channels& linear, std::int64_t n, std::uint8_t* __restrict__ lightness,
               std::uint8_t* __restrict__ red_green, std::uint8_t* __restrict__ blue_yellow) {
  const float* __restrict__ r = linear.r;
  const float* __restrict__ g = linear.g;
  const float* __restrict__ b = linear.b;
  for (std::int64_t x = 0; x < n; ++x) {
    const Lab lab = lab_of_linear(r[x], g[x], b[x]);
    lightness[x] = lightness_code(lab);
    red_green[x] = red_green_code(lab.a);
    blue_yellow[x] = blue_yellow_code(lab.b);
  }
}

// kMax: the largest value of the integer type, or 0 for values on the unit scale.
template <std::int32_t kMax>
void hsv_row(const Channels& values, std::int64_t n, std::uint8_t* __restrict__ saturation,
             std::uint8_t* __restrict__ hue, std::uint8_t* __restrict__ hue_valid) {
  const float* __restrict__ r = values.r;
  const float* __restrict__ g = values.g;
  const float* __restrict__ b = values.b;
  for (std::int64_t x = 0; x < n; ++x) {
    HsvCodes codes;
    if constexpr (kMax > 0)
      codes = hsv_codes_of_integers<kMax>(r[x], g[x], b[x]);
    else
      codes = hsv_codes(r[x], g[x], b[x]);
    saturation[x] = codes.saturation;
    hue[x] = codes.hue;
    hue_valid[x] = codes.has_hue ? 1 : 0;
  }
}

void gray_codes(const Channels& unit, std::int64_t n, std::uint8_t* __restrict__ lightness) {
  for (std::int64_t x = 0; x < n; ++x) lightness[x] = gray_code(unit.r[x], unit.g[x], unit.b[x]);
}

using Copies = std::uint32_t (*)[kCodes];  // [kCopies] of one plane

void count_row(const std::uint8_t* codes, std::int64_t n, Copies copies) {
  std::int64_t x = 0;
  for (; x + 8 <= n; x += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, codes + x, sizeof eight);
    for (int k = 0; k < 8; ++k) ++copies[k % kCopies][(eight >> (8 * k)) & 0xffu];
  }
  for (; x < n; ++x) ++copies[0][codes[x]];
}

void count_row(const std::uint8_t* codes, const std::uint8_t* valid, std::int64_t n, Copies copies) {
  if (valid == nullptr) return count_row(codes, n, copies);
  std::int64_t x = 0;
  for (; x + kCopies <= n; x += kCopies)
    for (int k = 0; k < kCopies; ++k) copies[k][codes[x + k]] += valid[x + k];
  for (; x < n; ++x) copies[0][codes[x]] += valid[x];
}

void keep_both(const std::uint8_t* __restrict__ other, std::int64_t n, std::uint8_t* __restrict__ valid) {
  for (std::int64_t x = 0; x < n; ++x) valid[x] = static_cast<std::uint8_t>(valid[x] & other[x]);
}

class Image {
 public:
  explicit Image(const TextureCodesJob& job)
      : job_(job),
        width_(job.image.width),
        floats_{job.rows,
                job.rows + width_,
                job.rows + 2 * width_,
                job.rows + 3 * width_,
                job.rows + 4 * width_,
                job.rows + 5 * width_} {
    const std::int64_t room = width_ + 2 + kRowSlack;
    auto* sums = reinterpret_cast<std::int16_t*>(job.rows + 6 * width_);
    std::memset(sums, 0, static_cast<std::size_t>(2 * room) * sizeof *sums);
    for (int k = 0; k < 2; ++k) sums_[k] = sums + k * room;
    auto* bytes = reinterpret_cast<std::uint8_t*>(sums + 2 * room);
    for (int k = 0; k < 5; ++k) bytes_[k] = bytes + k * room;
  }

  template <class Pixel>
  void codes() {
    for (std::int64_t y = 0; y < job_.image.height; ++y) {
      std::uint8_t* lightness = job_.lightness + y * width_;
      std::uint8_t* valid = job_.valid == nullptr ? nullptr : job_.valid + y * width_;
      if (valid != nullptr) start_valid(y, valid);
      if (!job_.color) {
        gray_codes(load<Pixel>(y, valid), width_, lightness);
        count_row(lightness, valid, width_, plane(0));
        continue;
      }
      using Color = ColorPixel<Pixel>;
      const Channels values = load<typename Color::Load>(y, valid);
      lab_codes(linear<Pixel>(y, values), width_, lightness, bytes_[0], bytes_[1]);
      hsv_row<Color::kMax>(values, width_, bytes_[2], bytes_[3], bytes_[4]);
      count_row(lightness, valid, width_, plane(0));
      for (int k = 0; k < 3; ++k) count_row(bytes_[k], valid, width_, plane(k + 1));
      if (valid != nullptr) keep_both(valid, width_, bytes_[4]);
      count_row(bytes_[3], bytes_[4], width_, plane(4));
    }
  }

  void coarse_fine() {
    const std::int64_t last = job_.image.height - 1;
    std::uint8_t* codes = bytes_[0];
    for (std::int64_t y = 0; y <= last; ++y) {
      const std::int64_t above = y > 0 ? y - 1 : 0;
      const std::int64_t below = y < last ? y + 1 : last;
      sobel_row(job_.lightness + above * width_, job_.lightness + y * width_, job_.lightness + below * width_, codes);
      const std::uint8_t* valid = nullptr;
      if (job_.valid != nullptr) valid = eroded(above, y, below);
      count_row(codes, valid, width_, plane(job_.color ? 5 : 1));
    }
  }

  void levels() {
    if (job_.level == nullptr) return;
    const std::uint8_t* __restrict__ codes = job_.lightness;
    std::uint8_t* __restrict__ level = job_.level;
    const std::int64_t pixels = job_.image.height * width_;
    const std::int32_t levels = job_.levels;  // a copy: to the compiler, `level` could alias `job_`
    for (std::int64_t i = 0; i < pixels; ++i) level[i] = level_of_code(codes[i], levels);
  }

  void blocks() {
    for (int i = 0; i < kGrid; ++i)
      for (int j = 0; j < kGrid; ++j) job_.blocks[i * kGrid + j] = block(i, j);
  }

 private:
  Copies plane(int k) const { return reinterpret_cast<Copies>(job_.copies + k * kCopies * kCodes); }

  void start_valid(std::int64_t y, std::uint8_t* valid) {
    if (job_.mask.data == nullptr) {
      std::memset(valid, 1, static_cast<std::size_t>(width_));
      return;
    }
    const std::uint8_t* mask = job_.mask.data + y * job_.mask.stride_h;
    for (std::int64_t x = 0; x < width_; ++x) valid[x] = mask[x * job_.mask.stride_w] != 0 ? 1 : 0;
  }

  template <class Pixel>
  const typename Pixel::Storage* source(std::int64_t y, int channel) const {
    return static_cast<const typename Pixel::Storage*>(job_.image.data) + y * job_.image.stride_h +
           channel * job_.image.stride_c;
  }

  template <class Pixel>
  Channels load(std::int64_t y, std::uint8_t* valid) {
    for (int c = 0; c < job_.channels; ++c)
      load_row<Pixel>(source<Pixel>(y, c), job_.image.stride_w, width_, floats_[c], valid);
    return channels(floats_);
  }

  template <class Pixel>
  Channels linear(std::int64_t y, const Channels& loaded) {
    const float* const values[3] = {loaded.r, loaded.g, loaded.b};
    for (int c = 0; c < job_.channels; ++c) {
      if constexpr (sizeof(typename Pixel::Storage) == 1)
        linear_row(source<Pixel>(y, c), job_.image.stride_w, width_, job_.linear, floats_[3 + c]);
      else
        linear_row(values[c], width_, ColorPixel<Pixel>::kUnit, floats_[3 + c]);
    }
    return channels(floats_ + 3);
  }

  Channels channels(float* const* rows) const {
    return {rows[0], rows[job_.channels == 3 ? 1 : 0], rows[job_.channels == 3 ? 2 : 0]};
  }

  // Replicated border: the first and the last column stand for their missing neighbors. Computes whole vectors, up to
  // kRowSlack codes past the end of the row.
  void sobel_row(const std::uint8_t* __restrict__ above, const std::uint8_t* __restrict__ here,
                 const std::uint8_t* __restrict__ below, std::uint8_t* __restrict__ codes) {
    std::int16_t* __restrict__ smooth = sums_[0] + 1;  // vertical (1, 2, 1)
    std::int16_t* __restrict__ slope = sums_[1] + 1;   // vertical (-1, 0, 1)
    for (std::int64_t x = 0; x < width_; ++x) {
      smooth[x] = static_cast<std::int16_t>(above[x] + 2 * here[x] + below[x]);
      slope[x] = static_cast<std::int16_t>(below[x] - above[x]);
    }
    for (std::int16_t* sums : sums_) {
      sums[0] = sums[1];
      sums[width_ + 1] = sums[width_];
    }
    const std::int64_t whole = (width_ + kRowSlack - 1) / kRowSlack * kRowSlack;
    for (std::int64_t x = 0; x < whole; ++x)
      codes[x] = coarse_fine_code(smooth[x + 1] - smooth[x - 1], slope[x - 1] + 2 * slope[x] + slope[x + 1]);
  }

  // Pixels of row y whose whole neighborhood inside the image is valid.
  const std::uint8_t* eroded(std::int64_t above, std::int64_t y, std::int64_t below) {
    std::uint8_t* column = bytes_[1] + 1;  // with a border of one pixel at each end
    std::uint8_t* all = bytes_[3];
    std::memcpy(column, job_.valid + y * width_, static_cast<std::size_t>(width_));
    keep_both(job_.valid + above * width_, width_, column);
    keep_both(job_.valid + below * width_, width_, column);
    column[-1] = column[width_] = 1;
    for (std::int64_t x = 0; x < width_; ++x)
      all[x] = static_cast<std::uint8_t>(column[x - 1] & column[x] & column[x + 1]);
    return all;
  }

  BlockSum block(int i, int j) const {
    const std::int64_t left = block_start(width_, j);
    const std::int64_t right = block_start(width_, j + 1);
    BlockSum total{0, 0};
    for (std::int64_t y = block_start(job_.image.height, i); y < block_start(job_.image.height, i + 1); ++y) {
      const std::uint8_t* codes = job_.lightness + y * width_;
      std::int64_t sum = 0;
      std::int64_t count = right - left;
      if (job_.valid == nullptr) {
        for (std::int64_t x = left; x < right; ++x) sum += codes[x];
      } else {
        const std::uint8_t* valid = job_.valid + y * width_;
        count = 0;
        for (std::int64_t x = left; x < right; ++x) {
          sum += codes[x] * valid[x];
          count += valid[x];
        }
      }
      total.sum += sum;
      total.count += count;
    }
    return total;
  }

  const TextureCodesJob& job_;
  std::int64_t width_;
  float* floats_[6];        // r, g, b and linear r, g, b of a row
  std::int16_t* sums_[2];   // of three rows of lightness
  std::uint8_t* bytes_[5];  // rows of codes
};

}  // namespace

void texture_codes_image(const TextureCodesJob& job) {
  Image image(job);
  switch (job.pixel_type) {
    case PixelType::u8:
      image.codes<UnitU8>();
      break;
    case PixelType::u16:
      image.codes<UnitU16>();
      break;
    case PixelType::f16:
      image.codes<UnitF16>();
      break;
    case PixelType::bf16:
      image.codes<UnitBF16>();
      break;
    case PixelType::f32:
      image.codes<UnitF32>();
      break;
  }
  image.levels();
  image.coarse_fine();
  image.blocks();
}

}  // namespace iuscore::IUSCORE_ISA
