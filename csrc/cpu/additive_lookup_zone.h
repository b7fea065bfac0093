// Some rows on one thread. Compiled once per CPU zone; no std containers or templates with external linkage inside.
#pragma once

#include "ops/additive_lookup.h"

namespace iuscore {

struct AdditiveLookupRows {
  const AdditiveLookupArgs* args;
  std::int64_t first_row;
  std::int64_t rows;
  float* memory;        // [2 G]
  std::int32_t* cells;  // [G]
};

namespace baseline {
void additive_lookup_rows(const AdditiveLookupRows& job);
}
namespace avx2 {
void additive_lookup_rows(const AdditiveLookupRows& job);
}
namespace avx512 {
void additive_lookup_rows(const AdditiveLookupRows& job);
}

}  // namespace iuscore
