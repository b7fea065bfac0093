// Co-occurrence features, from images or from matrices, without writing a matrix. Kernels that count write a record for
// each matrix: its histograms, and sums over parts of its cells. Other kernels turn records into sums, and sums into
// features. Images are processed in rounds, so that records take bounded memory.
#include <cstddef>

#include "core/haralick.h"
#include "core/haralick_values.h"
#include "cuda/block.cuh"
#include "cuda/glcm.cuh"
#include "cuda/launch.h"
#include "ops/glcm_features.h"

namespace iuscore {

// ---- From a record to the sums of core/haralick.h, one warp for each matrix

// Terms of entropy, and weights, from tables if there are any: computing one takes a division in double.
struct GlcmTerms {
  const std::uint64_t* terms;  // entropy_term of counts below term_count, or null
  std::uint32_t term_count;
  const std::uint64_t* weights;  // [kGlcmWeights, levels], without values for normalized weights; or null
  GlcmContext context;
  std::uint32_t needs;  // of all features that are asked for

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

// Whether rows and columns are counted. A symmetric matrix needs them for their entropy only.
IUSCORE_HD bool has_marginals(bool symmetric, std::uint32_t needs) {
  return !symmetric || (needs & kNeedsMarginalEntropy) != 0;
}

// Sums over cells of c, or of c + c^T for symmetric features, of one row or one warp.
struct GlcmJoint {
  std::uint64_t terms;
  std::uint64_t square;
  std::uint64_t largest;
};

// Adds any cell of a matrix that is not symmetric; or, with `symmetric`, a cell off the diagonal, which is twice in c +
// c^T and whose count is c[i, j] + c[j, i].
__device__ inline void add_cell(GlcmJoint& to, std::uint32_t count, bool symmetric, const GlcmTerms& terms) {
  if (count == 0) return;
  if (terms.need(kNeedsJointEntropy)) to.terms += terms.term(count);
  to.square += (symmetric ? 2 : 1) * (std::uint64_t{count} * count);
  to.largest = count > to.largest ? count : to.largest;
}
// Corrects what add_cell() added for a cell that is on the diagonal of a symmetric matrix.
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

// Adds up the fields of GlcmSums one after another; lane i keeps the i-th field.
class GlcmCollector {
 public:
  __device__ explicit GlcmCollector(std::int32_t lane) : lane_(lane) {}

  // The field at `offset` bytes becomes the sum of the values of all lanes, which all lanes get.
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

// Also gives `contrast`, sum c |i - j|^2, and `pairs`, N.
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

// If rows and columns were not counted, also their joint sums: i^2 + j^2 is half of (i + j)^2 + (i - j)^2.
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

// Writes the sums of one matrix to global memory; called by one warp.
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

// ---- From images to records
//
// With few levels, matrices are counted in shared memory, and each row, column and diagonal is added up by one thread.
// With more levels, the histograms of i + j and |i - j| are counted beside the matrix. The matrix is read only for sums
// over its cells (entropy, squares, largest), and not counted if no feature needs those.

constexpr std::uint32_t kMaxTerms = 4096;
constexpr std::int64_t kRecordsBytes = std::int64_t{128} << 20;  // of one round of launches
constexpr std::int32_t kMatrixThreads = 256;                     // of the kernel for given matrices

// Where the parts of the workspace begin, in 64-bit words, and the number of images of a round.
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

// Number of GlcmJoint in a record: one for each row, or for each warp.
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

// The task of counting `batch` of the images.
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

// Sums over rows and lines of a matrix in shared memory, with few levels.
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

  // The sum of a row; adds its cells to `found`.
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

// What a pair is added to, with more levels.
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
  bool joint;       // the band of the matrix is counted
  bool histograms;  // histograms are counted: in one band only
  bool marginals;
  bool transposed;
};

// The work of one block.
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

  // Counts offsets begin .. end - 1 of the index-th image of a round that begins with image `round_begin`.
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
    // There was a barrier after the last pixel, and codes_.begin() has one after it resets the largest level.
    if (threadIdx.x == 0) atomicMax(task_.largest(round_begin + index), codes_.largest());
  }

 private:
  __device__ void few(std::int32_t offset, std::int32_t count, std::int64_t record) {
    matrix_.begin(offset, count, 0);
    codes_.count(offset, count, matrix_);
    __syncthreads();
    // Rows of all matrices first: they take longest, and lanes of a warp should take equally long.
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
        const std::int32_t which = line / levels_;  // columns, differences, sums
        task_.lines(record + k)[levels_ + line] = which == 0   ? cells.column(line)
                                                  : which == 1 ? cells.difference(line - levels_)
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

// Counts the `batch` images of a round that begins with image `round_begin`.
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

// ---- Tables; from given matrices to records; from records to sums, and to features. Features are computed in double,
// in a kernel of their own, in which all lanes of a warp follow the same path.

constexpr std::int32_t kFinishThreads = 128;

// Writes the tables that the other kernels read, and zeros for the largest levels.
__global__ void __launch_bounds__(kFinishThreads)
    glcm_tables_kernel(const __grid_constant__ GlcmSumsTask task, std::int64_t batch) {
  const GlcmWorkspace& at = task.at;
  const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = first; i < at.term_count; i += step)
    task.workspace[at.terms + i] = entropy_term(static_cast<std::uint32_t>(i), task.context.entropy_shift);
  for (std::int64_t i = first; i < at.largest - at.weights; i += step) {
    const auto which = static_cast<std::int32_t>(i / task.context.levels);
    if (is_normalized(which)) continue;  // depends on the image's largest level, which is not known yet
    task.workspace[at.weights + i] =
        glcm_weight(which, static_cast<std::int32_t>(i % task.context.levels), task.context);
  }
  for (std::int64_t i = first; i < batch; i += step) *task.largest(i) = 0;
}

// One matrix [levels, levels] of counts in global memory.
class GlcmGiven {
 public:
  __device__ GlcmGiven(const std::int32_t* cells, std::int32_t levels, const GlcmLines& lines)
      : cells_(cells),
        levels_(levels),
        lines_(lines),
        warp_(static_cast<std::int32_t>(threadIdx.x) / kWarpSize),
        lane_(static_cast<std::int32_t>(threadIdx.x) % kWarpSize),
        warps_(static_cast<std::int32_t>(blockDim.x) / kWarpSize) {}

  // Adds the cells to the lines, which are 0; returns the largest level that this thread found.
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

  // The sum of the matrix; after add_lines() and a barrier.
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

// A block makes the record of a matrix at a time. counts: [.., levels, levels]; the round begins with matrix `begin`.
// offset_count matrices belong to one image.
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

// A warp turns a record into sums at a time. The round begins with matrix `begin`; offset_count matrices belong to one
// image. given: matrices were given, each with a context of its own.
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
  bool given;  // matrices were given, each with a context of its own
  bool wide;
  void* values;  // [batch, offset_count, feature_count]
  GlcmFeature features[kGlcmFeatures];
};

// A thread computes a value at a time. Neighboring threads compute the same feature of neighboring matrices, so that
// they follow the same path.
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

// Writes the records of images begin .. begin + batch - 1; returns the number of joint sums of each.
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
