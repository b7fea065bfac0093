// Resampling tables that own their memory, and a cache of the tables that one call needs.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "core/resample.h"

namespace iuscore {

struct OwnedTaps {
  std::vector<std::int32_t> start;
  std::vector<float> weight;
  std::int32_t taps;

  TapTable view() const { return {start.data(), weight.data(), taps, static_cast<std::int32_t>(start.size())}; }
};

// in == out: one tap of weight 1 for each output, which is a copy.
inline OwnedTaps make_taps(std::int32_t in, std::int32_t out, bool antialias) {
  const std::int32_t taps = in == out ? 1 : resample_taps(in, out, antialias);
  OwnedTaps table{std::vector<std::int32_t>(static_cast<std::size_t>(out)),
                  std::vector<float>(static_cast<std::size_t>(out) * static_cast<std::size_t>(taps), 1.0f), taps};
  for (std::int32_t o = 0; o < out; ++o) {
    table.start[static_cast<std::size_t>(o)] =
        in == out ? o : resample_weights(o, in, out, antialias, taps, table.weight.data() + o, out);
  }
  return table;
}

class TapCache {
 public:
  TapCache(std::int32_t out, bool antialias) : out_(out), antialias_(antialias) {}

  TapTable at(std::int32_t in) {
    auto found = tables_.find(in);
    if (found == tables_.end()) found = tables_.emplace(in, make_taps(in, out_, antialias_)).first;
    return found->second.view();
  }

 private:
  std::int32_t out_;
  bool antialias_;
  std::map<std::int32_t, OwnedTaps> tables_;
};

}  // namespace iuscore
