// Memory of worker threads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace iuscore {

// Floats that begin at a cache line, one piece a thread, made when the thread first asks; what they hold is not
// defined.
class Memory {
 public:
  explicit Memory(std::int32_t workers) : pieces_(static_cast<std::size_t>(workers)) {}

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
