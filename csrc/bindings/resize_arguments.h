// One direction of a resize: (address of start, address of weights, taps, shift, out); taps 0 keeps the size.
#pragma once

#include <pybind11/stl.h>

#include <array>

#include "bindings/arguments.h"
#include "ops/resize.h"

namespace iuscore {

using TapAddresses = std::array<std::int64_t, 5>;

inline ResizeTaps taps_of(const TapAddresses& given, std::int64_t size, const char* name) {
  const auto [start, weights, taps, shift, out] = given;
  constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max() / 4;
  if (out < 1 || out > kLargest || taps < 0 || taps > size)
    throw pybind11::value_error(std::string(name) + ": expected out of at least 1 and taps of 0.." +
                                std::to_string(size));
  if (taps == 0 && out != size) throw pybind11::value_error(std::string(name) + ": without taps the size is kept");
  if (taps == 0) return {nullptr, nullptr, 0, 0, static_cast<std::int32_t>(out)};
  if (shift < kLeastResizeShift || shift > kMostResizeShift)
    throw pybind11::value_error(std::string(name) + ": expected a shift of 1..22");
  return {checked_address<const std::int32_t>(static_cast<std::uintptr_t>(start), name),
          checked_address<const std::int16_t>(static_cast<std::uintptr_t>(weights), name),
          static_cast<std::int32_t>(taps), static_cast<std::int32_t>(shift), static_cast<std::int32_t>(out)};
}

}  // namespace iuscore
