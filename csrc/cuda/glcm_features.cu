// Launcher of `glcm_features`: tables, then round by round records, sums and features.
#include "cuda/glcm_features_finish.cuh"
#include "cuda/launch.h"

namespace iuscore {
namespace {

constexpr std::int64_t kMostBlocks = 0x7fffffff;

std::int64_t smaller_of(std::int64_t x, std::int64_t y) { return x < y ? x : y; }

// Writes the records of images begin .. begin + batch - 1; returns how many joint sums each has.
std::int32_t launch_records(const Launcher& launcher, const GlcmFeaturesCudaArgs& args, const GlcmSumsTask& task,
                            std::int64_t begin, std::int64_t batch, void* stream) {
  const std::int32_t levels = args.quantization.levels;
  if (args.counts != nullptr) {
    const std::int64_t matrices = batch * args.offset_count;
    launcher.launch(glcm_given_kernel, smaller_of(matrices, kMostBlocks), kMatrixThreads,
                    glcm_matrix_shared_bytes(levels), stream, args.counts, begin * args.offset_count, matrices,
                    args.offset_count, task);
    return task.at.joint_count;
  }
  const GlcmLayout layout =
      glcm_layout(glcm_task(args, batch, task.needs), launcher.shared_limit(), launcher.multiprocessors());
  const auto kernel = has_few_levels(levels) ? glcm_count_kernel<true> : glcm_count_kernel<false>;
  launcher.launch(kernel, layout.blocks, layout.threads, layout.shared_bytes, stream, glcm_images(args), layout, task,
                  begin, batch);
  return glcm_joint_count(levels, layout.threads);
}

}  // namespace

std::int64_t glcm_features_cuda_workspace(const GlcmFeaturesCudaArgs& args) {
  return glcm_workspace(args).words * static_cast<std::int64_t>(sizeof(std::uint64_t));
}

void glcm_features_cuda(const GlcmFeaturesCudaArgs& args, void* stream) {
  if (args.batch == 0) return;
  const Launcher launcher("glcm_features", args.device);
  const CurrentDevice current = launcher.use_device();
  launcher.check_workspace(glcm_features_cuda_workspace(args), args.workspace_bytes);
  const GlcmSumsTask task = glcm_sums_task(args);
  const std::int64_t most = 16 * std::int64_t{launcher.multiprocessors()};
  const auto blocks = [&](std::int64_t items) {
    return smaller_of((items + kFinishThreads - 1) / kFinishThreads, most);
  };
  launcher.launch(glcm_tables_kernel, blocks(task.at.records), kFinishThreads, 0, stream, task, args.batch);
  for (std::int64_t begin = 0; begin < args.batch; begin += task.at.round) {
    const std::int64_t batch = smaller_of(task.at.round, args.batch - begin);
    const std::int64_t matrices = batch * args.offset_count;
    const std::int32_t joints = launch_records(launcher, args, task, begin, batch, stream);
    launcher.launch(glcm_sums_kernel, blocks(matrices * 32), kFinishThreads, 0, stream, begin * args.offset_count,
                    matrices, args.offset_count, joints, args.counts != nullptr, task);
    launcher.launch(glcm_finish_kernel, blocks(matrices * args.feature_count), kFinishThreads, 0, stream,
                    glcm_finish(args, task, begin * args.offset_count, matrices));
  }
}

}  // namespace iuscore
