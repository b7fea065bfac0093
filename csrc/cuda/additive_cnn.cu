// Launchers.
#include "cuda/additive_cnn.cuh"
#include "cuda/launch.h"

namespace iuscore {
namespace {

constexpr const char* kOp = "additive_cnn";

}  // namespace

void additive_cnn_first_cuda(const CnnFirstArgs& args, std::int32_t device, void* stream) {
  const std::int64_t blocks =
      std::int64_t{args.batch} * args.groups * cnn_blocks_of_image(args.height, args.width, args.channels, kCnnRun);
  if (blocks == 0) return;
  const Launcher launcher(kOp, device);
  const CurrentDevice current = launcher.use_device();
  launcher.launch(additive_cnn_first_kernel, blocks, kCnnBlock, 0, stream, args);
}

void additive_cnn_epilogue_cuda(const CnnEpilogueArgs& args, std::int32_t device, void* stream) {
  const std::int32_t by = args.out == nullptr ? 1 : 2;
  const std::int64_t blocks =
      args.images * cnn_blocks_of_image(args.height / by, args.width / by, args.channels, kCnnPoolRun);
  if (blocks == 0) return;
  const Launcher launcher(kOp, device);
  const CurrentDevice current = launcher.use_device();
  launcher.launch(by == 1 ? additive_cnn_rectify_kernel : additive_cnn_pool_kernel, blocks, kCnnBlock, 0, stream, args);
}

std::int64_t additive_cnn_heads_workspace(const CnnHeadsArgs& args) {
  return std::int64_t{cnn_slices(args.terms)} * args.groups * args.batch * cnn_units_in_fours(args.units[0]);
}

void additive_cnn_heads_cuda(const CnnHeadsArgs& args, std::int32_t device, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher(kOp, device);
  const CurrentDevice current = launcher.use_device();
  const std::int64_t tiles = std::int64_t{args.groups} * ((args.batch + kCnnRows - 1) / kCnnRows);
  launcher.launch(additive_cnn_dense_kernel, tiles * cnn_slices(args.terms), kCnnDenseBlock, 0, stream, args);
  launcher.launch(additive_cnn_finish_kernel, std::int64_t{args.groups} * args.batch, kCnnBlock,
                  2 * kMostCnnUnits * static_cast<std::int64_t>(sizeof(float)), stream, args);
}

}  // namespace iuscore
