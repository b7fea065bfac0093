// The caller's device stays current, whatever a launcher does (csrc/cuda/device.h). Prints what went wrong.
#include <cstdio>

#include "cuda/device.h"

namespace {

int failures = 0;

void expect(bool good, const char* what) {
  if (good) return;
  std::printf("failed: %s\n", what);
  ++failures;
}

}  // namespace

int main() {
  using iuscore::CurrentDevice;
  fake_cuda::current = 2;
  {
    const CurrentDevice current(1, "op");
    expect(fake_cuda::current == 1, "the device is current inside");
  }
  expect(fake_cuda::current == 2, "the caller's device is current again");
  try {
    const CurrentDevice current(3, "op");
    throw std::runtime_error("inside");
  } catch (const std::runtime_error&) {
  }
  expect(fake_cuda::current == 2, "also after an exception");
  fake_cuda::switches = 0;
  {
    const CurrentDevice current(2, "op");
  }
  expect(fake_cuda::switches == 0, "no call where it is current already");
  std::string said;
  try {
    const CurrentDevice current(7, "op");
  } catch (const std::runtime_error& error) {
    said = error.what();
  }
  expect(said == "op: cannot use the device: cudaErrorInvalidDevice: invalid device ordinal", "the error in words");
  expect(fake_cuda::current == 2, "after a refusal");
  expect(fake_cuda::last == cudaSuccess, "a refusal does not wait for the next launch");
  return failures == 0 ? 0 : 1;
}
