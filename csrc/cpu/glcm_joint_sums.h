// From the cells of three pixels (glcm_joint.h) to the matrices of pairs. Included by files that are compiled for each
// instruction set only.
#pragma once

#include "cpu/count_row.h"
#include "cpu/glcm_fold.h"
#include "cpu/glcm_joint.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// Adds cells [p, a, b] to the matrices [p, a], [p, b] and, where kThird, [a, b], and clears them.
template <class Count, bool kThird>
void spread(Count* cells, const LevelPlane& plane, Count* first, Count* second, Count* third) {
  const std::int32_t from = plane.lowest & ~7;
  const std::int32_t to = plane.highest | 7;
  for (std::int32_t p = plane.lowest; p <= plane.highest; ++p) {
    Row<Count> column;
    load(second + (p << kJointShift), column);
    for (std::int32_t a0 = from; a0 <= to; a0 += 8) {
      Count* eight = cells + (p << (2 * kJointShift)) + (a0 << kJointShift);
      if (!add_row_sums(eight, first + (p << kJointShift) + a0)) continue;
      for (int k = 0; k < 8; ++k) {
        Row<Count> row;
        load(eight + (k << kJointShift), row);
        add(row, column);
        if (kThird) add_at(row, third + ((a0 + k) << kJointShift));
        clear(eight + (k << kJointShift));
      }
    }
    store(column, second + (p << kJointShift));
  }
}

// Adds the pairs of an offset whose first pixel is outside of `covered`.
template <class Count>
void count_rest(const LevelPlane& plane, PixelOffset offset, const Region& covered, Count* matrix) {
  const Region all = region_of(pair_range(plane, offset));
  const auto add = [&](std::int64_t row, std::int64_t from, std::int64_t to) {
    const std::uint8_t* p = plane.levels + row * plane.pitch;
    const std::uint8_t* q = p + offset.rows * plane.pitch + offset.columns;
    for (std::int64_t c = from; c < to; ++c)
      add_to(matrix, static_cast<std::uint16_t>((p[c] << kJointShift) | q[c]), Count{1});
  };
  for (std::int64_t row = all.row; row < all.row_end; ++row) {
    if (row < covered.row || row >= covered.row_end) {
      add(row, all.column, all.column_end);
    } else {
      add(row, all.column, covered.column);
      add(row, covered.column_end, all.column_end);
    }
  }
}

// Whether counting three pixels at a time pays: spreading the cells costs as much as some thousand increments.
[[maybe_unused]] bool joint_pays(const LevelPlane& plane, const GlcmShape& shape) {
  return shape.shift == kJointShift && plane.valid == nullptr && plane.height * plane.width >= 4096;
}

// Counts a group of 2 to 4 offsets; matrix k begins at k * kSmallSpacing.
template <class Count>
void count_joint(const LevelPlane& plane, const PixelOffset* offsets, int group, bool symmetric,
                 const GlcmScratch& scratch) {
  auto* cells = static_cast<Count*>(scratch.cells);
  const JointPlan plan = joint_plan(offsets, group);
  Stream<Count> streams[2] = {};
  for (int s = 0; s < plan.streams; ++s) {
    const Region first = region_of(pair_range(plane, offsets[plan.a[s]]));
    if (plan.b[s] >= 0) {
      Count* table = cells + 8 * kSmallSpacing + s * kJointSpacing;
      const Region second = region_of(pair_range(plane, offsets[plan.b[s]]));
      streams[s] = {intersection(first, second), kNoTriple, table, table};
    } else {
      Count* alone = cells + plan.a[s] * kSmallSpacing;
      streams[s] = {first, kNoPair, alone, alone + 4 * kSmallSpacing};
    }
  }
  count_streams(plane, offsets, plan, streams, scratch);
  for (int s = 0; s < plan.streams; ++s) {
    if (plan.b[s] < 0) {
      join_copies(streams[s].even, streams[s].odd, 1 << (2 * kJointShift));
      continue;
    }
    const Region& region = streams[s].region;
    const PixelOffset shift = offsets[plan.a[s]];
    const Region moved{region.row + shift.rows, region.row_end + shift.rows, region.column + shift.columns,
                       region.column_end + shift.columns};
    Count* matrices[3] = {cells + plan.a[s] * kSmallSpacing, cells + plan.b[s] * kSmallSpacing,
                          plan.c[s] < 0 ? nullptr : cells + plan.c[s] * kSmallSpacing};
    if (region.row < region.row_end && matrices[2] != nullptr)
      spread<Count, true>(streams[s].even, plane, matrices[0], matrices[1], matrices[2]);
    else if (region.row < region.row_end)
      spread<Count, false>(streams[s].even, plane, matrices[0], matrices[1], nullptr);
    const int places[3] = {plan.a[s], plan.b[s], plan.c[s]};
    for (int k = 0; k < 3; ++k)
      if (matrices[k] != nullptr) count_rest(plane, offsets[places[k]], k < 2 ? region : moved, matrices[k]);
  }
  if (symmetric)
    for (int k = 0; k < group; ++k) fold(cells + k * kSmallSpacing, plane);
}

// Counts the offsets group by group and hands each matrix to use(k, first copy, second copy or null), which must leave
// both 0.
template <class Count, class Use>
void for_each_matrix(const LevelPlane& plane, const PixelOffset* offsets, std::int32_t offset_count,
                     const GlcmShape& shape, bool symmetric, const GlcmScratch& scratch, const Use& use) {
  auto* cells = static_cast<Count*>(scratch.cells);
  const bool small = shape.group == 4;
  const std::int64_t spacing = small ? kSmallSpacing : kLargeSpacing;
  for (std::int32_t done = 0; done < offset_count;) {
    const std::int32_t left = offset_count - done;
    const std::int32_t group = small && left >= 4 ? 4 : left >= 2 ? 2 : 1;
    const PixelOffset* these = offsets + done;
    const bool joint = left >= 2 && joint_pays(plane, shape);
    if (joint)
      count_joint<Count>(plane, these, group, symmetric, scratch);
    else if (group == 4)
      count_group<Count, 4, kSmallSpacing>(plane, these, shape, symmetric, scratch);
    else if (group == 2 && small)
      count_group<Count, 2, kSmallSpacing>(plane, these, shape, symmetric, scratch);
    else if (small)
      count_group<Count, 1, kSmallSpacing>(plane, these, shape, symmetric, scratch);
    else if (group == 2)
      count_group<Count, 2, kLargeSpacing>(plane, these, shape, symmetric, scratch);
    else
      count_group<Count, 1, kLargeSpacing>(plane, these, shape, symmetric, scratch);
    for (std::int32_t k = 0; k < group; ++k) {
      Count* first = cells + k * spacing;
      const bool copied = !joint && shape.copies == 2;
      use(done + k, first, copied ? first + group * spacing : nullptr);
    }
    done += group;
  }
}

}  // namespace
}  // namespace iuscore::IUSCORE_ISA
