// One std::thread per CUDA thread, two blocks at once: ThreadSanitizer sees every access that is not ordered, within a
// block and between blocks.
#pragma once

#include <barrier>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "host_block.h"

inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace host_cuda {

class Group {
 public:
  explicit Group(unsigned size) : barrier_(size) {}
  void meet(int) { barrier_.arrive_and_wait(); }
  void leave() { static_cast<void>((barrier_.arrive_and_drop(), 0)); }

 private:
  std::barrier<> barrier_;
};

using Shown = Showing<Group>;
using Block = BlockOf<Group>;
inline thread_local Self<Block> here;

inline void pause() {}
inline void set_order(std::string_view) {}  // the host's

template <class Body>
void run_blocks(dim3 grid, dim3 threads, std::size_t shared_bytes, const Body& body) {
  const unsigned size = count_of(threads);
  const unsigned blocks = count_of(grid);
  const unsigned at_once = blocks < 2 ? blocks : 2;
  std::vector<std::unique_ptr<Block>> running(at_once);
  const auto fresh = [&]() noexcept {
    for (std::unique_ptr<Block>& block : running) block = std::make_unique<Block>(size, shared_bytes);
  };
  fresh();
  std::barrier round(size * at_once, fresh);
  std::vector<std::thread> pool;
  for (unsigned t = 0; t < size * at_once; ++t)
    pool.emplace_back([&, t] {
      blockDim = threads, gridDim = grid, threadIdx = unravel(t % size, threads);
      for (unsigned first = 0; first < blocks; first += at_once) {
        const unsigned b = first + t / size;
        if (b < blocks) {
          here = {running[t / size].get(), t % size};
          blockIdx = unravel(b, grid);
          body();
          here.block->warps[here.rank / 32]->leave();
          here.block->all.leave();
        }
        round.arrive_and_wait();
      }
    });
  for (std::thread& thread : pool) thread.join();
}

}  // namespace host_cuda
