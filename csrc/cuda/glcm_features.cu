// Launcher of `glcm_features`: tables, then round by round records, sums and features.
#include <cstddef>

#include "core/haralick.h"
#include "core/haralick_values.h"
#include "cuda/block.cuh"
#include "cuda/glcm.cuh"
#include "cuda/launch.h"
#include "ops/glcm_features.h"

namespace iuscore {

// From a matrix's histograms and what was found in its cells to the sums of core/haralick.h, one warp a matrix.

// Terms of entropy and weights, from tables where there are any: computing one takes a division in double.
struct GlcmTerms {
  const std::uint64_t* terms;  // entropy_term of counts below term_count, or null
  std::uint32_t term_count;
  const std::uint64_t* weights;  // [kGlcmWeights, levels], of the normalized ones nothing; or null
  GlcmContext context;
  std::uint32_t needs;  // of the features asked for

  __device__ bool need(std::uint32_t what) const { return (needs & what) != 0; }

  __device__ std::uint64_t term(std::uint32_t count) const {
    return count < term_count ? terms[count] : entropy_term(count, context.entropy_shift);
  }

  __device__ std::uint64_t weight(std::int32_t which, std::int32_t k) const {
    const bool made = weights != nullptr && !is_normalized(which);
    return made ? weights[which * context.levels + k] : glcm_weight(which, k, context);
  }
};

// Histograms of a matrix c: kLineSlots * levels counts.
struct GlcmLines {
  std::uint32_t* rows;         // [levels]
  std::uint32_t* columns;      // [levels]
  std::uint32_t* differences;  // [levels], |i - j|
  std::uint32_t* sums;         // [2 levels - 1], i + j
};

__device__ inline GlcmLines glcm_lines(std::uint32_t* lines, std::int32_t levels) {
  return {lines, lines + levels, lines + 2 * levels, lines + 3 * levels};
}

// Whether rows and columns are counted. Those of a symmetric matrix are needed for their entropy alone.
IUSCORE_HD bool has_marginals(bool symmetric, std::uint32_t needs) {
  return !symmetric || (needs & kNeedsMarginalEntropy) != 0;
}

// What threads or warps found in the cells of c, or of c + c^T where that is asked for.
struct GlcmJoint {
  std::uint64_t terms;
  std::uint64_t square;
  std::uint64_t largest;
};

// A cell off the diagonal (twice in c + c^T), or any cell of a matrix that is not symmetric; one on the diagonal of c,
// where symmetric. Of a triangle: count is c[i, j] + c[j, i].
__device__ inline void add_cell(GlcmJoint& to, std::uint32_t count, bool symmetric, const GlcmTerms& terms) {
  if (count == 0) return;
  if (terms.need(kNeedsJointEntropy)) to.terms += terms.term(count);
  to.square += (symmetric ? 2 : 1) * (std::uint64_t{count} * count);
  to.largest = count > to.largest ? count : to.largest;
}
// Makes a diagonal cell out of one that add_cell took as symmetric.
__device__ inline void correct_diagonal(GlcmJoint& to, std::uint32_t count, const GlcmTerms& terms) {
  if (terms.need(kNeedsJointEntropy)) to.terms += std::uint64_t{count} << terms.context.entropy_shift;
  to.square += 2 * (std::uint64_t{count} * count);
  to.largest = 2 * count > to.largest ? 2 * count : to.largest;
}

__device__ inline std::uint64_t warp_sum(std::uint64_t value) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(kAllLanes, value, offset);
  return value;
}

__device__ inline std::uint64_t warp_largest(std::uint64_t value) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    const std::uint64_t other = __shfl_xor_sync(kAllLanes, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

constexpr std::int32_t kGlcmSums = sizeof(GlcmSums) / sizeof(std::uint64_t);
static_assert(kGlcmSums <= kWarpSize && sizeof(GlcmSums) == kGlcmSums * sizeof(std::uint64_t));

// Adds up one field after the other; lane i keeps the i-th of GlcmSums.
class GlcmCollector {
 public:
  __device__ explicit GlcmCollector(std::int32_t lane) : lane_(lane) {}

  // The field at `offset` bytes: the sum of the lanes' values, which all lanes get.
  __device__ std::uint64_t sum(std::size_t offset, std::uint64_t value) { return keep(offset, warp_sum(value)); }
  __device__ std::uint64_t keep(std::size_t offset, std::uint64_t value) {
    if (lane_ == static_cast<std::int32_t>(offset / sizeof(std::uint64_t))) mine_ = value;
    return value;
  }
  __device__ void write(std::uint64_t* sums) const {
    if (lane_ < kGlcmSums) sums[lane_] = mine_;
  }

 private:
  std::int32_t lane_;
  std::uint64_t mine_ = 0;
};

#define IUSCORE_SUM_FIELD(collector, sums, field) \
  (collector).sum(offsetof(GlcmSums, field), static_cast<std::uint64_t>((sums).field))

__device__ inline void collect_marginals(GlcmCollector& to, const GlcmLines& lines, const GlcmTerms& terms,
                                         std::int32_t lane) {
  GlcmSums s{};
  for (std::int32_t i = lane; i < terms.context.levels; i += kWarpSize) {
    const std::uint32_t row = lines.rows[i];
    const std::uint32_t column = lines.columns[i];
    add_row(s, i, row);
    add_column(s, i, column);
    if (!terms.need(kNeedsMarginalEntropy)) continue;
    s.row_entropy += terms.term(terms.context.symmetric ? row + column : row);
    if (!terms.context.symmetric) s.column_entropy += terms.term(column);
  }
  IUSCORE_SUM_FIELD(to, s, pairs);
  IUSCORE_SUM_FIELD(to, s, row);
  IUSCORE_SUM_FIELD(to, s, row_square);
  IUSCORE_SUM_FIELD(to, s, column);
  IUSCORE_SUM_FIELD(to, s, column_square);
  IUSCORE_SUM_FIELD(to, s, row_entropy);
  IUSCORE_SUM_FIELD(to, s, column_entropy);
}

// Returns sum c |i - j|^2 in `contrast` and N.
__device__ inline void collect_differences(GlcmCollector& to, const GlcmLines& lines, const GlcmTerms& terms,
                                           std::int32_t lane, std::uint64_t& contrast, std::uint64_t& pairs) {
  GlcmSums s{};
  for (std::int32_t k = lane; k < terms.context.levels; k += kWarpSize) {
    const std::uint32_t count = lines.differences[k];
    add_difference(s, k, count, terms.need(kNeedsHistogramEntropy) ? terms.term(count) : 0);
    s.pairs += count;
  }
  IUSCORE_SUM_FIELD(to, s, difference);
  contrast = IUSCORE_SUM_FIELD(to, s, contrast);
  pairs = warp_sum(s.pairs);
  IUSCORE_SUM_FIELD(to, s, difference_square);
  IUSCORE_SUM_FIELD(to, s, difference_entropy);
  IUSCORE_ROLLED
  for (std::int32_t w = 0; w < kGlcmWeights; ++w) {
    if (!terms.need(kNeedsWeight << w)) continue;
    std::uint64_t sum = 0;
    for (std::int32_t k = lane; k < terms.context.levels; k += kWarpSize)
      if (lines.differences[k] > 0) sum += lines.differences[k] * terms.weight(w, k);
    to.sum(offsetof(GlcmSums, weighted) + static_cast<std::size_t>(w) * sizeof(std::uint64_t), sum);
  }
}

// Also what rows and columns together have, where no histogram of them was counted: i^2 + j^2 is half of
// (i + j)^2 + (i - j)^2.
__device__ inline void collect_sums(GlcmCollector& to, const GlcmLines& lines, const GlcmTerms& terms,
                                    std::int32_t lane, bool marginals, std::uint64_t contrast, std::uint64_t pairs) {
  GlcmSums s{};
  const std::int32_t levels = terms.context.levels;
  for (std::int32_t k = lane; k < 2 * levels - 1; k += kWarpSize) {
    const std::uint32_t count = lines.sums[k];
    add_sum(s, k, count, terms.need(kNeedsHistogramEntropy) ? terms.term(count) : 0, levels);
  }
  const std::uint64_t sum1 = IUSCORE_SUM_FIELD(to, s, sum1);
  const std::uint64_t sum2 = IUSCORE_SUM_FIELD(to, s, sum2);
  IUSCORE_SUM_FIELD(to, s, sum3);
  IUSCORE_SUM_FIELD(to, s, sum4);
  IUSCORE_SUM_FIELD(to, s, sum_entropy);
  if (marginals) return;
  const auto top = static_cast<std::uint64_t>(levels - 1);
  to.keep(offsetof(GlcmSums, pairs), pairs);
  to.keep(offsetof(GlcmSums, row), sum1 + top * pairs);
  to.keep(offsetof(GlcmSums, row_square), (sum2 + 2 * top * sum1 + top * top * pairs + contrast) / 2);
}

// The sums of one matrix: called by one warp, written to global memory.
__device__ inline void write_glcm_sums(const GlcmLines& lines, const GlcmJoint* joints, std::int32_t joint_count,
                                       const GlcmTerms& terms, std::uint64_t* sums) {
  const auto lane = static_cast<std::int32_t>(threadIdx.x) % kWarpSize;
  const bool marginals = has_marginals(terms.context.symmetric, terms.needs);
  GlcmCollector to(lane);
  if (marginals) collect_marginals(to, lines, terms, lane);
  std::uint64_t contrast = 0;
  std::uint64_t pairs = 0;
  collect_differences(to, lines, terms, lane, contrast, pairs);
  collect_sums(to, lines, terms, lane, marginals, contrast, pairs);
  GlcmJoint joint{};
  for (std::int32_t i = lane; i < joint_count; i += kWarpSize) {
    joint.terms += joints[i].terms;
    joint.square += joints[i].square;
    joint.largest = joints[i].largest > joint.largest ? joints[i].largest : joint.largest;
  }
  to.sum(offsetof(GlcmSums, joint_entropy), joint.terms);
  to.sum(offsetof(GlcmSums, joint_square), joint.square);
  to.keep(offsetof(GlcmSums, joint_largest), warp_largest(joint.largest));
  to.write(sums);
}

#undef IUSCORE_SUM_FIELD

// Co-occurrence features from images, without writing a matrix: kernels that count, then kernels that finish
// (glcm_features_finish.cuh). What passes from one to the other is a record a matrix: its histograms, and sums over
// parts of its cells.
//
// Few levels: matrices are counted in shared memory, and every row, column and diagonal is added up by one thread.
// More levels: the histograms of i + j and |i - j| are counted beside the matrix, which is read only for its own sums
// (entropy, squares, largest), and not counted where no feature asks for those.

constexpr std::uint32_t kMaxTerms = 4096;
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
    at.term_count = counts < kMaxTerms ? static_cast<std::uint32_t>(counts) : kMaxTerms;
  }
  at.joint_count = given ? kMatrixThreads / 32 : glcm_joint_count(levels, kMaxGlcmBlock);
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
      if (symmetric && j == i) correct_diagonal(found, count, terms);
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
    for (auto i = codes_.thread(); i < kLineSlots * levels_; i += codes_.threads()) own[i] = 0;
    GlcmJoint found{};
    for (std::int32_t band = 0; band < (joint ? layout_.bands : 1); ++band) {
      if (joint) matrix_.begin(offset, 1, band);
      GlcmManyPairs pairs{matrix_, lines, joint, band == 0, marginals, transposed};
      codes_.count(offset, 1, pairs);
      __syncthreads();
      if (joint) add_band_cells(found, terms);
      if (band == 0)
        for (auto i = codes_.thread(); i < kLineSlots * levels_; i += codes_.threads()) task_.lines(record)[i] = own[i];
      __syncthreads();
    }
    found = warp_joint(found);
    if (threadIdx.x % kWarpSize == 0) task_.joints(record)[threadIdx.x / kWarpSize] = found;
  }

  __device__ void add_band_cells(GlcmJoint& found, const GlcmTerms& terms) const {
    const bool symmetric = terms.context.symmetric;
    const std::uint32_t cells = matrix_.band_cells();
    IUSCORE_UNROLLED_BY_2
    for (std::uint32_t i = threadIdx.x; i < cells; i += blockDim.x) add_cell(found, matrix_.cell(i), symmetric, terms);
    if (!symmetric) return;
    for (std::uint32_t i = matrix_.first_row() + threadIdx.x; i < matrix_.end_row(); i += blockDim.x)
      if (const std::uint32_t count = matrix_.at(0, i, i); count > 0) correct_diagonal(found, count, terms);
  }

  const GlcmLayout& layout_;
  const GlcmSumsTask& task_;
  GlcmCodes<GlcmCode<kFew>> codes_;
  GlcmMatrix<kFew> matrix_;
  std::int32_t levels_;
};

// `batch` images of a round, the first of which is image `round_begin`.
template <bool kFew>
__global__ void __launch_bounds__(kMaxGlcmBlock, 2)
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

// Co-occurrence features: tables before anything is counted, records of matrices that exist already, and from records
// to sums and to features. Features, in double, have a kernel of their own, in which all lanes do the same.

constexpr std::int32_t kFinishThreads = 128;

// The tables that the other kernels read, and zeros for the largest levels.
__global__ void __launch_bounds__(kFinishThreads)
    glcm_tables_kernel(const __grid_constant__ GlcmSumsTask task, std::int64_t batch) {
  const GlcmWorkspace& at = task.at;
  const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = first; i < at.term_count; i += step)
    task.workspace[at.terms + i] = entropy_term(static_cast<std::uint32_t>(i), task.context.entropy_shift);
  for (std::int64_t i = first; i < at.largest - at.weights; i += step) {
    const auto which = static_cast<std::int32_t>(i / task.context.levels);
    if (is_normalized(which)) continue;  // the image's largest level is not known yet
    task.workspace[at.weights + i] =
        glcm_weight(which, static_cast<std::int32_t>(i % task.context.levels), task.context);
  }
  for (std::int64_t i = first; i < batch; i += step) *task.largest(i) = 0;
}

// Counts of one matrix [levels, levels] in global memory.
class GlcmGiven {
 public:
  __device__ GlcmGiven(const std::int32_t* cells, std::int32_t levels, const GlcmLines& lines)
      : cells_(cells),
        levels_(levels),
        lines_(lines),
        warp_(static_cast<std::int32_t>(threadIdx.x) / kWarpSize),
        lane_(static_cast<std::int32_t>(threadIdx.x) % kWarpSize),
        warps_(static_cast<std::int32_t>(blockDim.x) / kWarpSize) {}

  // Adds the cells to the lines, which are 0; returns the largest level this thread has seen.
  __device__ std::uint32_t add_lines() const {
    std::uint32_t largest = 0;
    IUSCORE_ROLLED
    for (std::int32_t i = warp_; i < levels_; i += warps_) {
      std::uint32_t row = 0;
      for (std::int32_t j = lane_; j < levels_; j += kWarpSize) {
        const std::uint32_t count = cell(i, j);
        if (count == 0) continue;
        row += count;
        atomicAdd(&lines_.columns[j], count);
        atomicAdd(&lines_.differences[i > j ? i - j : j - i], count);
        atomicAdd(&lines_.sums[i + j], count);
        const auto level = static_cast<std::uint32_t>(i > j ? i : j);
        if (level > largest) largest = level;
      }
      row = __reduce_add_sync(kAllLanes, row);
      if (lane_ == 0) lines_.rows[i] = row;
    }
    return largest;
  }

  // Once all lines are there.
  __device__ std::uint64_t total() const {
    std::uint64_t sum = 0;
    for (std::int32_t i = lane_; i < levels_; i += kWarpSize) sum += lines_.rows[i];
    return warp_sum(sum);
  }

  __device__ GlcmJoint joint(const GlcmTerms& terms) const {
    const bool symmetric = terms.context.symmetric;
    GlcmJoint found{};
    IUSCORE_ROLLED
    for (std::int32_t i = warp_; i < levels_; i += warps_) {
      for (std::int32_t j = (symmetric ? i : 0) + lane_; j < levels_; j += kWarpSize) {
        const std::uint32_t count = cell(i, j);
        add_cell(found, symmetric && j > i ? count + cell(j, i) : count, symmetric, terms);
        if (symmetric && j == i) correct_diagonal(found, count, terms);
      }
    }
    return warp_joint(found);
  }

 private:
  __device__ std::uint32_t cell(std::int32_t i, std::int32_t j) const {
    return static_cast<std::uint32_t>(cells_[i * levels_ + j]);
  }

  const std::int32_t* cells_;
  std::int32_t levels_;
  const GlcmLines& lines_;
  std::int32_t warp_;
  std::int32_t lane_;
  std::int32_t warps_;
};

constexpr std::int64_t glcm_matrix_shared_bytes(std::int32_t levels) { return 4 * kLineSlots * levels; }

// One block a matrix. counts: [.., levels, levels], those of this round from `begin` on; offset_count belong to one
// image.
__global__ void __launch_bounds__(kMatrixThreads)
    glcm_given_kernel(const std::int32_t* counts, std::int64_t begin, std::int64_t matrices, std::int32_t offset_count,
                      const __grid_constant__ GlcmSumsTask task) {
  const std::int32_t levels = task.context.levels;
  auto* own = reinterpret_cast<std::uint32_t*>(dynamic_shared());
  const GlcmLines lines = glcm_lines(own, levels);
  const auto first = static_cast<std::int32_t>(threadIdx.x);
  const auto step = static_cast<std::int32_t>(blockDim.x);
  for (std::int64_t m = blockIdx.x; m < matrices; m += gridDim.x) {
    for (std::int32_t i = first; i < kLineSlots * levels; i += step) own[i] = 0;
    __syncthreads();
    const GlcmGiven given(counts + (begin + m) * levels * levels, levels, lines);
    const std::uint32_t largest = __reduce_max_sync(kAllLanes, given.add_lines());
    if (threadIdx.x % kWarpSize == 0 && largest > 0) atomicMax(task.largest((begin + m) / offset_count), largest);
    __syncthreads();
    for (std::int32_t i = first; i < kLineSlots * levels; i += step) task.lines(m)[i] = own[i];
    GlcmTerms terms = task.terms();
    terms.context = glcm_context(levels, task.context.symmetric, given.total());
    GlcmJoint found{};
    if (terms.need(kNeedsJoint | kNeedsJointEntropy)) found = given.joint(terms);
    if (threadIdx.x % kWarpSize == 0) task.joints(m)[threadIdx.x / kWarpSize] = found;
    __syncthreads();
  }
}

// One warp a record of this round, the first of which is matrix `begin`; offset_count belong to one image. given: each
// matrix has a context of its own.
__global__ void __launch_bounds__(kFinishThreads, 6)
    glcm_sums_kernel(std::int64_t begin, std::int64_t matrices, std::int32_t offset_count, std::int32_t joint_count,
                     bool given, const __grid_constant__ GlcmSumsTask task) {
  const std::int32_t levels = task.context.levels;
  const std::int64_t warps = std::int64_t{gridDim.x} * (blockDim.x / kWarpSize);
  for (std::int64_t m = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarpSize; m < matrices; m += warps) {
    const GlcmLines lines = glcm_lines(task.lines(m), levels);
    GlcmTerms terms = task.terms();
    if (given) {
      std::uint64_t total = 0;
      for (auto i = static_cast<std::int32_t>(threadIdx.x) % kWarpSize; i < levels; i += kWarpSize)
        total += lines.differences[i];
      terms.context = glcm_context(levels, task.context.symmetric, warp_sum(total));
    }
    terms.context.largest_level = static_cast<std::int32_t>(*task.largest((begin + m) / offset_count));
    write_glcm_sums(lines, task.joints(m), joint_count, terms, task.sums(m));
  }
}

struct GlcmFinish {
  GlcmSumsTask task;
  std::int64_t begin;     // the first matrix of this round
  std::int64_t matrices;  // of this round
  std::int32_t offset_count;
  std::int32_t feature_count;
  bool given;  // matrices, each with a context of its own
  bool wide;
  void* values;  // [batch, offset_count, feature_count]
  GlcmFeature features[kGlcmFeatures];
};

// One thread a value. Neighbors have the same feature of neighboring matrices, so their paths do not part.
__global__ void __launch_bounds__(kFinishThreads) glcm_finish_kernel(const __grid_constant__ GlcmFinish finish) {
  const std::int64_t all = finish.matrices * finish.feature_count;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < all;
       i += std::int64_t{gridDim.x} * blockDim.x) {
    const auto f = static_cast<std::int32_t>(i / finish.matrices);
    const std::int64_t m = i - f * finish.matrices;
    const GlcmSums& sums = *reinterpret_cast<const GlcmSums*>(finish.task.sums(m));
    GlcmContext context = finish.task.context;
    if (finish.given) context = glcm_context(context.levels, context.symmetric, sums.pairs);
    context.largest_level = static_cast<std::int32_t>(*finish.task.largest((finish.begin + m) / finish.offset_count));
    const double value = glcm_feature(finish.features[f], sums, context);
    const std::int64_t at = (finish.begin + m) * finish.feature_count + f;
    if (finish.wide) {
      static_cast<double*>(finish.values)[at] = value;
    } else {
      static_cast<float*>(finish.values)[at] = static_cast<float>(value);
    }
  }
}

inline GlcmFinish glcm_finish(const GlcmFeaturesCudaArgs& args, const GlcmSumsTask& task, std::int64_t begin,
                              std::int64_t matrices) {
  GlcmFinish finish{};
  finish.task = task;
  finish.begin = begin;
  finish.matrices = matrices;
  finish.offset_count = args.offset_count;
  finish.feature_count = args.feature_count;
  finish.given = args.counts != nullptr;
  finish.wide = args.wide;
  finish.values = args.values;
  for (std::int32_t f = 0; f < args.feature_count; ++f) finish.features[f] = args.features[f];
  return finish;
}

namespace {

constexpr std::int64_t kMaxBlocks = 0x7fffffff;

std::int64_t smaller_of(std::int64_t x, std::int64_t y) { return x < y ? x : y; }

// Writes the records of images begin .. begin + batch - 1; returns how many joint sums each has.
std::int32_t launch_records(const Launcher& launcher, const GlcmFeaturesCudaArgs& args, const GlcmSumsTask& task,
                            std::int64_t begin, std::int64_t batch, void* stream) {
  const std::int32_t levels = args.quantization.levels;
  if (args.counts != nullptr) {
    const std::int64_t matrices = batch * args.offset_count;
    launcher.launch(glcm_given_kernel, smaller_of(matrices, kMaxBlocks), kMatrixThreads,
                    glcm_matrix_shared_bytes(levels), stream, args.counts, begin * args.offset_count, matrices,
                    args.offset_count, task);
    return task.at.joint_count;
  }
  const GlcmLayout layout =
      glcm_layout(glcm_task(args, batch, task.needs), launcher.shared_limit(), launcher.multiprocessors());
  const auto kernel = has_few_levels(levels) ? glcm_count_kernel<true> : glcm_count_kernel<false>;
  launcher.launch(kernel, layout.blocks, layout.threads, layout.shared_bytes, stream, glcm_images(args), layout, task,
                  begin, batch);
  return glcm_joint_count(levels, layout.threads);
}

}  // namespace

std::int64_t glcm_features_cuda_workspace(const GlcmFeaturesCudaArgs& args) {
  return glcm_workspace(args).words * static_cast<std::int64_t>(sizeof(std::uint64_t));
}

void glcm_features_cuda(const GlcmFeaturesCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher("glcm_features", args.device);
  const CurrentDevice current = launcher.use_device();
  launcher.check_workspace(glcm_features_cuda_workspace(args), args.workspace_bytes);
  const GlcmSumsTask task = glcm_sums_task(args);
  const std::int64_t most = 16 * std::int64_t{launcher.multiprocessors()};
  const auto blocks = [&](std::int64_t items) {
    return smaller_of((items + kFinishThreads - 1) / kFinishThreads, most);
  };
  launcher.launch(glcm_tables_kernel, blocks(task.at.records), kFinishThreads, 0, stream, task, args.batch);
  for (std::int64_t begin = 0; begin < args.batch; begin += task.at.round) {
    const std::int64_t batch = smaller_of(task.at.round, args.batch - begin);
    const std::int64_t matrices = batch * args.offset_count;
    const std::int32_t joints = launch_records(launcher, args, task, begin, batch, stream);
    launcher.launch(glcm_sums_kernel, blocks(matrices * 32), kFinishThreads, 0, stream, begin * args.offset_count,
                    matrices, args.offset_count, joints, args.counts != nullptr, task);
    launcher.launch(glcm_finish_kernel, blocks(matrices * args.feature_count), kFinishThreads, 0, stream,
                    glcm_finish(args, task, begin * args.offset_count, matrices));
  }
}

}  // namespace iuscore
