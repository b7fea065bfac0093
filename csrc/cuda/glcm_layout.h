// How the co-occurrence kernels are cut: threads, what an image's levels and counters take of shared memory, and in how
// many passes the matrices are counted.
//
// Levels of a strip of rows lie in shared memory as words: four bytes where levels are few, else two halves. Columns
// outside the image hold `not counted`, so a pair needs no test of its columns. Counters are 32-bit, so none overflows:
//   few levels   the whole matrices of as many offsets as fit, first level times pitch plus second
//   more levels  one offset at a time; symmetric matrices as the triangle first >= second, else the square; in bands of
//                rows where shared memory does not hold it at once (a GPU with 99 KB a block, 256 levels)
#pragma once

#include <cstdint>

#include "core/quantize.h"
#include "ops/glcm.h"

namespace iuscore {

constexpr std::int32_t kFewLevels = 64;
constexpr std::int32_t kSmallestGlcmBlock = 128;
constexpr std::int64_t kGlcmFirstsAt = 512;  // before: widen_over_block of one range, largest level, Quantizer
constexpr std::int64_t kGlcmScratchBytes = kGlcmFirstsAt + 4 * kMostLevels;  // first_of_level
constexpr std::int64_t kWholeImageBytes = 64 * 1024;  // an image that takes less is kept as a whole
constexpr std::int64_t kStripBytes = 40 * 1024;       // else strips of about this size
constexpr std::int64_t kMatricesBytes = 72 * 1024;    // of one pass, so that several blocks share a multiprocessor
constexpr std::int64_t kMultiprocessorThreads = 2 * kLargestGlcmBlock;
constexpr std::int32_t kLineSlots = 5;  // times levels: rows, columns, |i - j|, i + j

// An offset with rows >= 0: the other direction counts the transposed matrix. rows >= height where no pair exists.
struct GlcmStep {
  std::int32_t rows;
  std::int32_t columns;
  std::int32_t delta;  // words from one pixel's to the word in which the other's begins, `bits` into it
  std::int32_t bits;
  bool transposed;
};

struct GlcmLayout {
  std::int32_t threads;
  std::int64_t blocks;
  std::int32_t offset_count;
  std::int32_t jobs;          // of an image; a job is the work of one block
  std::int32_t job_offsets;   // consecutive offsets of a job
  std::int32_t pass_offsets;  // of them counted at once
  std::int32_t bands;         // of a matrix; pass_offsets is 1 where there are several
  std::int32_t strip_rows;    // 0: levels are not kept but found again for every pair
  std::int32_t halo;          // rows below a strip that its pairs reach
  std::int32_t pitch;         // words of a row
  std::int32_t front;         // words before the first row
  std::int32_t code_words;
  std::int32_t matrix_cells;  // of one offset or one band
  std::int64_t lines_at;      // bytes from the begin of shared memory, as the others
  std::int64_t matrix_at;
  std::int64_t codes_at;
  std::int64_t shared_bytes;
  std::int16_t band_start[kMostLevels + 1];  // rows of the matrix
  GlcmStep steps[kMostOffsets];
};

struct GlcmTask {
  std::int64_t height;
  std::int64_t width;
  std::int64_t batch;
  std::int32_t levels;
  const PixelOffset* offsets;
  std::int32_t offset_count;
  bool symmetric;
  bool features;         // histograms of the matrix are needed
  bool joint;            // the matrix itself is needed: always with few levels and for `glcm`
  std::int32_t threads;  // 0: chosen here
};

inline bool has_few_levels(std::int32_t levels) { return levels <= kFewLevels; }
inline bool is_triangle(const GlcmTask& task) { return task.symmetric && !has_few_levels(task.levels); }

// Cells before row `row`.
IUSCORE_HD std::int32_t cells_before(std::int32_t row, std::int32_t levels, bool triangle) {
  return triangle ? row * (row + 1) / 2 : row * (levels + 1);
}

inline std::int64_t round_up_to(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

// Fills steps, halo and the columns' padding.
inline std::int64_t set_glcm_steps(const GlcmTask& task, GlcmLayout& layout) {
  const std::int32_t per_word = has_few_levels(task.levels) ? 4 : 2;
  std::int64_t padding = 0;
  for (std::int32_t o = 0; o < task.offset_count; ++o) {
    std::int64_t rows = task.offsets[o].rows;
    std::int64_t columns = task.offsets[o].columns;
    GlcmStep& step = layout.steps[o];
    step.transposed = rows < 0;
    if (step.transposed) rows = -rows, columns = -columns;
    const std::int64_t across = columns < 0 ? -columns : columns;
    if (rows >= task.height || across >= task.width) rows = task.height, columns = 0;
    step.rows = static_cast<std::int32_t>(rows);
    step.columns = static_cast<std::int32_t>(columns);
    const std::int32_t in_word = ((step.columns % per_word) + per_word) % per_word;
    step.delta = (step.columns - in_word) / per_word;  // the rows' share follows once their pitch is known
    step.bits = in_word * (32 / per_word);
    if (rows == task.height) continue;
    if (rows > layout.halo) layout.halo = static_cast<std::int32_t>(rows);
    if (across > padding) padding = across;
  }
  return padding;
}

// Rows of each band, as many as `cells` hold; at least one.
inline void set_glcm_bands(const GlcmTask& task, std::int64_t cells, GlcmLayout& layout) {
  const bool triangle = is_triangle(task);
  layout.bands = 0;
  layout.matrix_cells = 0;
  for (std::int32_t row = 0; row < task.levels;) {
    layout.band_start[layout.bands++] = static_cast<std::int16_t>(row);
    const std::int32_t first = cells_before(row, task.levels, triangle);
    do {
      ++row;
    } while (row < task.levels && cells_before(row + 1, task.levels, triangle) - first <= cells);
    const std::int32_t size = cells_before(row, task.levels, triangle) - first;
    if (size > layout.matrix_cells) layout.matrix_cells = size;
  }
  layout.band_start[layout.bands] = static_cast<std::int16_t>(task.levels);
}

// shared_limit: the most bytes of shared memory a block may have; at least 32 KB. most_code_bytes: of an image that is
// kept as a whole; tests ask for less, to cut small images as large ones are.
inline GlcmLayout glcm_layout(const GlcmTask& task, std::int64_t shared_limit, std::int32_t multiprocessors,
                              std::int64_t most_code_bytes = kWholeImageBytes) {
  const auto smaller = [](std::int64_t x, std::int64_t y) { return x < y ? x : y; };
  const auto larger = [](std::int64_t x, std::int64_t y) { return x > y ? x : y; };
  GlcmLayout layout{};
  const bool few = has_few_levels(task.levels);
  const std::int64_t padding = set_glcm_steps(task, layout);
  layout.offset_count = task.offset_count;
  // Few images: their offsets go to different blocks.
  const std::int64_t wanted_jobs = (2 * std::int64_t{multiprocessors} + task.batch - 1) / task.batch;
  layout.job_offsets = static_cast<std::int32_t>(larger(task.offset_count / larger(wanted_jobs, 1), 1));
  layout.jobs = (task.offset_count + layout.job_offsets - 1) / layout.job_offsets;

  const std::int64_t per_word = few ? 4 : 2;
  const std::int64_t slack = (padding + per_word - 1) / per_word + 4;  // before the first row, and after the last
  const std::int64_t pitch = (task.width + padding + per_word - 1) / per_word;
  const auto code_bytes = [&](std::int64_t rows) { return round_up_to(4 * (2 * slack + rows * pitch), 16); };

  const std::int64_t of_offset = task.features && !few ? 4 * kLineSlots * task.levels : 0;
  const bool matrix = task.joint || few;
  const std::int64_t whole_matrix =
      matrix ? 4 * std::int64_t{cells_before(task.levels, task.levels, is_triangle(task))} : 0;
  const std::int64_t chip = shared_limit - kGlcmScratchBytes - round_up_to(of_offset, 16) - 32;
  const std::int64_t codes_limit = chip - (few ? whole_matrix : smaller(whole_matrix, chip / 2));
  std::int64_t codes = code_bytes(task.height);
  layout.strip_rows = static_cast<std::int32_t>(task.height);
  if (codes > smaller(codes_limit, most_code_bytes)) {
    // Rows that one strip needs and the next one too are read twice: not more than a quarter of all.
    const std::int64_t wanted = larger(smaller(kStripBytes, most_code_bytes), code_bytes(4 * (layout.halo + 1)));
    const std::int64_t most = most_code_bytes > 0 ? smaller(codes_limit, wanted) : 0;
    const std::int64_t fitting = (most / 4 - 2 * slack - 4) / pitch;
    layout.strip_rows = static_cast<std::int32_t>(larger(fitting - layout.halo, 0));
    codes = layout.strip_rows > 0 ? code_bytes(layout.strip_rows + layout.halo) : 0;
  }
  if (layout.strip_rows > 0) {
    layout.pitch = static_cast<std::int32_t>(pitch);
    layout.front = static_cast<std::int32_t>(slack);
    layout.code_words = static_cast<std::int32_t>(codes / 4);
    for (std::int32_t o = 0; o < task.offset_count; ++o)
      if (layout.steps[o].rows < task.height) layout.steps[o].delta += layout.steps[o].rows * layout.pitch;
  }

  const std::int64_t left = chip - codes;
  layout.pass_offsets = 1;
  layout.bands = 1;
  if (matrix && whole_matrix > left) {
    set_glcm_bands(task, left / 4, layout);
  } else {
    if (matrix) set_glcm_bands(task, whole_matrix / 4, layout);
    if (few) {
      const std::int64_t most = smaller(left, larger(kMatricesBytes, whole_matrix)) / whole_matrix;
      layout.pass_offsets = static_cast<std::int32_t>(larger(smaller(layout.job_offsets, most), 1));
    }
  }
  layout.lines_at = kGlcmScratchBytes;
  layout.matrix_at = round_up_to(layout.lines_at + of_offset, 16);
  const std::int64_t at =
      round_up_to(layout.matrix_at + 4 * layout.matrix_cells * std::int64_t{layout.pass_offsets}, 16);
  layout.codes_at = at;
  layout.shared_bytes = at + codes;

  const std::int64_t neighbors = larger(shared_limit / layout.shared_bytes, 1);
  const std::int64_t share = kMultiprocessorThreads / neighbors / 32 * 32;
  layout.threads = static_cast<std::int32_t>(larger(smaller(share, kLargestGlcmBlock), kSmallestGlcmBlock));
  if (task.threads > 0) layout.threads = task.threads;
  layout.blocks = smaller(task.batch * layout.jobs, 0x7fffffff);
  return layout;
}

}  // namespace iuscore
