// Launcher: where things live, and CUDA's complaints in words.
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "cuda/perceptual_maps.cuh"

namespace iuscore {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("perceptual_maps: ") + what + ": " + cudaGetErrorName(error) + ": " +
                           cudaGetErrorString(error));
}

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "cannot read an attribute of the device");
  return value;
}

PerceptualMapsLayout layout_on(const PerceptualMapsCudaArgs& args) {
  return perceptual_maps_layout(args, attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, args.device),
                                attribute(cudaDevAttrMultiProcessorCount, args.device));
}

std::int64_t workspace_bytes(const PerceptualMapsLayout& layout) {
  return layout.blocks * layout.workspace_floats * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace

std::int64_t perceptual_maps_cuda_workspace(const PerceptualMapsCudaArgs& args) {
  return workspace_bytes(layout_on(args));
}

void perceptual_maps_cuda(const PerceptualMapsCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  // The caller's CUDA runtime keeps a current device of its own; both mean the same primary context.
  check(cudaSetDevice(args.device), "cannot use the device");
  const PerceptualMapsLayout layout = layout_on(args);
  const std::int64_t needed = workspace_bytes(layout);
  if (needed > args.workspace_bytes)
    throw std::runtime_error("perceptual_maps: workspace: expected " + std::to_string(needed) + " bytes, got " +
                             std::to_string(args.workspace_bytes));
  const PerceptualMapsKernel kernel = perceptual_maps_kernel_of(args);
  check(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(layout.shared_bytes)),
      "cannot reserve shared memory");
  kernel<<<static_cast<unsigned>(layout.blocks), static_cast<unsigned>(layout.threads),
           static_cast<std::size_t>(layout.shared_bytes), static_cast<cudaStream_t>(stream)>>>(args, layout);
  check(cudaGetLastError(), "the kernel was not started");
}

}  // namespace iuscore
