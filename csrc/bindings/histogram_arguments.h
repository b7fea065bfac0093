// Python values -> the plain types of csrc/ops/color_histogram.h.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "core/histogram.h"
#include "ops/color_histogram.h"

namespace iuscore {

using EdgeArray = pybind11::array_t<float, pybind11::array::c_style | pybind11::array::forcecast>;

inline ColorSpace color_space_of(const std::string& name) {
  if (name == "rgb") return ColorSpace::rgb;
  if (name == "hsv") return ColorSpace::hsv;
  if (name == "lab") return ColorSpace::lab;
  if (name == "gray") return ColorSpace::gray;
  throw pybind11::value_error("space: expected rgb, hsv, lab or gray, got " + name);
}

// Counts are 32 bits wide.
inline void check_pixels(std::int64_t height, std::int64_t width) {
  if (height * width > std::numeric_limits<std::int32_t>::max())
    throw pybind11::value_error("images: expected fewer than 2^31 pixels each");
}

inline void check_edge_array(const EdgeArray& edges, std::int32_t most) {
  if (edges.ndim() != 1 || edges.size() < 2 || edges.size() > most + 1)
    throw pybind11::value_error("edges: expected 2.." + std::to_string(most + 1) + " values");
  for (pybind11::ssize_t i = 1; i < edges.size(); ++i)
    if (!(edges.at(i - 1) <= edges.at(i))) throw pybind11::value_error("edges: expected ascending values");
}

inline void check_edges(const std::vector<EdgeArray>& edges, ColorSpace space, bool joint) {
  if (edges.size() != static_cast<std::size_t>(histogram_channels(space)))
    throw pybind11::value_error("edges: expected one array per channel of the space");
  if (joint && space == ColorSpace::gray) throw pybind11::value_error("joint: expected a space with three channels");
  for (const EdgeArray& of_channel : edges) check_edge_array(of_channel, joint ? kMostJointBins : kMostBins);
}

}  // namespace iuscore
