// A block of CUDA threads on the host: its shared memory, and where its threads meet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace host_cuda {

// A group of threads that exchange values: a warp or a block.
template <class Group>
struct Showing : Group {
  explicit Showing(unsigned size)
      : Group(size), values{std::vector<std::uint64_t>(size), std::vector<std::uint64_t>(size)} {}
  std::vector<std::uint64_t> values[2];
};

template <class Group>
struct BlockOf {
  BlockOf(unsigned threads, std::size_t bytes)
      : all(threads), shared(static_cast<std::byte*>(::operator new(bytes, kAlign))) {
    for (unsigned first = 0; first < threads; first += 32)
      warps.push_back(std::make_unique<Showing<Group>>(threads - first < 32 ? threads - first : 32));
    std::memset(shared, 0xff, bytes);
  }
  ~BlockOf() { ::operator delete(shared, kAlign); }
  BlockOf(const BlockOf&) = delete;
  BlockOf& operator=(const BlockOf&) = delete;
  static constexpr std::align_val_t kAlign{16};
  Showing<Group> all;
  std::vector<std::unique_ptr<Showing<Group>>> warps;
  std::byte* shared;
};

// The state of a CUDA thread, besides the variables that CUDA defines.
template <class Block>
struct Self {
  Block* block = nullptr;
  unsigned rank = 0, turn_in_block = 0, turn_in_warp = 0, barriers_seen = 0;
};

inline dim3 unravel(unsigned i, dim3 extent) {
  return {i % extent.x, i / extent.x % extent.y, i / extent.x / extent.y};
}

inline unsigned count_of(dim3 extent) { return extent.x * extent.y * extent.z; }

}  // namespace host_cuda
