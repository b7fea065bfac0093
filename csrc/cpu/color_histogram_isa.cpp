#include "cpu/color_histogram_isa.h"

#include "cpu/color_histogram_bytes.h"
#include "cpu/color_histogram_rows.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// Counters of a histogram: two in turn, `pitch` apart (0: only one), of `slots` bins and the slots behind them.
void write_result(const std::uint32_t* counters, std::int64_t pitch, std::int64_t bins, std::int32_t* counts,
                  std::int32_t* outside) {
  const auto total = [&](std::int64_t i) {
    return static_cast<std::int32_t>(counters[i] + (pitch > 0 ? counters[i + pitch] : 0u));
  };
  for (std::int64_t i = 0; i < bins; ++i) counts[i] = total(i);
  for (int k = 0; k < kOutsideKinds; ++k) outside[k] = total(bins + k);
}

// From the histogram of the bytes to that of the slots.
void write_byte_result(const ColorHistogramJob& job, const std::uint32_t* totals) {
  std::int32_t* counts = job.counts;
  for (int c = 0; c < histogram_channels(job.space); ++c) {
    const std::int32_t bins = job.axes[c].bins;
    std::uint32_t slots[kMostBins + kOutsideSlots];
    clear(slots, bins + kOutsideSlots);
    const std::uint32_t* of_channel = totals + (job.channels == 1 || job.space == ColorSpace::gray ? 0 : c * 256);
    for (int v = 0; v < 256; ++v) slots[job.bytes->slots[c][v]] += of_channel[v];
    write_result(slots, 0, bins, counts, job.outside + c * kOutsideKinds);
    counts += bins;
  }
}

void gray_bytes(const std::uint8_t* __restrict__ p, std::int64_t stride_w, std::int64_t stride_c, std::int64_t n,
                std::uint8_t* __restrict__ out) {
  const std::uint8_t* g = p + stride_c;
  const std::uint8_t* b = p + 2 * stride_c;
  const auto gray = [&](std::int64_t i) {
    const float rounded = rounded_gray(RawU8::load(p[i]), RawU8::load(g[i]), RawU8::load(b[i]));
    return static_cast<std::uint8_t>(static_cast<std::int32_t>(rounded));
  };
  if (stride_w == 3) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = gray(3 * i);
  } else if (stride_w == 1) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = gray(i);
  } else {
    for (std::int64_t i = 0; i < n; ++i) out[i] = gray(i * stride_w);
  }
}

// Gray of three channels: a buffer of gray bytes at a time.
void count_gray_of_color(const ColorHistogramJob& job, std::uint32_t* totals) {
  const ImageView& image = job.image;
  HistogramMemory& memory = *job.memory;
  const auto* p = static_cast<const std::uint8_t*>(image.data);
  const bool dense = image.stride_h == image.width * image.stride_w;
  const std::int64_t rows = dense ? 1 : image.height;
  const std::int64_t width = dense ? image.height * image.width : image.width;
  std::int64_t filled = 0;
  for (std::int64_t y = 0; y < rows; ++y) {
    for (std::int64_t x = 0; x < width;) {
      const std::int64_t n = width - x < kGrayBytes - filled ? width - x : kGrayBytes - filled;
      gray_bytes(p + y * image.stride_h + x * image.stride_w, image.stride_w, image.stride_c, n, memory.gray + filled);
      x += n;
      filled += n;
      if (filled < kGrayBytes) continue;
      count_rows<1>(memory.gray, 1, filled, filled, job.bytes->by_fours, memory, totals);
      filled = 0;
    }
  }
  count_rows<1>(memory.gray, 1, filled, filled, job.bytes->by_fours, memory, totals);
}

// Without a mask, where pixels lie close: true if counted.
bool count_dense_bytes(const ColorHistogramJob& job) {
  const ImageView& image = job.image;
  const auto* p = static_cast<const std::uint8_t*>(image.data);
  const bool by_fours = job.bytes->by_fours;
  HistogramMemory& memory = *job.memory;
  alignas(64) std::uint32_t totals[3 * 256] = {};
  if (job.space == ColorSpace::gray && job.channels == 3) {
    count_gray_of_color(job, totals);
  } else if (job.channels == 3 && image.stride_c == 1 && image.stride_w == 3) {
    count_rows<3>(p, image.height, 3 * image.width, image.stride_h, by_fours, memory, totals);
  } else if (image.stride_w == 1) {
    for (int c = 0; c < job.channels; ++c)
      count_rows<1>(p + c * image.stride_c, image.height, image.width, image.stride_h, by_fours, memory,
                    totals + c * 256);
  } else {
    return false;
  }
  write_byte_result(job, totals);
  return true;
}

std::int64_t joint_cells(const BinAxis* axes) { return std::int64_t{axes[0].bins} * axes[1].bins * axes[2].bins; }

std::int64_t joint_pitch(std::int64_t cells) { return cells <= kFewCells ? cells + kOutsideSlots : 0; }

void count_joint_bytes(const ColorHistogramJob& job) {
  const ImageView& image = job.image;
  const std::int64_t cells = joint_cells(job.axes);
  const std::int64_t pitch = joint_pitch(cells);
  std::uint32_t* counters = job.memory->counters;
  clear(counters, cells + kOutsideSlots + pitch);
  const auto* p = static_cast<const std::uint8_t*>(image.data);
  const bool dense = image.stride_h == image.width * image.stride_w;
  const std::int64_t rows = dense ? 1 : image.height;
  const std::int64_t width = dense ? image.height * image.width : image.width;
  alignas(64) std::uint16_t slots[kSlotsAtOnce];
  for (std::int64_t y = 0; y < rows; ++y)
    for (std::int64_t x = 0; x < width; x += kSlotsAtOnce) {
      const auto n = static_cast<std::int32_t>(width - x < kSlotsAtOnce ? width - x : kSlotsAtOnce);
      const std::uint8_t* from = p + y * image.stride_h + x * image.stride_w;
      find_joint_slots(image, from, n, *job.bytes, static_cast<std::uint32_t>(cells), slots);
      add_slots(slots, n, pitch, counters);
    }
  write_result(counters, pitch, cells, job.counts, job.outside);
}

template <class Pixel>
void count_pieces(const ColorHistogramJob& job) {
  using Storage = typename Pixel::Storage;
  const ImageView& image = job.image;
  const int channels = histogram_channels(job.space);
  const bool by_table =
      job.pixel_type == PixelType::u8 && (job.space == ColorSpace::rgb || job.space == ColorSpace::gray);
  const std::int64_t cells = job.joint ? joint_cells(job.axes) : 0;
  const std::int64_t pitch = job.joint ? joint_pitch(cells) : kMostBins + kOutsideSlots;
  std::uint32_t* counters = job.memory->counters;
  clear(counters, job.joint ? cells + kOutsideSlots + pitch : 2 * channels * pitch);
  Piece piece;
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; x += kPiece) {
      const auto* p = static_cast<const Storage*>(image.data) + y * image.stride_h + x * image.stride_w;
      piece.n = static_cast<std::int32_t>(image.width - x < kPiece ? image.width - x : kPiece);
      if (by_table) {
        find_byte_slots(job, reinterpret_cast<const std::uint8_t*>(p), piece);
      } else {
        find_piece_slots<Pixel>(job, p, piece);
      }
      if (job.mask.data != nullptr)
        apply_mask(job.mask.data + y * job.mask.stride_h + x * job.mask.stride_w, job.mask.stride_w, channels, job.axes,
                   piece);
      if (job.joint) {
        join_slots(job.axes, piece);
        add_slots(piece.slots[0], piece.n, pitch, counters);
      } else {
        for (int c = 0; c < channels; ++c) add_slots(piece.slots[c], piece.n, pitch, counters + 2 * c * pitch);
      }
    }
  }
  if (job.joint) return write_result(counters, pitch, cells, job.counts, job.outside);
  std::int32_t* counts = job.counts;
  for (int c = 0; c < channels; ++c) {
    write_result(counters + 2 * c * pitch, pitch, job.axes[c].bins, counts, job.outside + c * kOutsideKinds);
    counts += job.axes[c].bins;
  }
}

// hsv and lab start from unit values, rgb and gray from what is stored.
template <class Unit, class Raw>
void count_pieces_of(const ColorHistogramJob& job) {
  const bool unit = job.space == ColorSpace::hsv || job.space == ColorSpace::lab;
  unit ? count_pieces<Unit>(job) : count_pieces<Raw>(job);
}

}  // namespace

void color_histogram_image(const ColorHistogramJob& job) {
  switch (job.pixel_type) {
    case PixelType::u8: {
      const bool stored = job.space == ColorSpace::rgb || job.space == ColorSpace::gray;
      if (stored && job.mask.data == nullptr) {
        if (job.joint) return count_joint_bytes(job);
        if (count_dense_bytes(job)) return;
      }
      return count_pieces_of<UnitU8, RawU8>(job);
    }
    case PixelType::u16:
      return count_pieces_of<UnitU16, RawU16>(job);
    case PixelType::f16:
      return count_pieces<UnitF16>(job);
    case PixelType::bf16:
      return count_pieces<UnitBF16>(job);
    case PixelType::f32:
      return count_pieces<UnitF32>(job);
  }
}

}  // namespace iuscore::IUSCORE_ISA
