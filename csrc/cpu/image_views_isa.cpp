#include "cpu/image_views_isa.h"

#include <cstring>

#include "cpu/lanes.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// ---- Area averages

// kStep: between pixels, where it is known; 0 where it is not.
template <int kStep>
void luma_row(const std::uint8_t* row, const ImageView& image, std::uint8_t* __restrict to) {
  const std::int64_t step = kStep > 0 ? kStep : image.stride_w;
  const std::uint8_t* green = row + (kStep == 3 ? 1 : image.stride_c);
  const std::uint8_t* blue = green + (kStep == 3 ? 1 : image.stride_c);
  for (std::int64_t x = 0; x < image.width; ++x) to[x] = luma_of(row[x * step], green[x * step], blue[x * step]);
}

bool gray_of_color(const ImageViewsArgs& args) { return !args.color && args.channels == 3; }

// Row y as bytes, `views_channels` of them a pixel: where they lie, or a copy.
const std::uint8_t* row_of(const ImageViewsArgs& args, const ImageView& image, std::int64_t y, std::uint8_t* copy) {
  const auto* row = static_cast<const std::uint8_t*>(image.data) + y * image.stride_h;
  const std::int32_t channels = args.channels;
  const std::int64_t step = image.stride_w;
  if (gray_of_color(args)) {
    if (step == 3 && image.stride_c == 1)
      luma_row<3>(row, image, copy);
    else if (step == 1)
      luma_row<1>(row, image, copy);
    else
      luma_row<0>(row, image, copy);
    return copy;
  }
  if (step == channels && (channels == 1 || image.stride_c == 1)) return row;
  for (std::int32_t c = 0; c < channels; ++c)
    for (std::int64_t x = 0; x < image.width; ++x) copy[x * channels + c] = row[x * step + c * image.stride_c];
  return copy;
}

// Sums of `values` columns over rows begin .. end - 1.
template <class Sum>
void sum_rows(const ImageViewsArgs& args, const ImageView& image, std::int64_t begin, std::int64_t end,
              std::int64_t values, std::uint8_t* copy, Sum* columns) {
  std::memset(columns, 0, static_cast<std::size_t>(values) * sizeof(Sum));
  for (std::int64_t y = begin; y < end; ++y) {
    const std::uint8_t* row = row_of(args, image, y, copy);
    for (std::int64_t k = 0; k < values; ++k) columns[k] = static_cast<Sum>(columns[k] + row[k]);
  }
}

// Sums of `side` windows of columns: to[c * side * side + j]. kInner: the channels that lie side by side.
template <std::int32_t kInner, class Sum>
void sum_columns(const Sum* columns, std::int64_t width, std::int32_t side, std::int64_t* to) {
  for (std::int32_t j = 0; j < side; ++j) {
    const std::int64_t end = window_end(j, side, width);
    std::int64_t sums[kInner] = {};
    for (std::int64_t x = window_begin(j, side, width); x < end; ++x)
      for (std::int32_t c = 0; c < kInner; ++c) sums[c] += columns[x * kInner + c];
    for (std::int32_t c = 0; c < kInner; ++c) to[c * side * side + j] = sums[c];
  }
}

template <class Sum>
void sum_window_rows(const ImageViewsArgs& args, const ImageView& image, std::int64_t begin, std::int64_t end,
                     std::int32_t side, const ViewsScratch& scratch, Sum* columns, std::int64_t* to) {
  const bool interleaved = args.channels == 3 && args.color;
  sum_rows(args, image, begin, end, image.width * (interleaved ? 3 : 1), scratch.row, columns);
  if (interleaved)
    sum_columns<3>(columns, image.width, side, to);
  else
    sum_columns<1>(columns, image.width, side, to);
}

// Sums over side x side windows: [channels, side, side].
void sum_windows(const ImageViewsArgs& args, const ImageView& image, std::int32_t side, const ViewsScratch& scratch) {
  constexpr std::int64_t kShortRows = 257;  // that many bytes add up to 16 bits
  for (std::int32_t i = 0; i < side; ++i) {
    const std::int64_t begin = window_begin(i, side, image.height);
    const std::int64_t end = window_end(i, side, image.height);
    std::int64_t* to = scratch.sums + i * side;
    if (end - begin <= kShortRows)
      sum_window_rows(args, image, begin, end, side, scratch, reinterpret_cast<std::uint16_t*>(scratch.columns), to);
    else
      sum_window_rows(args, image, begin, end, side, scratch, scratch.columns, to);
  }
}

// Means of the windows of one channel. What is a quotient of exact floats is the same after a division in double
// precision, so one choice serves all windows of a row.
void window_means(const ImageView& image, const std::int64_t* sums, std::int32_t side, float* to) {
  const std::int64_t widest = image.width / side + 2;
  for (std::int32_t i = 0; i < side; ++i, sums += side, to += side) {
    const std::int64_t rows = window_end(i, side, image.height) - window_begin(i, side, image.height);
    const auto area_of = [&](std::int32_t j) {
      return rows * (window_end(j, side, image.width) - window_begin(j, side, image.width));
    };
    if (rows * widest <= kFloatArea) {
      for (std::int32_t j = 0; j < side; ++j) to[j] = float_mean(sums[j], area_of(j));
    } else {
      for (std::int32_t j = 0; j < side; ++j) to[j] = double_mean(sums[j], area_of(j));
    }
  }
}

// Sums of the thumbnail's windows, each of 4x4 windows that do not overlap.
void add_up_windows(std::int64_t* sums, std::int32_t channels) {
  constexpr std::int32_t kPart = kPatchSide / kThumbSide;
  for (std::int32_t k = 0; k < channels * kThumbSide * kThumbSide; ++k) {
    const std::int32_t c = k / (kThumbSide * kThumbSide);
    const std::int32_t i = k / kThumbSide % kThumbSide;
    const std::int32_t j = k % kThumbSide;
    const std::int64_t* from = sums + (c * kPatchSide + i * kPart) * kPatchSide + j * kPart;
    std::int64_t sum = 0;
    for (std::int32_t y = 0; y < kPart; ++y)
      for (std::int32_t x = 0; x < kPart; ++x) sum += from[y * kPatchSide + x];
    sums[k] = sum;  // behind what is still read
  }
}

// The thumbnail, and the small image that patches are taken from.
void average(const ImageViewsArgs& args, std::int64_t index, const ViewsScratch& scratch, float* small) {
  static_assert(kViewsPitch == kPatchSide);
  constexpr std::int32_t kSmallArea = kPatchSide * kPatchSide;
  constexpr std::int32_t kThumbArea = kThumbSide * kThumbSide;
  const ImageView& image = args.images[index];
  const std::int32_t views = args.color ? 3 : 1;
  const std::int32_t different = args.color ? args.channels : 1;
  float* thumb = args.thumb + index * views * kThumbArea;
  sum_windows(args, image, kPatchSide, scratch);
  for (std::int32_t c = 0; c < different; ++c)
    window_means(image, scratch.sums + c * kSmallArea, kPatchSide, small + c * kSmallArea);
  if (image.height % kPatchSide == 0 && image.width % kPatchSide == 0)
    add_up_windows(scratch.sums, different);
  else
    sum_windows(args, image, kThumbSide, scratch);
  for (std::int32_t c = 0; c < different; ++c)
    window_means(image, scratch.sums + c * kThumbArea, kThumbSide, thumb + c * kThumbArea);
  for (std::int32_t c = different; c < views; ++c) {
    std::memcpy(small + c * kSmallArea, small, kSmallArea * sizeof(float));
    std::memcpy(thumb + c * kThumbArea, thumb, kThumbArea * sizeof(float));
  }
}

// ---- Patches. Lanes hold positions side by side; what lies beyond the last position is computed and not used.

// Sums of six neighbors in each row.
void sums_of_six(const float* small, std::int32_t channels, float* to) {
  for (std::int64_t k = 0; k < std::int64_t{channels} * kPatchSide * kViewsPitch; k += kLanes) {
    Lanes sum = load(small + k);
    for (std::int32_t j = 1; j < kPatchWindow; ++j) sum = add(sum, load(small + k + j));
    store(to + k, sum);
  }
}

struct PatchRow {
  float* differences;  // [36 C, pitch]: pixels less the mean of their patch
  float* mean;         // [pitch]
  float* scale;        // [pitch]
};

// The patches whose first row is y.
void patches_of_row(const float* small, const float* sixes, std::int32_t channels, std::int32_t y,
                    const PatchRow& row) {
  constexpr std::int64_t kArea = kPatchSide * kViewsPitch;
  const auto n = static_cast<float>(channels * kPatchArea);
  for (std::int64_t x = 0; x < kViewsPitch; x += kLanes) {
    Lanes sum = in_all_lanes(0.0f);
    for (std::int32_t c = 0; c < channels; ++c)
      for (std::int32_t i = 0; i < kPatchWindow; ++i)
        sum = add(sum, load(sixes + c * kArea + (y + i) * kViewsPitch + x));
    store(row.mean + x, sum);
  }
  for (std::int64_t x = 0; x < kViewsPitch; ++x) row.mean[x] = row.mean[x] / n;
  for (std::int64_t x = 0; x < kViewsPitch; x += kLanes) {
    const Lanes mean = load(row.mean + x);
    Lanes squares = in_all_lanes(0.0f);
    float* to = row.differences + x;
    for (std::int32_t c = 0; c < channels; ++c)
      for (std::int32_t i = 0; i < kPatchWindow; ++i) {
        const float* from = small + c * kArea + (y + i) * kViewsPitch + x;
        Lanes of_six = in_all_lanes(0.0f);
        for (std::int32_t j = 0; j < kPatchWindow; ++j, to += kViewsPitch) {
          const Lanes difference = subtract(load(from + j), mean);
          store(to, difference);
          of_six = multiply_add(difference, difference, of_six);
        }
        squares = add(squares, of_six);
      }
    store(row.scale + x, squares);
  }
  for (std::int64_t x = 0; x < kViewsPitch; ++x) row.scale[x] = patch_scale(row.scale[x], n);
}

// ---- Answers of the filters. Lanes hold filters.

// kM positions times kN vectors of filters stay in registers.
constexpr int kM = kLanes == 16 ? 9 : 3;
constexpr int kN = kLanes == 16 ? 2 : 4;
static_assert(kPatchPositions % kM == 0 && kPatchFilters % (kN * kLanes) == 0);

// Adds what positions kFirst ... of a row answer to `sums`: [sign, half, 64].
template <int kFirst>
void answers_of(const PatchRow& row, const PatchFilters& filters, std::int32_t terms, int filter, float* sums) {
  Lanes answers[kM][kN];
  IUSCORE_UNROLLED
  for (int m = 0; m < kM; ++m) {
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n) answers[m][n] = in_all_lanes(0.0f);
  }
  const float* a = row.differences + kFirst;
  const float* b = filters.weights + filter;
  for (std::int32_t k = 0; k < terms; ++k, a += kViewsPitch, b += kPatchFilters) {
    Lanes weights[kN];
    IUSCORE_UNROLLED
    for (int n = 0; n < kN; ++n) weights[n] = load(b + n * kLanes);
    IUSCORE_UNROLLED
    for (int m = 0; m < kM; ++m) {
      const Lanes pixel = in_all_lanes(a[m]);
      IUSCORE_UNROLLED
      for (int n = 0; n < kN; ++n) answers[m][n] = multiply_add(pixel, weights[n], answers[m][n]);
    }
  }
  IUSCORE_UNROLLED
  for (int n = 0; n < kN; ++n) {
    const Lanes bias = load(filters.bias + filter + n * kLanes);
    float* const to = sums + filter + n * kLanes;
    Lanes added[4];
    IUSCORE_UNROLLED
    for (int k = 0; k < 4; ++k) added[k] = load(to + k * kPatchFilters);
    IUSCORE_UNROLLED
    for (int m = 0; m < kM; ++m) {
      const Lanes answer = multiply_add(answers[m][n], in_all_lanes(row.scale[kFirst + m]), bias);
      const Lanes over = relu(subtract(answer, in_all_lanes(kPatchThreshold)));
      const Lanes under = relu(subtract(in_all_lanes(-kPatchThreshold), answer));
      if (kFirst + m < kPatchHalf) {
        added[0] = add(added[0], over);
        added[2] = add(added[2], under);
      }
      if (kFirst + m >= kPatchPositions - kPatchHalf) {
        added[1] = add(added[1], over);
        added[3] = add(added[3], under);
      }
    }
    IUSCORE_UNROLLED
    for (int k = 0; k < 4; ++k) store(to + k * kPatchFilters, added[k]);
  }
  if constexpr (kFirst + kM < kPatchPositions) answers_of<kFirst + kM>(row, filters, terms, filter, sums);
}

void add_rows(const float* from, float* to) {
  for (std::int32_t k = 0; k < 4 * kPatchFilters; ++k) to[k] += from[k];
}

}  // namespace

void image_views_image(const ImageViewsArgs& args, std::int64_t i, const ViewsScratch& scratch) {
  const std::int32_t channels = args.color ? 3 : 1;
  const std::int32_t terms = channels * kPatchArea;
  float* const small = scratch.floats;
  float* const sixes = small + kViewsSmall;
  float* const sums = sixes + kViewsSmall;           // of a row: [sign, half, 64]
  float* const quarters = sums + 4 * kPatchFilters;  // [bottom, sign, half, 64]
  float* const differences = quarters + kPatchResponses;
  const PatchRow row{differences, differences + terms * kViewsPitch, differences + (terms + 1) * kViewsPitch};
  average(args, i, scratch, small);
  std::memset(small + channels * kPatchSide * kViewsPitch, 0, kViewsSlack * sizeof(float));
  sums_of_six(small, channels, sixes);
  std::memset(quarters, 0, kPatchResponses * sizeof(float));
  for (std::int32_t y = 0; y < kPatchPositions; ++y) {
    patches_of_row(small, sixes, channels, y, row);
    std::memset(sums, 0, 4 * kPatchFilters * sizeof(float));
    for (int filter = 0; filter < kPatchFilters; filter += kN * kLanes)
      answers_of<0>(row, args.filters, terms, filter, sums);
    if (y < kPatchHalf) add_rows(sums, quarters);
    if (y >= kPatchPositions - kPatchHalf) add_rows(sums, quarters + 4 * kPatchFilters);
  }
  float* const out = args.patch + i * kPatchResponses;
  for (std::int32_t f = 0; f < kPatchFilters; ++f)
    for (std::int32_t k = 0; k < 8; ++k)  // bottom, sign, half
      out[response_column(f, k / 2 % 2, k / 4, k % 2)] = patch_response(quarters[k * kPatchFilters + f]);
}

}  // namespace iuscore::IUSCORE_ISA
