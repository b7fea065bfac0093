// What `glcm` and `glcm_features` take of images and masks on a device, checked.
#pragma once

#include <pybind11/stl.h>

#include <array>

#include "bindings/glcm_arguments.h"

namespace iuscore {

using ImageNumbers = std::array<std::int64_t, 6>;  // address, height, width, strides of rows, columns, channels
using MaskNumbers = std::array<std::int64_t, 3>;   // address (0: all pixels are counted), strides of rows, columns

inline std::int32_t checked_glcm_threads(std::int32_t threads, std::int32_t largest) {
  if (threads < 0 || threads > largest || threads % 32 != 0)
    throw pybind11::value_error("threads: expected 0 or a multiple of 32 up to " + std::to_string(largest));
  return threads;
}

// Args: GlcmCudaArgs or GlcmFeaturesCudaArgs.
template <class Args>
void set_glcm_images(Args& args, const ImageNumbers& image, std::int64_t batch_stride, const MaskNumbers& mask,
                     std::int64_t mask_batch_stride, std::int32_t channels, const std::string& pixel_type) {
  const auto [data, height, width, stride_h, stride_w, stride_c] = image;
  if (data == 0) throw pybind11::value_error("image: null address");
  if (height < 1 || width < 1) throw pybind11::value_error("image: height and width must be at least 1");
  args.image = {reinterpret_cast<const void*>(data), height, width, stride_h, stride_w, stride_c};
  args.batch_stride = batch_stride;
  args.mask = {reinterpret_cast<const std::uint8_t*>(mask[0]), mask[1], mask[2]};
  args.mask_batch_stride = mask_batch_stride;
  args.channels = channels;
  args.pixel_type = pixel_type_of(pixel_type);
  check_glcm_images({args.image}, channels, args.pixel_type, args.quantization);
}

}  // namespace iuscore
