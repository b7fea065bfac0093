// How the kernel reads the input image.
#pragma once

#include "core/color.h"
#include "core/perceptual.h"
#include "cuda/block.cuh"
#include "ops/perceptual_maps.h"

namespace iuscore {

// Input pixels of one image and the order in which a strip row holds them: packed RGB stays interleaved, anything else
// becomes planar.
template <class Pixel>
struct Source {
  using Storage = typename Pixel::Storage;

  __device__ Source(const ImageView& view, std::int64_t shift, std::int32_t channels, bool color)
      : data(static_cast<const Storage*>(view.data) + shift),
        stride_h(view.stride_h),
        stride_w(view.stride_w),
        stride_c(view.stride_c),
        height(static_cast<std::int32_t>(view.height)),
        width(static_cast<std::int32_t>(view.width)),
        kept(kept_channels(color, channels)),
        gray(!color),
        stride_gray(channels == 3 ? view.stride_c : 0),
        interleaved(kept == 3 && stride_c == 1 && stride_w == 3) {}

  __device__ std::int32_t step_x() const { return interleaved ? 3 : 1; }
  __device__ std::int32_t step_c() const { return interleaved ? 1 : width; }

  // Distance of a strip row's element from the image row's begin.
  __device__ std::int64_t offset(std::int32_t element) const {
    if (interleaved) return element;
    const std::int32_t c = kept == 1 ? 0 : element / width;
    return (element - c * width) * stride_w + c * stride_c;
  }

  // Whether four elements with a multiple of four as the first always lie beside each other at an aligned address.
  __device__ bool in_fours() const {
    const bool rows =
        width % 4 == 0 && stride_h % 4 == 0 && reinterpret_cast<std::uintptr_t>(data) % alignof(Four<Storage>) == 0;
    return rows && (!gray || stride_gray == 0) && (interleaved || (stride_w == 1 && (kept == 1 || stride_c % 4 == 0)));
  }

  __device__ float value(const Storage* p) const {
    return gray ? gray_of(Pixel::load(p[0]), Pixel::load(p[stride_gray]), Pixel::load(p[2 * stride_gray]))
                : Pixel::load(*p);
  }

  template <int kGroup>
  __device__ void load(const Storage* p, float (&values)[kGroup]) const {
    if constexpr (kGroup == 1) {
      values[0] = value(p);
    } else {
      static_assert(kGroup == 4);
      const Four<Storage> four = *reinterpret_cast<const Four<Storage>*>(p);
      for (int k = 0; k < kGroup; ++k) {
        const float value = Pixel::load(four.values[k]);
        values[k] = gray ? gray_of(value) : value;
      }
    }
  }

  const Storage* data;
  std::int64_t stride_h;
  std::int64_t stride_w;
  std::int64_t stride_c;
  std::int32_t height;
  std::int32_t width;
  std::int32_t kept;
  bool gray;                 // gray maps: the weighted sum of the channels
  std::int64_t stride_gray;  // from one summand of it to the next; 0 where the input has one channel
  bool interleaved;
};

}  // namespace iuscore
