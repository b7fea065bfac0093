// Random batches of images and masks in every memory layout, for the programs that run kernels on the host.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "core/half.h"
#include "ops/images.h"

using Random = std::mt19937;

template <class T>
T pick(Random& random, std::initializer_list<T> choices) {
  return choices.begin()[random() % choices.size()];
}

// Splits a case's number into choices, as digits: consecutive cases go through every combination of choices.
struct Digits {
  unsigned rest;
  unsigned next(unsigned base) {
    const unsigned digit = rest % base;
    rest /= base;
    return digit;
  }
};

enum class Memory { interleaved, planar, general, negative };
enum class Content { noise, constant, faint, black_border, nan, infinite, huge };
enum class Masked { nothing, half, everything };

struct Size {
  std::int64_t height, width;
};

inline std::string text_of(const std::vector<Size>& sizes) {
  std::string text;
  for (const Size& s : sizes) text += " " + std::to_string(s.height) + "x" + std::to_string(s.width);
  return text;
}

struct ImagesCase {
  iuscore::PixelType pixel_type;
  std::int32_t channels;
  Memory memory;
  bool ragged;      // each image in a piece of memory of its own; else one piece, all of sizes[0]
  bool misaligned;  // the data start one element too late to be aligned
  std::vector<Size> sizes;
  std::vector<Content> contents;  // one per image

  std::string text() const {
    return "pixel type " + std::to_string(static_cast<int>(pixel_type)) + ", C " + std::to_string(channels) +
           ", memory " + std::to_string(static_cast<int>(memory)) + (misaligned ? " misaligned" : "") + ", images" +
           text_of(sizes) + (ragged ? " ragged" : "");
  }
};

inline bool is_floating(iuscore::PixelType type) { return type >= iuscore::PixelType::f16; }

inline Content draw_content(Random& random, iuscore::PixelType type) {
  return static_cast<Content>(random() % (is_floating(type) ? 7 : 4));
}

inline double value_of(Content content, Random& random, std::int64_t x, std::int64_t width) {
  const double unit = random() / 4294967296.0;
  if (content == Content::constant) return 0.4;
  if (content == Content::faint) return 0.5 + 0.01 * unit;
  // Zeros of both signs: a result must not depend on which of them is taken as the smallest value.
  if (content == Content::black_border) return x < width / 2 ? (random() % 2 ? 0.0 : -0.0) : unit;
  return 1.5 * unit - 0.25;
}

// Pixels in the case's layout. The elements between them are NaN where the type has one: a kernel that reads them gives
// a wrong result.
class DrawnImages {
 public:
  std::vector<iuscore::ImageView> views;
  std::int64_t batch_stride = 0;  // in elements

  DrawnImages(const ImagesCase& c, Random& random) : type_(c.pixel_type) {
    const std::size_t n = c.sizes.size();
    for (std::size_t i = 0; i < n; ++i) {
      const auto [h, w] = c.sizes[i];
      iuscore::ImageView view{nullptr, h, w, 0, 0, 0};
      const std::int64_t extent = set_strides(c, view);
      const std::int64_t shift = c.misaligned ? 1 : 0;
      if (c.ragged || i == 0) allocate((c.ragged ? 1 : static_cast<std::int64_t>(n)) * extent + shift);
      std::int64_t first = shift + (c.ragged ? 0 : static_cast<std::int64_t>(i) * extent);
      for (const auto& [count, stride] :
           {Size{h, view.stride_h}, Size{w, view.stride_w}, Size{c.channels, view.stride_c}})
        if (stride < 0) first -= (count - 1) * stride;
      batch_stride = extent;
      fill(c, c.contents[i], view, first, random);
      view.data = memory_.back().data() + first * element();
      views.push_back(view);
    }
  }

 private:
  std::vector<std::vector<std::byte>> memory_;  // one piece for all images, or one per image
  iuscore::PixelType type_;

  std::int64_t element() const {
    return type_ == iuscore::PixelType::u8 ? 1 : type_ == iuscore::PixelType::f32 ? 4 : 2;
  }

  void allocate(std::int64_t elements) {
    memory_.emplace_back(static_cast<std::size_t>(elements * element()));
    for (std::int64_t i = 0; i < elements; ++i) put(i, is_floating(type_) ? NAN : 0.9);
  }

  // Sets the strides and returns the number of elements from the lowest to the highest address.
  static std::int64_t set_strides(const ImagesCase& c, iuscore::ImageView& v) {
    const std::int64_t C = c.channels;
    if (c.memory == Memory::interleaved) v.stride_c = 1, v.stride_w = C, v.stride_h = C * v.width;
    if (c.memory == Memory::planar) v.stride_w = 1, v.stride_h = v.width, v.stride_c = v.width * v.height;
    if (c.memory == Memory::general) v.stride_h = 2, v.stride_w = 2 * v.height + 1, v.stride_c = v.stride_w * v.width;
    if (c.memory == Memory::negative) v.stride_c = -1, v.stride_w = -C, v.stride_h = -C * v.width;
    return std::abs(v.stride_h) * (v.height - 1) + std::abs(v.stride_w) * (v.width - 1) +
           std::abs(v.stride_c) * (C - 1) + 1;
  }

  void fill(const ImagesCase& c, Content content, const iuscore::ImageView& v, std::int64_t first, Random& random) {
    const auto at = [&](std::int64_t y, std::int64_t x, std::int64_t channel) {
      return first + y * v.stride_h + x * v.stride_w + channel * v.stride_c;
    };
    for (std::int64_t y = 0; y < v.height; ++y)
      for (std::int64_t x = 0; x < v.width; ++x)
        for (std::int64_t ch = 0; ch < c.channels; ++ch) put(at(y, x, ch), value_of(content, random, x, v.width));
    if (content < Content::nan) return;
    const double odd = content == Content::nan ? NAN : content == Content::infinite ? -INFINITY : 1e28;
    const std::int64_t y = static_cast<std::int64_t>(random()) % v.height;
    const std::int64_t x = static_cast<std::int64_t>(random()) % v.width;
    put(at(y, x, c.channels - 1), odd);
  }

  // Stores a value between 0 and 1, scaled to the range of the pixel type.
  void put(std::int64_t index, double value) {
    using iuscore::PixelType;
    std::byte* to = memory_.back().data() + index * element();
    const auto value_f32 = static_cast<float>(value);
    if (type_ == PixelType::f32) {
      std::memcpy(to, &value_f32, sizeof value_f32);
    } else if (type_ == PixelType::u8) {
      *to = static_cast<std::byte>(std::clamp(std::round(value * 255), 0.0, 255.0));
    } else {
      const std::uint16_t bits = type_ == PixelType::f16 ? iuscore::float_to_f16(value_f32)
                                 : type_ == PixelType::bf16
                                     ? iuscore::float_to_bf16(value_f32)
                                     : static_cast<std::uint16_t>(std::clamp(std::round(value * 65535), 0.0, 65535.0));
      std::memcpy(to, &bits, sizeof bits);
    }
  }
};

// One mask per image, with contiguous elements or every second one, or no masks.
class DrawnMasks {
 public:
  std::vector<iuscore::MaskView> views;  // empty without masks
  std::int64_t batch_stride = 0;         // where all sizes are equal

  DrawnMasks(Masked masked, bool spread, const std::vector<Size>& sizes, Random& random) {
    if (masked == Masked::nothing) return;
    const std::int64_t step = spread ? 2 : 1;
    std::int64_t total = 0;
    for (const auto& [h, w] : sizes) total += batch_stride = h * w * step;
    memory_.assign(static_cast<std::size_t>(total), 1);
    std::int64_t first = 0;
    for (const auto& [h, w] : sizes) {
      views.push_back({memory_.data() + first, w * step, step});
      for (std::int64_t i = 0; i < h * w; ++i)
        memory_[static_cast<std::size_t>(first + i * step)] =
            masked == Masked::everything ? 0 : static_cast<std::uint8_t>(random() % 2 * (1 + random() % 255));
      first += h * w * step;
    }
  }

 private:
  std::vector<std::uint8_t> memory_;
};
