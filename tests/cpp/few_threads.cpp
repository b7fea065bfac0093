// A machine that refuses to start more threads: parallel_for works on with the threads it has.
// argv[1]: how many threads can be started.
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cpu/parallel_for.h"

namespace {

int startable = 0;

}  // namespace

// Replaces pthread_create of the C library.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*), void* of) {
  if (startable-- <= 0) return EAGAIN;
  static const auto real = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  return real(thread, attributes, body, of);
}

int main(int, char** argv) {
  startable = std::atoi(argv[1]);
  std::vector<std::atomic<int>> calls(1000);
  iuscore::parallel_for(1000, 8, [&](std::int32_t, std::int64_t i) { ++calls[static_cast<std::size_t>(i)]; });
  for (const std::atomic<int>& count : calls)
    if (count != 1) return 1;
  std::puts("every index once");
  return 0;
}
