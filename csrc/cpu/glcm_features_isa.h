// From a plane of gray levels, or from a matrix of counts, to the sums of core/haralick.h; one image on one thread.
// Compiled once for each instruction set; no std containers or templates with external linkage inside.
#pragma once

#include "core/haralick.h"
#include "cpu/glcm_isa.h"

namespace iuscore {

// Tables for the sums of a matrix. terms[c] = entropy_term(c, shift) for c < term_count; term_count is 65,536, or
// larger than any count.
struct GlcmTables {
  const std::uint64_t* terms;
  std::int64_t term_count;
  const std::uint64_t* weights;  // [kGlcmWeights, levels]: glcm_weight
  GlcmContext context;
  std::uint32_t needs;
};

IUSCORE_IN_EVERY_ISA(
    // sums: [offset_count]
    void sum_plane(const LevelPlane& plane, const PixelOffset* offsets, std::int32_t offset_count,
                   const GlcmTables& tables, const GlcmScratch& scratch, GlcmSums* sums);
    // counts: [levels, levels], not negative; scratch: for 32-bit counters
    void sum_matrix(const std::int32_t* counts, const GlcmTables& tables, const GlcmScratch& scratch, GlcmSums* sums);)

}  // namespace iuscore
