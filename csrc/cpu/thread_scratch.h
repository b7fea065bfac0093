// Scratch memory of worker threads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace iuscore {

// One piece of floats for each thread, allocated when the thread first asks for it. It begins at a cache line; its
// content is undefined.
class ThreadScratch {
 public:
  explicit ThreadScratch(std::int32_t workers) : pieces_(static_cast<std::size_t>(workers)) {}

  float* of(std::int32_t worker, std::int64_t floats) {
    Piece& piece = pieces_[static_cast<std::size_t>(worker)];
    const auto wanted = static_cast<std::size_t>(floats) + kLine;
    if (piece.size < wanted) {
      piece.floats.reset(new float[wanted]);
      piece.size = wanted;
    }
    void* begin = piece.floats.get();
    std::size_t room = piece.size * sizeof(float);
    return static_cast<float*>(
        std::align(kLine * sizeof(float), static_cast<std::size_t>(floats) * sizeof(float), begin, room));
  }

 private:
  struct Piece {
    std::unique_ptr<float[]> floats;
    std::size_t size = 0;
  };
  static constexpr std::size_t kLine = 16;
  std::vector<Piece> pieces_;
};

}  // namespace iuscore
