#include "ops/png_rows.h"

#include <cstring>
#include <vector>

#include "core/png.h"

namespace iuscore {
namespace {

enum Filter : std::uint8_t { kNone, kSub, kUp, kAverage, kPaeth };

// Calls value(byte, left, above, upper left) for every byte of a row; the channels stay in registers.
template <int kChannels, class Value>
void by_pixels(const std::uint8_t* in, const std::uint8_t* above, std::uint8_t* out, std::int64_t n, Value value) {
  int left[kChannels] = {};
  int corner[kChannels] = {};
  for (std::int64_t x = 0; x < n; x += kChannels) {
    for (int k = 0; k < kChannels; ++k) {
      const int up = above[x + k];
      left[k] = value(in[x + k], left[k], up, corner[k]) & 255;
      corner[k] = up;
      out[x + k] = static_cast<std::uint8_t>(left[k]);
    }
  }
}

template <int kChannels>
bool undo(std::uint8_t filter, const std::uint8_t* in, const std::uint8_t* above, std::uint8_t* out, std::int64_t n) {
  switch (filter) {
    case kNone:
      std::memcpy(out, in, static_cast<std::size_t>(n));
      return true;
    case kSub:
      by_pixels<kChannels>(in, above, out, n, [](int x, int a, int, int) { return x + a; });
      return true;
    case kUp:
      for (std::int64_t x = 0; x < n; ++x) out[x] = static_cast<std::uint8_t>(in[x] + above[x]);
      return true;
    case kAverage:
      by_pixels<kChannels>(in, above, out, n, [](int x, int a, int b, int) { return x + (a + b) / 2; });
      return true;
    case kPaeth:
      by_pixels<kChannels>(in, above, out, n, [](int x, int a, int b, int c) { return x + png_paeth(a, b, c); });
      return true;
    default:
      return false;
  }
}

template <int kChannels>
bool rows(const PngRowsArgs& args) {
  const std::int64_t n = args.width * kChannels;
  const std::vector<std::uint8_t> nothing(static_cast<std::size_t>(n), 0);  // above the first row
  const std::uint8_t* above = nothing.data();
  for (std::int64_t y = 0; y < args.height; ++y) {
    const std::uint8_t* in = args.filtered + y * (n + 1);
    std::uint8_t* out = args.pixels + y * n;
    if (!undo<kChannels>(in[0], in + 1, above, out, n)) return false;
    above = out;
  }
  return true;
}

}  // namespace

bool png_rows_cpu(const PngRowsArgs& args) { return args.channels == 1 ? rows<1>(args) : rows<3>(args); }

}  // namespace iuscore
