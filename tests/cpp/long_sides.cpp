// Resampling weights for sides so long that float32 cannot represent every position: nothing is written behind the
// weights of an output.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "core/resample.h"

namespace {

constexpr float kUntouched = -3.0f;

// Whether the memory behind the weights of output `o` is unchanged.
bool stays_inside(std::int32_t o, std::int32_t in, std::int32_t out) {
  const std::int32_t taps = iuscore::resample_taps(in, out, true);
  std::vector<float> weight(static_cast<std::size_t>(taps) + 64, kUntouched);
  const std::int32_t start = iuscore::resample_weights(o, in, out, true, taps, weight.data(), 1);
  for (std::size_t j = static_cast<std::size_t>(taps); j < weight.size(); ++j)
    if (weight[j] != kUntouched) {
      std::printf("%d -> %d: output %d writes weight %zu of %d\n", in, out, o, j, taps);
      return false;
    }
  return start >= 0 && start + taps <= in;
}

}  // namespace

int main() {
  constexpr std::int32_t kSides[] = {(1 << 24) - 1, 1 << 24, (1 << 24) + 1, 34780558, (1 << 28) + 12345, (1 << 29) - 1};
  bool inside = true;
  for (const std::int32_t in : kSides)
    for (const std::int32_t out : {128, 1000, 4099})
      for (const std::int32_t o : {0, 1, out / 2, out - 3, out - 2, out - 1})
        if (!stays_inside(o, in, out)) inside = false;
  return inside ? 0 : 1;
}
