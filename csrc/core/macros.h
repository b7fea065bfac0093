// Qualifiers that make one inline function serve the host compiler and nvcc.
#pragma once

// Internal linkage on purpose: files for several instruction sets include these headers. Of a function with external
// linkage the linker keeps one copy for all callers, and that could be the one compiled for AVX-512.
#if defined(__CUDACC__)
#define IUSCORE_HD static __host__ __device__ __forceinline__
#else
#define IUSCORE_HD [[maybe_unused]] static inline __attribute__((always_inline))
#endif
