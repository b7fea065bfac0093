// Co-occurrence features from images, without writing a matrix: kernels that count, then kernels that finish
// (glcm_features_finish.cuh). What passes from one to the other is a record a matrix: its histograms, and sums over
// parts of its cells.
//
// Few levels: matrices are counted in shared memory, and every row, column and diagonal is added up by one thread.
// More levels: the histograms of i + j and |i - j| are counted beside the matrix, which is read only for its own sums
// (entropy, squares, largest), and not counted where no feature asks for those.
#pragma once

#include "cuda/glcm.cuh"
#include "cuda/glcm_sums.cuh"
#include "ops/glcm_features.h"

namespace iuscore {

constexpr std::uint32_t kMostTerms = 4096;
constexpr std::int64_t kRecordsBytes = std::int64_t{128} << 20;  // of one round of launches
constexpr std::int32_t kMatrixThreads = 256;                     // of the kernel for given matrices

// Where the workspace's parts begin, in 64-bit words, and how many images one round of launches takes.
struct GlcmWorkspace {
  std::int64_t terms;
  std::int64_t weights;
  std::int64_t largest;  // [batch] 32-bit: the largest level of the image or the matrices
  std::int64_t records;  // [round, offset_count]
  std::int64_t sums;     // [round, offset_count, kGlcmSums]
  std::int64_t words;
  std::int64_t round;
  std::uint32_t term_count;
  std::int32_t joint_count;   // of a record
  std::int32_t record_words;  // GlcmJoint [joint_count], 32-bit lines [kLineSlots * levels]
};

// Joint sums of a record: one a row, or one a warp.
inline std::int32_t glcm_joint_count(std::int32_t levels, std::int32_t threads) {
  return has_few_levels(levels) ? levels : threads / 32;
}

inline GlcmWorkspace glcm_workspace(const GlcmFeaturesCudaArgs& args) {
  GlcmWorkspace at{};
  const std::int32_t levels = args.quantization.levels;
  const bool given = args.counts != nullptr;
  if (!given) {
    const std::int64_t counts = 2 * args.image.height * args.image.width + 1;
    at.term_count = counts < kMostTerms ? static_cast<std::uint32_t>(counts) : kMostTerms;
  }
  at.joint_count = given ? kMatrixThreads / 32 : glcm_joint_count(levels, kLargestGlcmBlock);
  at.record_words = (at.joint_count * static_cast<std::int32_t>(sizeof(GlcmJoint)) + 4 * kLineSlots * levels + 7) / 8;
  const std::int64_t of_image = std::int64_t{args.offset_count} * (at.record_words + kGlcmSums);
  at.round = kRecordsBytes / 8 / of_image;
  if (at.round > args.batch) at.round = args.batch;
  if (at.round < 1) at.round = 1;
  at.weights = at.term_count;
  at.largest = at.weights + (given ? 0 : kGlcmWeights * levels);
  at.records = at.largest + (args.batch + 1) / 2;
  at.sums = at.records + at.round * args.offset_count * at.record_words;
  at.words = at.sums + at.round * args.offset_count * kGlcmSums;
  return at;
}

struct GlcmSumsTask {
  GlcmContext context;
  std::uint32_t needs;
  GlcmWorkspace at;
  std::uint64_t* workspace;

  __device__ GlcmTerms terms() const {
    const bool tables = at.term_count > 0;
    return {workspace + at.terms, at.term_count, tables ? workspace + at.weights : nullptr, context, needs};
  }
  __device__ GlcmJoint* joints(std::int64_t matrix) const {
    return reinterpret_cast<GlcmJoint*>(workspace + at.records + matrix * at.record_words);
  }
  __device__ std::uint32_t* lines(std::int64_t matrix) const {
    return reinterpret_cast<std::uint32_t*>(joints(matrix) + at.joint_count);
  }
  __device__ std::uint64_t* sums(std::int64_t matrix) const { return workspace + at.sums + matrix * kGlcmSums; }
  __device__ std::uint32_t* largest(std::int64_t index) const {
    return reinterpret_cast<std::uint32_t*>(workspace + at.largest) + index;
  }
};

inline GlcmSumsTask glcm_sums_task(const GlcmFeaturesCudaArgs& args) {
  GlcmSumsTask task{};
  const auto pixels = static_cast<std::uint64_t>(args.image.height * args.image.width);
  task.context = glcm_context(args.quantization.levels, args.symmetric, args.counts == nullptr ? pixels : 0);
  for (std::int32_t f = 0; f < args.feature_count; ++f) task.needs |= glcm_needs(args.features[f]);
  task.at = glcm_workspace(args);
  task.workspace = static_cast<std::uint64_t*>(args.workspace);
  return task;
}

// Of `batch` of the images.
inline GlcmTask glcm_task(const GlcmFeaturesCudaArgs& args, std::int64_t batch, std::uint32_t needs) {
  const bool joint = (needs & (kNeedsJoint | kNeedsJointEntropy)) != 0;
  return {args.image.height,
          args.image.width,
          batch,
          args.quantization.levels,
          args.offsets,
          args.offset_count,
          args.symmetric,
          true,
          joint,
          args.threads};
}

__device__ inline GlcmJoint warp_joint(const GlcmJoint& own) {
  return {warp_sum(own.terms), warp_sum(own.square), warp_largest(own.largest)};
}

// A line's or a row's cells of one of few-level matrices in shared memory.
class GlcmFewCells {
 public:
  __device__ GlcmFewCells(const GlcmMatrix<true>& matrix, std::int32_t k, std::int32_t levels)
      : matrix_(matrix), k_(k), levels_(levels) {}

  __device__ std::uint32_t column(std::int32_t j) const {
    std::uint32_t total = 0;
    for (std::int32_t i = 0; i < levels_; ++i) total += at(i, j);
    return total;
  }

  __device__ std::uint32_t difference(std::int32_t d) const {
    std::uint32_t total = 0;
    for (std::int32_t i = 0; i + d < levels_; ++i) total += at(i, i + d) + (d > 0 ? at(i + d, i) : 0);
    return total;
  }

  __device__ std::uint32_t sum(std::int32_t s) const {
    std::uint32_t total = 0;
    const std::int32_t first = s < levels_ ? 0 : s - levels_ + 1;
    for (std::int32_t i = first; i <= s - first; ++i) total += at(i, s - i);
    return total;
  }

  // A row's sum; what the joint sums need of its cells goes to `found`.
  __device__ std::uint32_t row(std::int32_t i, const GlcmTerms& terms, GlcmJoint& found) const {
    const bool symmetric = terms.context.symmetric;
    std::uint32_t total = 0;
    for (std::int32_t j = 0; j < levels_; ++j) {
      const std::uint32_t count = at(i, j);
      total += count;
      if (symmetric && j < i) continue;
      add_cell(found, symmetric && j > i ? count + at(j, i) : count, symmetric, terms);
      if (symmetric && j == i) mend_diagonal(found, count, terms);
    }
    return total;
  }

 private:
  __device__ std::uint32_t at(std::int32_t i, std::int32_t j) const {
    return matrix_.at(k_, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j));
  }

  const GlcmMatrix<true>& matrix_;
  std::int32_t k_;
  std::int32_t levels_;
};

// What pairs of more levels are added to.
struct GlcmManyPairs {
  __device__ std::uint32_t* offset(std::int32_t k) const { return matrix.offset(k); }
  __device__ std::uint32_t upper(std::uint32_t level) const { return level; }

  __device__ void pair(std::uint32_t* counters, std::uint32_t upper, std::uint32_t lower) const {
    if (joint) matrix.pair(counters, upper, lower);
    if (!histograms) return;
    atomicAdd(&lines.sums[upper + lower], 1u);
    atomicAdd(&lines.differences[upper > lower ? upper - lower : lower - upper], 1u);
    if (!marginals) return;
    atomicAdd(&lines.rows[transposed ? lower : upper], 1u);
    atomicAdd(&lines.columns[transposed ? upper : lower], 1u);
  }

  const GlcmMatrix<false>& matrix;
  const GlcmLines& lines;
  bool joint;       // the band of the matrix
  bool histograms;  // once a matrix
  bool marginals;
  bool transposed;
};

// One block's steps.
template <bool kFew>
class GlcmSumsBlock {
 public:
  __device__ GlcmSumsBlock(const GlcmImages& images, const GlcmLayout& layout, const GlcmSumsTask& task)
      : layout_(layout),
        task_(task),
        codes_(images, layout),
        matrix_(layout, images.quantization.levels, task.context.symmetric),
        levels_(images.quantization.levels) {
    codes_.clear();
  }

  // Offsets begin .. end - 1 of the image that is the index-th of this round, the first of which is `round_begin`.
  __device__ void image(std::int64_t round_begin, std::int64_t index, std::int32_t begin, std::int32_t end) {
    codes_.begin(round_begin + index);
    for (std::int32_t offset = begin; offset < end; offset += layout_.pass_offsets) {
      const std::int64_t record = index * layout_.offset_count + offset;
      if constexpr (kFew) {
        few(offset, layout_.pass_offsets < end - offset ? layout_.pass_offsets : end - offset, record);
      } else {
        many(offset, record);
      }
    }
    // A barrier has passed since the last pixel was seen, and codes_.begin() has one after it forgets.
    if (threadIdx.x == 0) atomicMax(task_.largest(round_begin + index), codes_.largest());
  }

 private:
  __device__ void few(std::int32_t offset, std::int32_t count, std::int64_t record) {
    matrix_.begin(offset, count, 0);
    codes_.count(offset, count, matrix_);
    __syncthreads();
    // Rows of all matrices first: they take longest, so they had better share warps.
    const std::int32_t rows = count * levels_;
    const std::int32_t others = 4 * levels_ - 1;
    const GlcmTerms terms = task_.terms();
    IUSCORE_ROLLED
    for (auto i = static_cast<std::int32_t>(threadIdx.x); i < rows + count * others;
         i += static_cast<std::int32_t>(blockDim.x)) {
      const std::int32_t k = i < rows ? i / levels_ : (i - rows) / others;
      const GlcmFewCells cells(matrix_, k, levels_);
      if (i < rows) {
        GlcmJoint found{};
        task_.lines(record + k)[i - k * levels_] = cells.row(i - k * levels_, terms, found);
        task_.joints(record + k)[i - k * levels_] = found;
      } else {
        const std::int32_t line = i - rows - k * others;
        const std::int32_t kind = line / levels_;
        task_.lines(record + k)[levels_ + line] = kind == 0   ? cells.column(line)
                                                  : kind == 1 ? cells.difference(line - levels_)
                                                              : cells.sum(line - 2 * levels_);
      }
    }
    __syncthreads();
  }

  __device__ void many(std::int32_t offset, std::int64_t record) {
    const GlcmTerms terms = task_.terms();
    const bool joint = terms.need(kNeedsJoint | kNeedsJointEntropy);
    const bool marginals = has_marginals(task_.context.symmetric, task_.needs);
    const bool transposed = layout_.steps[offset].transposed;
    std::uint32_t* own = reinterpret_cast<std::uint32_t*>(dynamic_shared()) + layout_.lines_at / 4;
    const GlcmLines lines = glcm_lines(own, levels_);
    for (auto i = codes_.first(); i < kLineSlots * levels_; i += codes_.step()) own[i] = 0;
    GlcmJoint found{};
    for (std::int32_t band = 0; band < (joint ? layout_.bands : 1); ++band) {
      if (joint) matrix_.begin(offset, 1, band);
      GlcmManyPairs pairs{matrix_, lines, joint, band == 0, marginals, transposed};
      codes_.count(offset, 1, pairs);
      __syncthreads();
      if (joint) add_band_cells(found, terms);
      if (band == 0)
        for (auto i = codes_.first(); i < kLineSlots * levels_; i += codes_.step()) task_.lines(record)[i] = own[i];
      __syncthreads();
    }
    found = warp_joint(found);
    if (threadIdx.x % kWarpSize == 0) task_.joints(record)[threadIdx.x / kWarpSize] = found;
  }

  __device__ void add_band_cells(GlcmJoint& found, const GlcmTerms& terms) const {
    const bool symmetric = terms.context.symmetric;
    const std::uint32_t cells = matrix_.band_cells();
    IUSCORE_PAIRED
    for (std::uint32_t i = threadIdx.x; i < cells; i += blockDim.x) add_cell(found, matrix_.cell(i), symmetric, terms);
    if (!symmetric) return;
    for (std::uint32_t i = matrix_.first_row() + threadIdx.x; i < matrix_.end_row(); i += blockDim.x)
      if (const std::uint32_t count = matrix_.at(0, i, i); count > 0) mend_diagonal(found, count, terms);
  }

  const GlcmLayout& layout_;
  const GlcmSumsTask& task_;
  GlcmCodes<GlcmCode<kFew>> codes_;
  GlcmMatrix<kFew> matrix_;
  std::int32_t levels_;
};

// `batch` images of a round, the first of which is image `round_begin`.
template <bool kFew>
__global__ void __launch_bounds__(kLargestGlcmBlock, 2)
    glcm_count_kernel(const __grid_constant__ GlcmImages images, const __grid_constant__ GlcmLayout layout,
                      const __grid_constant__ GlcmSumsTask task, std::int64_t round_begin, std::int64_t batch) {
  GlcmSumsBlock<kFew> block(images, layout, task);
  for (std::int64_t work = blockIdx.x; work < batch * layout.jobs; work += gridDim.x) {
    const std::int64_t index = work / layout.jobs;
    const auto begin = static_cast<std::int32_t>(work - index * layout.jobs) * layout.job_offsets;
    const std::int32_t end = begin + layout.job_offsets;
    block.image(round_begin, index, begin, end < layout.offset_count ? end : layout.offset_count);
  }
}

}  // namespace iuscore
