// Stands in the way of csrc/cuda/launch.h, so that launchers run kernel bodies on the host.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "host_cuda.h"

namespace iuscore {

struct CurrentDevice {
  ~CurrentDevice() {}  // not trivial, so that a variable which only lives is no warning
};

class Launcher {
 public:
  Launcher(const char*, std::int32_t) {}
  [[nodiscard]] CurrentDevice use_device() const { return {}; }

  template <class... Parameters, class... Arguments>
  void launch(void (*kernel)(Parameters...), std::int64_t blocks, std::int32_t threads, std::int64_t shared_bytes,
              void*, const Arguments&... arguments) const {
    host_cuda::launch(kernel, {static_cast<unsigned>(blocks)}, {static_cast<unsigned>(threads)},
                      static_cast<std::size_t>(shared_bytes), arguments...);
  }
};

}  // namespace iuscore
