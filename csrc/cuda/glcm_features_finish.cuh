// Co-occurrence features: tables before anything is counted, records of matrices that exist already, and from records
// to sums and to features. Features, in double, have a kernel of their own, in which all lanes do the same.
#pragma once

#include "core/haralick_values.h"
#include "cuda/glcm_features.cuh"

namespace iuscore {

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
        if (symmetric && j == i) mend_diagonal(found, count, terms);
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

}  // namespace iuscore
