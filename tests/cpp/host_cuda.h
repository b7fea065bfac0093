// Runs CUDA kernels on the host, unchanged: include this before a .cuh, compile with g++ -std=c++20 -pthread and call
// host_cuda::launch(kernel, blocks, threads, shared_bytes, arguments...).
//
// One std::thread per CUDA thread, one block at a time, so a sanitizer sees every access a GPU would make:
//   __global__, __device__, ...    nothing;  __shared__ is static: one copy, as only one block runs
//   dynamic shared memory          exactly shared_bytes on the heap (AddressSanitizer sees the end), 0xff at first
//   __syncthreads                  std::barrier over the block: ThreadSanitizer sees what it orders and what a
//                                  missing one leaves unordered. A thread that returns early counts as arrived
//                                  IUSCORE_OMITTED_BARRIER=n in the environment leaves out every block's n-th one,
//                                  which a sanitizer must notice
//   shuffles, reductions           exchange arrays and one barrier each; the whole warp takes part (mask 0xffffffff)
//   atomics                        std::atomic_ref, relaxed, integers only: float atomics would have no order
// Static __shared__ arrays keep their content between blocks; a kernel must not rely on it. Not modelled: clusters,
// asynchronous copies, fences, textures, warp-synchronous code.
#pragma once

#include <atomic>
#include <barrier>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <thread>
#include <type_traits>
#include <vector>

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
inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace host_cuda {

// Threads that wait for each other and show each other a value: a block or a warp.
class Group {
 public:
  explicit Group(unsigned size)
      : barrier_(size), shown_{std::vector<std::uint64_t>(size), std::vector<std::uint64_t>(size)} {}
  void meet() { barrier_.arrive_and_wait(); }
  void leave() { static_cast<void>((barrier_.arrive_and_drop(), 0)); }

  // What every thread showed. Two arrays in turn: a thread can only write the one being read after all have met again.
  const std::vector<std::uint64_t>& show(unsigned rank, std::uint64_t value, unsigned& turn) {
    std::vector<std::uint64_t>& shown = shown_[turn ^= 1];
    shown[rank] = value;
    meet();
    return shown;
  }

 private:
  std::barrier<> barrier_;
  std::vector<std::uint64_t> shown_[2];
};

struct Block {
  Block(unsigned threads, std::size_t bytes)
      : all(threads), shared(static_cast<std::byte*>(::operator new(bytes, kAlign))) {
    for (unsigned first = 0; first < threads; first += 32)
      warps.push_back(std::make_unique<Group>(threads - first < 32 ? threads - first : 32));
    std::memset(shared, 0xff, bytes);
  }
  ~Block() { ::operator delete(shared, kAlign); }
  Block(const Block&) = delete;
  static constexpr std::align_val_t kAlign{16};
  Group all;
  std::vector<std::unique_ptr<Group>> warps;
  std::byte* shared;
};

inline std::unique_ptr<Block> block;  // the one that runs
inline thread_local unsigned rank, turn_in_block, turn_in_warp, barriers_seen;
inline const char* const omitted = std::getenv("IUSCORE_OMITTED_BARRIER");
inline const unsigned omitted_barrier = omitted == nullptr ? 0 : static_cast<unsigned>(std::atoi(omitted));

inline void* dynamic_shared() { return block->shared; }
inline Group& warp() { return *block->warps[rank / 32]; }

template <class T>
const std::vector<std::uint64_t>& show_warp(unsigned mask, T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  if (mask != 0xffffffffu) std::fputs("host_cuda: only the full mask is supported\n", stderr), std::abort();
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return warp().show(rank % 32, bits, turn_in_warp);
}

// The value of lane `source`, or one's own where there is no such lane.
template <class T>
T take(const std::vector<std::uint64_t>& shown, T own, unsigned source) {
  if (source < shown.size()) std::memcpy(&own, &shown[source], sizeof own);
  return own;
}

inline dim3 unravel(unsigned i, dim3 extent) {
  return {i % extent.x, i / extent.x % extent.y, i / extent.x / extent.y};
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 threads, std::size_t shared_bytes,
            const Arguments&... arguments) {
  const unsigned size = threads.x * threads.y * threads.z;
  const unsigned blocks = grid.x * grid.y * grid.z;
  const auto fresh = [&]() noexcept { block = std::make_unique<Block>(size, shared_bytes); };
  fresh();
  std::barrier block_done(size, fresh);
  std::vector<std::thread> pool;
  for (unsigned t = 0; t < size; ++t)
    pool.emplace_back([&, t] {
      blockDim = threads, gridDim = grid, threadIdx = unravel(t, threads), rank = t;
      for (unsigned b = 0; b < blocks; ++b) {
        blockIdx = unravel(b, grid), turn_in_block = turn_in_warp = barriers_seen = 0;
        kernel(arguments...);
        warp().leave();
        block->all.leave();
        block_done.arrive_and_wait();
      }
    });
  for (std::thread& thread : pool) thread.join();
  block.reset();
}

}  // namespace host_cuda

inline void __syncthreads() {
  if (++host_cuda::barriers_seen != host_cuda::omitted_barrier) host_cuda::block->all.meet();
}
inline int __syncthreads_count(int vote) {
  int count = 0;
  for (const std::uint64_t v : host_cuda::block->all.show(host_cuda::rank, vote != 0, host_cuda::turn_in_block))
    count += static_cast<int>(v);
  return count;
}
inline int __syncthreads_or(int vote) { return __syncthreads_count(vote) > 0; }

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return host_cuda::take(host_cuda::show_warp(mask, value), value, host_cuda::rank % 32 ^ static_cast<unsigned>(bits));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by) {
  return host_cuda::take(host_cuda::show_warp(mask, value), value, host_cuda::rank % 32 - by);
}

inline unsigned __reduce_add_sync(unsigned mask, unsigned value) {
  unsigned sum = 0;
  for (const std::uint64_t v : host_cuda::show_warp(mask, value)) sum += static_cast<unsigned>(v);
  return sum;
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value) {
  for (const std::uint64_t v : host_cuda::show_warp(mask, value))
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
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
template <std::integral T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_or(value, std::memory_order_relaxed);
}
template <std::integral T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  T old = std::atomic_ref<T>(*address).load(std::memory_order_relaxed);
  while (value > old && !std::atomic_ref<T>(*address).compare_exchange_weak(old, value, std::memory_order_relaxed)) {
  }
  return old;
}
