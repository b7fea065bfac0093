// The one place that starts threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace iuscore {

// Calls body(worker, index) for every index in [0, count); each worker is one thread. The first exception is rethrown.
// If no more threads can be started, those that were started do all the work.
template <class Body>
void parallel_for(std::int64_t count, std::int32_t threads, const Body& body) {
  const auto workers = static_cast<std::int32_t>(std::min<std::int64_t>(threads, count));
  if (workers <= 1) {
    for (std::int64_t i = 0; i < count; ++i) body(0, i);
    return;
  }
  std::atomic<std::int64_t> next{0};
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(workers));
  const auto work = [&](std::int32_t worker) {
    try {
      for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(worker, i);
    } catch (...) {
      errors[static_cast<std::size_t>(worker)] = std::current_exception();
      next.store(count, std::memory_order_relaxed);
    }
  };
  std::vector<std::thread> pool;
  pool.reserve(static_cast<std::size_t>(workers));
  try {
    for (std::int32_t worker = 1; worker < workers; ++worker) pool.emplace_back(work, worker);
  } catch (const std::system_error&) {  // a limit of threads
  } catch (const std::bad_alloc&) {     // no memory for one more
  }
  work(0);
  for (std::thread& thread : pool) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace iuscore
