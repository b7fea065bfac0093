// All CUDA threads on one thread of the host, each with a stack of its own: where one waits for others, the next goes
// on. Cheap enough for blocks as wide as a GPU's, and the order in which threads and blocks go on is chosen:
//   forward    one block after the other, threads by their numbers
//   reverse    both from the last to the first
//   mixed      three blocks at once; threads of all of them in another random order each time, and some stop before an
//              atomic operation
// IUSCORE_HOST_ORDER in the environment names it, or host_cuda::set_order. A correct kernel gives the same in all.
// Also noticed: threads that wait for each other forever, and that meet in different lines of the source, which a GPU
// need not bring together.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "host_block.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace host_cuda {

// Switches stacks: continues where `to` stopped; stores in `from` where the caller stopped.
__attribute__((naked, noipa)) inline void switch_stack([[maybe_unused]] void** from, [[maybe_unused]] void* to) {
  // The registers that a function must preserve (System V ABI).
  asm(R"(pushq %rbp
         pushq %rbx
         pushq %r12
         pushq %r13
         pushq %r14
         pushq %r15
         movq %rsp, (%rdi)
         movq %rsi, %rsp
         popq %r15
         popq %r14
         popq %r13
         popq %r12
         popq %rbx
         popq %rbp
         ret)");
}

constexpr std::size_t kStackBytes = 256 * 1024;
constexpr std::size_t kGuardBytes = 4096;

// Stacks that are kept from launch to launch. The page below each is protected, so an overflow crashes.
inline std::byte* stack(std::size_t i) {
  static std::vector<std::byte*> stacks;
  while (stacks.size() <= i) {
    void* const memory =
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) refuse("no memory for a stack");
    stacks.push_back(static_cast<std::byte*>(memory));
  }
  return stacks[i];
}

class Fibers;

class Group {
 public:
  explicit Group(unsigned size) : expected_(size) {}
  inline void meet(int place);
  void leave() {
    --expected_;
    if (arrived_ == expected_) release();
  }
  unsigned meetings() const { return meetings_; }

 private:
  void release() {
    arrived_ = 0;
    ++meetings_;
  }

  unsigned expected_;
  unsigned arrived_ = 0;
  unsigned meetings_ = 0;
  int place_ = 0;
};

using Shown = Showing<Group>;
using Block = BlockOf<Group>;

struct Fiber {
  Self<Block> self;
  dim3 thread, block;
  void* at = nullptr;  // its stack pointer while another runs
  const std::byte* stack = nullptr;
  const Group* waits_for = nullptr;
  unsigned meetings = 0;  // number of earlier meetings of the group, when this thread arrived
  bool runs = false;
  void* sanitizer = nullptr;

  bool can_go_on() const { return runs && (waits_for == nullptr || waits_for->meetings() != meetings); }
};

inline Self<Block> here;

enum class Order { forward, reverse, mixed };

inline Order order_of(std::string_view name) {
  if (name == "forward") return Order::forward;
  if (name == "reverse") return Order::reverse;
  if (name != "mixed") refuse("order: expected forward, reverse or mixed");
  return Order::mixed;
}

inline Order& order() {
  static Order chosen = [] {
    const char* const name = std::getenv("IUSCORE_HOST_ORDER");
    return order_of(name == nullptr ? "forward" : name);
  }();
  return chosen;
}

inline void set_order(std::string_view name) { order() = order_of(name); }

// The threads of the blocks that run at once, and the scheduler that runs them in turn.
class Fibers {
 public:
  Fibers(dim3 grid, dim3 threads, std::size_t shared_bytes, std::function<void()> body)
      : grid_(grid), threads_(threads), shared_bytes_(shared_bytes), body_(std::move(body)), size_(count_of(threads)) {}

  void run() {
    const unsigned blocks = count_of(grid_);
    const unsigned at_once = std::min(blocks, order() == Order::mixed ? 3u : 1u);
    fibers_.resize(std::size_t{at_once} * size_);
    running_.resize(at_once);
    left_.assign(at_once, 0);
    turns_.resize(fibers_.size());
    for (unsigned i = 0; i < turns_.size(); ++i)
      turns_[i] = order() == Order::reverse ? static_cast<unsigned>(turns_.size()) - 1 - i : i;
    Fibers* const before = current;
    current = this;
    blockDim = threads_, gridDim = grid_;
    for (unsigned slot = 0; slot < at_once; ++slot) begin(slot);
    while (finished_ < blocks) pass();
    current = before;
  }

  // Called on a fiber's stack: the others go on until its turn comes again.
  void wait(const Group* group) {
    Fiber& fiber = *now_;
    fiber.waits_for = group;
    fiber.meetings = group == nullptr ? 0 : group->meetings();
    fiber.self = here;
    away(fiber, false);
  }

  // Some threads stop here where the order is mixed.
  void pause() {
    if (drawn() % 8 == 0) wait(nullptr);
  }

  static inline Fibers* current = nullptr;

 private:
  // A linear congruential generator: without optimization the standard library's would take most of the time here.
  std::uint32_t drawn() {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>(random_ >> 33);
  }

  void begin(unsigned slot) {
    const unsigned blocks = count_of(grid_);
    if (begun_ == blocks) return;
    const unsigned number = order() == Order::reverse ? blocks - 1 - begun_ : begun_;
    ++begun_;
    running_[slot] = std::make_unique<Block>(size_, shared_bytes_);
    left_[slot] = size_;
    for (unsigned t = 0; t < size_; ++t) {
      const std::size_t i = std::size_t{slot} * size_ + t;
      Fiber& fiber = fibers_[i];
      fiber = {};
      fiber.self = {running_[slot].get(), t};
      fiber.thread = unravel(t, threads_), fiber.block = unravel(number, grid_);
      fiber.stack = stack(i);
      fiber.runs = true;
      // Tops at different offsets: at equal offsets all stacks would compete for the same few cache lines.
      auto* top = reinterpret_cast<void**>(const_cast<std::byte*>(fiber.stack) + kStackBytes - i % 61 * 128);
      *--top = nullptr;  // the return address of start(): the stack looks as it does after a call
      *--top = reinterpret_cast<void*>(&Fibers::start);
      fiber.at = top - 6;  // room for six saved registers below it
      std::fill(top - 6, top, nullptr);
    }
  }

  void pass() {
    if (order() == Order::mixed)
      for (std::size_t n = turns_.size(); n > 1; --n) std::swap(turns_[n - 1], turns_[drawn() % n]);
    bool moved = false;
    for (const unsigned i : turns_) {
      Fiber& fiber = fibers_[i];
      if (!fiber.can_go_on()) continue;
      moved = true;
      go(fiber);
      if (fiber.runs || --left_[i / size_] > 0) continue;
      ++finished_;
      running_[i / size_].reset();
      begin(i / size_);
    }
    if (!moved) refuse("the threads of a block wait for each other");
  }

  void go(Fiber& fiber) {
    now_ = &fiber;
    here = fiber.self, threadIdx = fiber.thread, blockIdx = fiber.block;
#if defined(__SANITIZE_ADDRESS__)
    void* sanitizer = nullptr;
    __sanitizer_start_switch_fiber(&sanitizer, fiber.stack, kStackBytes);
    switch_stack(&at_, fiber.at);
    __sanitizer_finish_switch_fiber(sanitizer, nullptr, nullptr);
#else
    switch_stack(&at_, fiber.at);
#endif
  }

  void away(Fiber& fiber, [[maybe_unused]] bool forever) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(forever ? nullptr : &fiber.sanitizer, of_stack_, of_bytes_);
    switch_stack(&fiber.at, at_);
    __sanitizer_finish_switch_fiber(fiber.sanitizer, &of_stack_, &of_bytes_);
#else
    switch_stack(&fiber.at, at_);
#endif
  }

  static void start() {
    Fibers& all = *current;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &all.of_stack_, &all.of_bytes_);
#endif
    all.body_();
    here.block->warps[here.rank / 32]->leave();
    here.block->all.leave();
    all.now_->runs = false;
    all.away(*all.now_, true);
  }

  dim3 grid_, threads_;
  std::size_t shared_bytes_;
  std::function<void()> body_;
  unsigned size_;
  std::vector<Fiber> fibers_;  // of the first block that runs, of the second, ...
  std::vector<std::unique_ptr<Block>> running_;
  std::vector<unsigned> left_;  // threads of each that have not returned
  std::vector<unsigned> turns_;
  std::uint64_t random_ = 1;
  unsigned begun_ = 0, finished_ = 0;
  Fiber* now_ = nullptr;
  void* at_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  const void* of_stack_ = nullptr;  // the stack that run() is on
  std::size_t of_bytes_ = 0;
#endif
};

inline void Group::meet(int place) {
  if (arrived_ == 0) place_ = place;
  if (place != place_) refuse("threads meet in different lines");
  if (++arrived_ == expected_) return release();
  Fibers::current->wait(this);
}

inline void pause() {
  if (order() == Order::mixed) Fibers::current->pause();
}

template <class Body>
void run_blocks(dim3 grid, dim3 threads, std::size_t shared_bytes, const Body& body) {
  Fibers(grid, threads, shared_bytes, body).run();
}

}  // namespace host_cuda
