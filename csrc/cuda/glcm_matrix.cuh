// One pass's counters in shared memory: of few levels whole matrices of several offsets, transposed where the step is;
// of more levels a band of rows of one offset's matrix, which is the triangle row >= column where it is symmetric.
#pragma once

#include "cuda/block.cuh"
#include "cuda/glcm_layout.h"

namespace iuscore {

template <bool kFew>
class GlcmMatrix {
 public:
  __device__ GlcmMatrix(const GlcmLayout& layout, std::int32_t levels, bool symmetric)
      : layout_(layout),
        cells_(reinterpret_cast<std::uint32_t*>(dynamic_shared()) + layout.matrix_at / 4),
        pitch_(static_cast<std::uint32_t>(levels) + 1),
        triangle_(!kFew && symmetric) {}

  // A new pass. The barrier before the first add() is the caller's.
  __device__ void begin(std::int32_t offset, std::int32_t count, std::int32_t band) {
    offset_ = offset;
    first_row_ = static_cast<std::uint32_t>(layout_.band_start[band]);
    end_row_ = static_cast<std::uint32_t>(layout_.band_start[band + 1]);
    before_ = cells_before(first_row_);
    auto* fours = reinterpret_cast<Four<std::uint32_t>*>(cells_);
    const std::int32_t n = (count * layout_.matrix_cells + 3) / 4;
    for (auto i = static_cast<std::int32_t>(threadIdx.x); i < n; i += static_cast<std::int32_t>(blockDim.x))
      fours[i] = {};
  }

  // Counters of the pass's k-th offset, and what of a pair's cell does not depend on the offset.
  __device__ std::uint32_t* offset(std::int32_t k) const { return cells_ + (kFew ? k * layout_.matrix_cells : 0); }
  __device__ std::uint32_t upper(std::uint32_t level) const { return kFew ? level * pitch_ : level; }

  // The result is not used: then lanes that meet in a cell are merged.
  __device__ void pair(std::uint32_t* counters, std::uint32_t upper, std::uint32_t lower) const {
    if constexpr (kFew) {
      atomicAdd(&counters[upper + lower], 1u);
    } else {
      const bool exchange = triangle_ ? upper < lower : layout_.steps[offset_].transposed;
      const std::uint32_t row = exchange ? lower : upper;
      const std::uint32_t column = exchange ? upper : lower;
      if (row >= first_row_ && row < end_row_) atomicAdd(&counters[cells_before(row) - before_ + column], 1u);
    }
  }

  // Whether the cell is in the pass's band.
  __device__ bool has(std::uint32_t row, std::uint32_t column) const {
    const std::uint32_t at = triangle_ && column > row ? column : row;
    return at >= first_row_ && at < end_row_;
  }

  // Pairs with the first and second level of the k-th offset; of a triangle, pairs of the two in any order.
  __device__ std::uint32_t at(std::int32_t k, std::uint32_t first, std::uint32_t second) const {
    if constexpr (kFew) {
      const bool transposed = layout_.steps[offset_ + k].transposed;
      const std::uint32_t row = transposed ? second : first;
      return cells_[static_cast<std::uint32_t>(k * layout_.matrix_cells) + row * pitch_ +
                    (transposed ? first : second)];
    } else {
      const bool exchange = triangle_ && first < second;
      const std::uint32_t row = exchange ? second : first;
      return cells_[cells_before(row) - before_ + (exchange ? first : second)];
    }
  }

  // Of c + c^T where `symmetric`, else of c.
  __device__ std::uint32_t joint(std::int32_t k, std::uint32_t first, std::uint32_t second, bool symmetric) const {
    const std::uint32_t count = at(k, first, second);
    if (!symmetric) return count;
    if constexpr (kFew) return count + at(k, second, first);
    return first == second ? 2 * count : count;
  }

  // The band's cells one after the other; those that keep rows of a square apart are 0.
  __device__ std::uint32_t band_cells() const { return cells_before(end_row_) - before_; }
  __device__ std::uint32_t cell(std::uint32_t i) const { return cells_[i]; }
  __device__ std::uint32_t first_row() const { return first_row_; }
  __device__ std::uint32_t end_row() const { return end_row_; }

 private:
  __device__ std::uint32_t cells_before(std::uint32_t row) const {
    return triangle_ ? row * (row + 1) / 2 : row * pitch_;
  }

  const GlcmLayout& layout_;
  std::uint32_t* cells_;
  std::uint32_t pitch_;  // one more than levels: the same column of neighboring rows lies in different banks
  bool triangle_;
  std::int32_t offset_ = 0;
  std::uint32_t first_row_ = 0;
  std::uint32_t end_row_ = 0;
  std::uint32_t before_ = 0;
};

}  // namespace iuscore
