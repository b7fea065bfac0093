// Qualifiers that make one inline function serve the host compiler and nvcc.
#pragma once

// Internal linkage on purpose: the instruction sets compile these headers with different instruction sets, and a
// function with external linkage compiled for AVX-512 could be the one the linker keeps for every caller.
#if defined(__CUDACC__)
#define IUSCORE_HD static __host__ __device__ __forceinline__
#else
#define IUSCORE_HD [[maybe_unused]] static inline __attribute__((always_inline))
#endif
