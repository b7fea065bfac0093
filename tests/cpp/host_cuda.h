// Runs CUDA kernels on the host, unchanged: include this before a .cu, compile with g++ -std=c++20 -pthread and call
// host_cuda::launch(kernel, blocks, threads, shared_bytes, arguments...).
//
//   __global__, __device__, ...    nothing;  __shared__ is static: one copy, for kernels of one block
//   dynamic shared memory          exactly shared_bytes on the heap (AddressSanitizer sees the end), 0xff at first
//   __syncthreads                  a meeting of the block. A thread that returns early counts as arrived.
//                                  IUSCORE_OMITTED_BARRIER=n in the environment leaves out every block's n-th one,
//                                  votes counted, which must be noticed
//   shuffles, reductions           exchange arrays and one meeting of the warp, which takes part as a whole (mask
//                                  0xffffffff)
//   atomics                        std::atomic_ref, relaxed, integers only: float atomics would have no order
//
// How CUDA threads run: host_fibers.h, in several orders on one thread of the host; under ThreadSanitizer
// host_threads.h, each on a thread of its own, so that it sees what the meetings order and what a missing one leaves
// unordered. Static __shared__ arrays keep their content between blocks; a kernel must not rely on it. Not modelled:
// clusters, asynchronous copies, fences, textures, warp-synchronous code.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "fake_cuda/cuda_runtime.h"

// A program's main; several programs together are also a Python module, whose linker takes one.
#define IUSCORE_MAIN __attribute__((weak)) int

#define IUSCORE_HOST_CUDA
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace host_cuda {

[[noreturn]] inline void refuse(const char* why) {
  std::fprintf(stderr, "host_cuda: %s\n", why);
  std::abort();
}

}  // namespace host_cuda

// Both headers define: threadIdx and so on; class Group, with meet(place), which returns when all of the group have
// called it, and leave(), for a thread that will not come again; `here`, what runs; run_blocks(); and pause().
#if defined(__SANITIZE_THREAD__) || !defined(__x86_64__)
#include "host_threads.h"
#else
#include "host_fibers.h"
#endif

namespace host_cuda {

inline const char* const omitted = std::getenv("IUSCORE_OMITTED_BARRIER");
inline const unsigned omitted_barrier = omitted == nullptr ? 0 : static_cast<unsigned>(std::atoi(omitted));

inline void* dynamic_shared() { return here.block->shared; }

// The values that the threads of a group exchange. Two arrays are used in turn: the array that is still being read is
// written again only after all threads have met once more.
inline const std::vector<std::uint64_t>& show(Shown& group, unsigned rank, std::uint64_t value, unsigned& turn,
                                              int place) {
  std::vector<std::uint64_t>& values = group.values[turn ^= 1];
  values[rank] = value;
  group.meet(place);
  return values;
}

template <class T>
const std::vector<std::uint64_t>& show_warp(unsigned mask, T value, int place) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  if (mask != 0xffffffffu) refuse("only the full mask is supported");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return show(*here.block->warps[here.rank / 32], here.rank % 32, bits, here.turn_in_warp, place);
}

// The value of lane `source`, or the thread's own value if there is no such lane.
template <class T>
T take(const std::vector<std::uint64_t>& shown, T own, unsigned source) {
  if (source < shown.size()) std::memcpy(&own, &shown[source], sizeof own);
  return own;
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 threads, std::size_t shared_bytes,
            const Arguments&... arguments) {
  run_blocks(grid, threads, shared_bytes, [&] { kernel(arguments...); });
}

}  // namespace host_cuda

namespace fake_cuda {

// In place of <<<>>> in csrc/cuda/launch.h: refuses a launch that a GPU would not start.
template <class... Parameters, class... Arguments>
void start(void (*kernel)(Parameters...), std::int64_t blocks, std::int32_t threads, std::int64_t shared_bytes,
           cudaStream_t, const Arguments&... arguments) {
  const bool more = granted.count(reinterpret_cast<const void*>(kernel)) > 0;
  if (blocks < 1 || blocks > 0x7fffffff || threads < 1 || threads > 1024) {
    last = cudaErrorInvalidConfiguration;
  } else if (shared_bytes < 0 || shared_bytes > (more ? kMaxShared : kGrantedShared)) {
    last = cudaErrorInvalidValue;
  } else {
    widths.push_back(threads);
    host_cuda::launch(kernel, {static_cast<unsigned>(blocks)}, {static_cast<unsigned>(threads)},
                      static_cast<std::size_t>(shared_bytes), arguments...);
  }
}

}  // namespace fake_cuda

// `place`: the source line of the call, which must be the same for all threads that meet.
inline void __syncthreads(int place = __builtin_LINE()) {
  if (++host_cuda::here.barriers_seen != host_cuda::omitted_barrier) host_cuda::here.block->all.meet(place);
}
inline int __syncthreads_count(int vote, int place = __builtin_LINE()) {
  using host_cuda::here;
  if (++here.barriers_seen == host_cuda::omitted_barrier) return vote != 0;
  int count = 0;
  for (const std::uint64_t v : show(here.block->all, here.rank, vote != 0, here.turn_in_block, place))
    count += static_cast<int>(v);
  return count;
}
inline int __syncthreads_or(int vote, int place = __builtin_LINE()) { return __syncthreads_count(vote, place) > 0; }

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int place = __builtin_LINE()) {
  return host_cuda::take(host_cuda::show_warp(mask, value, place), value,
                         host_cuda::here.rank % 32 ^ static_cast<unsigned>(bits));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int place = __builtin_LINE()) {
  return host_cuda::take(host_cuda::show_warp(mask, value, place), value, host_cuda::here.rank % 32 - by);
}

inline unsigned __reduce_add_sync(unsigned mask, unsigned value, int place = __builtin_LINE()) {
  unsigned sum = 0;
  for (const std::uint64_t v : host_cuda::show_warp(mask, value, place)) sum += static_cast<unsigned>(v);
  return sum;
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value, int place = __builtin_LINE()) {
  for (const std::uint64_t v : host_cuda::show_warp(mask, value, place))
    if (v > value) value = static_cast<unsigned>(v);
  return value;
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const std::uint64_t bytes = (std::uint64_t{high} << 32) | low;
  unsigned result = 0;
  for (unsigned i = 0; i < 4; ++i)
    result |= static_cast<unsigned>(bytes >> (selector >> (4 * i) & 7u) * 8 & 0xffu) << (8 * i);
  return result;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned bits) {
  return static_cast<unsigned>(((std::uint64_t{high} << 32) | low) >> (bits % 32));
}

template <std::integral T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  host_cuda::pause();
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
template <std::integral T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  host_cuda::pause();
  return std::atomic_ref<T>(*address).fetch_or(value, std::memory_order_relaxed);
}
template <std::integral T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  host_cuda::pause();
  T old = std::atomic_ref<T>(*address).load(std::memory_order_relaxed);
  while (value > old && !std::atomic_ref<T>(*address).compare_exchange_weak(old, value, std::memory_order_relaxed)) {
  }
  return old;
}
