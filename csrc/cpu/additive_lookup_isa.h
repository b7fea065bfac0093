// Looks up some rows, on one thread. Compiled once for each instruction set; no std containers or templates with
// external linkage inside.
#pragma once

#include "cpu/isa.h"
#include "ops/additive_lookup.h"

namespace iuscore {

struct AdditiveLookupRows {
  const AdditiveLookupArgs* args;
  std::int64_t first_row;
  std::int64_t rows;
  float* scratch;       // [2 G]
  std::int32_t* cells;  // [G]
};

IUSCORE_IN_EVERY_ISA(void additive_lookup_rows(const AdditiveLookupRows& job);)

}  // namespace iuscore
