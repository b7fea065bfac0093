// The instruction sets for which *_isa.cpp files are compiled, each in a namespace of its own, and the choice of one at
// run time.
#pragma once

namespace iuscore {

enum class Isa { baseline, avx2, avx512 };

// The best instruction set of this CPU, limited by the environment variable IUSCORE_CPU_ISA (baseline, avx2, avx512).
Isa current_isa();
const char* isa_name(Isa isa);

}  // namespace iuscore

// Declares functions in the namespace of every instruction set.
#define IUSCORE_IN_EVERY_ISA(...) \
  namespace baseline {            \
  __VA_ARGS__                     \
  }                               \
  namespace avx2 {                \
  __VA_ARGS__                     \
  }                               \
  namespace avx512 {              \
  __VA_ARGS__                     \
  }

// The function of this name that was compiled for an instruction set.
#if defined(IUSCORE_HAS_ISAS)
#define IUSCORE_FOR_ISA(isa, function) \
  ((isa) == Isa::avx512 ? avx512::function : (isa) == Isa::avx2 ? avx2::function : baseline::function)
#else
#define IUSCORE_FOR_ISA(isa, function) (static_cast<void>(isa), &baseline::function)
#endif
