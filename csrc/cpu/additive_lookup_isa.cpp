#include "cpu/additive_lookup_isa.h"

#include "core/lookup.h"
#include "core/mlp.h"

namespace iuscore::IUSCORE_ISA {
namespace {

// Finds the table cell of each value of a row. offsets: of the cell's left knot, in the table of all groups.
void places(const AdditiveLookupArgs& args, const float* __restrict__ x, std::int32_t* __restrict__ offsets,
            float* __restrict__ parts) {
  const std::int32_t last = args.knots - 1;
  const float* __restrict__ low = args.low;
  const float* __restrict__ scale = args.scale;
  for (std::int32_t g = 0; g < args.groups; ++g) {
    const TablePlace place = table_place(x[g], low[g], scale[g], last);
    offsets[g] = (g * args.knots + place.cell) * args.outputs;
    parts[g] = place.part;
  }
}

void values_of_one(const AdditiveLookupArgs& args, const float* __restrict__ x,
                   const std::int32_t* __restrict__ offsets, const float* __restrict__ parts, float* __restrict__ out) {
  const float* __restrict__ values = args.values;
  for (std::int32_t g = 0; g < args.groups; ++g)
    out[g] = table_value(x[g], values[offsets[g]], values[offsets[g] + 1], parts[g]);
}

void values_of_many(const AdditiveLookupArgs& args, const float* __restrict__ x,
                    const std::int32_t* __restrict__ offsets, const float* __restrict__ parts,
                    float* __restrict__ out) {
  const std::int32_t c = args.outputs;
  for (std::int32_t g = 0; g < args.groups; ++g) {
    const float* __restrict__ left = args.values + offsets[g];
    for (std::int32_t i = 0; i < c; ++i)
      out[std::int64_t{g} * c + i] = table_value(x[g], left[i], left[c + i], parts[g]);
  }
}

// Sums kRows rows at a time: the additions of one sum depend on each other, those of different rows do not.
template <int kRows>
void add_up(const AdditiveLookupArgs& args, std::int64_t row) {
  const std::int64_t c = args.outputs;
  const std::int64_t pitch = args.groups * c;
  for (std::int64_t i = 0; i < c; ++i) {
    const float* from = args.contributions + row * pitch + i;
    float sums[kRows];
    for (int r = 0; r < kRows; ++r) sums[r] = from[r * pitch];
    for (std::int64_t g = 1; g < args.groups; ++g)
      for (int r = 0; r < kRows; ++r) sums[r] += from[r * pitch + g * c];
    for (int r = 0; r < kRows; ++r) args.total[(row + r) * c + i] = canonical_nan(sums[r]);
  }
}

}  // namespace

void additive_lookup_rows(const AdditiveLookupRows& job) {
  const AdditiveLookupArgs& args = *job.args;
  float* const parts = job.scratch;
  float* const gathered = parts + args.groups;
  const std::int64_t end = job.first_row + job.rows;
  for (std::int64_t row = job.first_row; row < end; ++row) {
    const float* x = args.x + row * args.stride_row;
    if (args.stride_group != 1) {
      for (std::int32_t g = 0; g < args.groups; ++g) gathered[g] = x[g * args.stride_group];
      x = gathered;
    }
    float* out = args.contributions + row * args.groups * args.outputs;
    places(args, x, job.cells, parts);
    if (args.outputs == 1)
      values_of_one(args, x, job.cells, parts, out);
    else
      values_of_many(args, x, job.cells, parts, out);
  }
  constexpr int kTogether = 8;
  std::int64_t row = job.first_row;
  for (; row + kTogether <= end; row += kTogether) add_up<kTogether>(args, row);
  for (; row < end; ++row) add_up<1>(args, row);
}

}  // namespace iuscore::IUSCORE_ISA
