#include "ops/perceptual_maps.h"

#include <algorithm>
#include <vector>

#include "core/perceptual.h"
#include "cpu/isa.h"
#include "cpu/parallel_for.h"
#include "cpu/perceptual_maps_isa.h"
#include "cpu/tap_table.h"

namespace iuscore {
namespace {

void store(const float* planes, std::int64_t n, MapType type, std::uint16_t* out) {
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = type == MapType::f16 ? float_to_f16(planes[i]) : float_to_bf16(planes[i]);
}

struct Scratch {
  std::vector<float> strips;
  std::vector<float> planes;  // only for 16-bit maps, which cannot hold intermediate values
};

}  // namespace

void perceptual_maps_cpu(const PerceptualMapsArgs& args) {
  TapCache rows(args.height, args.clean);
  TapCache columns(args.width, args.clean);
  std::int64_t widest = 1;
  std::int64_t most_taps = 1;
  std::vector<std::pair<TapTable, TapTable>> taps;
  for (std::int64_t i = 0; i < args.batch; ++i) {
    const ImageView& image = args.images[i];
    taps.emplace_back(rows.at(static_cast<std::int32_t>(image.height)),
                      columns.at(static_cast<std::int32_t>(image.width)));
    widest = std::max(widest, image.width);
    most_taps = std::max<std::int64_t>(most_taps, taps.back().first.taps);
  }
  const std::int64_t size = std::int64_t{kMaps} * args.height * args.width;
  const bool is_half = args.map_type != MapType::f32;
  std::vector<Scratch> scratch(static_cast<std::size_t>(args.threads));
  const auto kernel = IUSCORE_FOR_ISA(current_isa(), perceptual_maps_image);
  parallel_for(args.batch, args.threads, [&](std::int32_t worker, std::int64_t i) {
    Scratch& own = scratch[static_cast<std::size_t>(worker)];
    own.strips.resize(static_cast<std::size_t>(perceptual_maps_strip_size(widest, most_taps, args.width)));
    if (is_half) own.planes.resize(static_cast<std::size_t>(size));
    const auto& [vertical, horizontal] = taps[static_cast<std::size_t>(i)];
    float* planes = is_half ? own.planes.data() : static_cast<float*>(args.maps) + i * size;
    kernel({args.images[i], vertical, horizontal, args.channels, args.pixel_type, args.color, args.clean, args.height,
            args.width, planes, args.ranges + i * kMaps, own.strips.data()});
    if (is_half) store(planes, size, args.map_type, static_cast<std::uint16_t*>(args.maps) + i * size);
  });
}

}  // namespace iuscore
