// Runs the CUDA kernel bodies of glcm_features on the host against the CPU op: equal in every bit, from images and from
// matrices. Usage: run_glcm_features CASES LARGEST_BLOCK SEED. What consecutive cases cover: drawn_pairs.h. Exits 1 and
// names the first difference.

// clang-format off
#include "host_cuda.h"  // must come first: it defines the CUDA keywords used in the .cu
// clang-format on

#include "cuda/glcm_features.cu"
#include "drawn_pairs.h"

using namespace iuscore;

namespace {

struct Choice {
  PairsCase pairs;
  std::vector<GlcmFeature> features;
  bool wide;
  bool given;  // matrices instead of images

  std::string text() const {
    std::string text = pairs.text() + (wide ? ", double" : ", float") + (given ? ", matrices" : "") + ", features";
    for (const GlcmFeature f : features) text += " " + std::to_string(static_cast<int>(f));
    return text;
  }
};

// All features, or a few of them: sums that no chosen feature needs are not computed.
std::vector<GlcmFeature> draw_features(Random& random) {
  std::vector<GlcmFeature> features;
  const unsigned share = pick(random, {1u, 1u, 4u, 12u});
  for (std::int32_t f = 0; f < kGlcmFeatures; ++f)
    if (random() % share == 0) features.push_back(static_cast<GlcmFeature>(f));
  if (features.empty()) features.push_back(static_cast<GlcmFeature>(random() % kGlcmFeatures));
  return features;
}

dim3 blocks(std::int64_t n) { return {static_cast<unsigned>(n)}; }

// The launcher, with two blocks, so that one block works on several images.
void run_on_host(const GlcmFeaturesCudaArgs& args, const PairsCase& c, std::int64_t round) {
  GlcmSumsTask task = glcm_sums_task(args);
  if (round < task.at.round) task.at.round = round;
  std::vector<std::uint64_t> workspace(static_cast<std::size_t>(task.at.words), ~std::uint64_t{0});
  task.workspace = workspace.data();
  host_cuda::launch(glcm_tables_kernel, {1}, {32}, 0, task, args.batch);
  for (std::int64_t begin = 0; begin < args.batch; begin += task.at.round) {
    const std::int64_t batch = std::min(task.at.round, args.batch - begin);
    const std::int64_t matrices = batch * args.offset_count;
    std::int32_t joints = 2;
    if (args.counts != nullptr) {
      host_cuda::launch(glcm_given_kernel, {2}, {64},
                        static_cast<std::size_t>(glcm_matrix_shared_bytes(args.quantization.levels)), args.counts,
                        begin * args.offset_count, matrices, args.offset_count, task);
    } else {
      const GlcmLayout layout =
          glcm_layout(glcm_task(args, batch, task.needs), c.shared_limit, c.multiprocessors, c.most_code_bytes);
      const bool few = has_few_levels(args.quantization.levels);
      host_cuda::launch(few ? glcm_count_kernel<true> : glcm_count_kernel<false>,
                        blocks(std::min<std::int64_t>(layout.blocks, 2)), blocks(layout.threads),
                        static_cast<std::size_t>(layout.shared_bytes), glcm_images(args), layout, task, begin, batch);
      joints = glcm_joint_count(args.quantization.levels, layout.threads);
    }
    host_cuda::launch(glcm_sums_kernel, {2}, {64}, 0, begin * args.offset_count, matrices, args.offset_count, joints,
                      args.counts != nullptr, task);
    host_cuda::launch(glcm_finish_kernel, {2}, {32}, 0, glcm_finish(args, task, begin * args.offset_count, matrices));
  }
}

std::vector<std::int32_t> draw_matrices(std::size_t size, std::int32_t levels, Random& random) {
  std::vector<std::int32_t> counts(size, 0);
  const unsigned filled = random() % 3;
  if (filled == 0) return counts;
  const std::int32_t most = pick(random, {2, 300, 100'000});
  // The sum of a matrix is at most 2^30: with 256 levels, 16,384 per cell on average.
  for (std::int32_t& count : counts)
    if (random() % (filled == 1 ? 1 : 50) == 0) count = static_cast<std::int32_t>(random()) % (levels > 64 ? 9 : most);
  for (std::int32_t& count : counts) count = std::abs(count);
  return counts;
}

bool equal_features(const Choice& choice, Random& random) {
  const PairsCase& c = choice.pairs;
  const DrawnImages images(c.images, random);
  const DrawnMasks masks(c.masked, c.spread_mask, c.images.sizes, random);
  const auto batch = static_cast<std::int64_t>(c.images.sizes.size());
  const auto offset_count = static_cast<std::int32_t>(c.offsets.size());
  const auto feature_count = static_cast<std::int32_t>(choice.features.size());
  const std::int32_t levels = c.quantization.levels;
  const auto matrices = static_cast<std::size_t>(batch * offset_count);
  const auto cells = static_cast<std::size_t>(levels * levels);
  const std::vector<std::int32_t> counts = draw_matrices(choice.given ? matrices * cells : 0, levels, random);
  const std::size_t size = matrices * static_cast<std::size_t>(feature_count);
  std::vector<double> expected(size, NAN);
  std::vector<double> got(size, NAN);
  const std::int32_t* given = choice.given ? counts.data() : nullptr;
  glcm_features_cpu({images.views.data(), masks.views.empty() ? nullptr : masks.views.data(), batch, c.images.channels,
                     c.images.pixel_type, c.quantization, c.offsets.data(), offset_count, c.symmetric, given,
                     choice.features.data(), feature_count, choice.wide, expected.data(), nullptr, 1});
  GlcmFeaturesCudaArgs args{};
  args.image = images.views[0];
  args.batch_stride = images.batch_stride;
  if (!masks.views.empty()) args.mask = masks.views[0];
  args.mask_batch_stride = masks.batch_stride;
  args.batch = batch;
  args.channels = c.images.channels;
  args.pixel_type = c.images.pixel_type;
  args.quantization = c.quantization;
  args.offsets = c.offsets.data();
  args.offset_count = offset_count;
  args.symmetric = c.symmetric;
  args.counts = given;
  args.features = choice.features.data();
  args.feature_count = feature_count;
  args.wide = choice.wide;
  args.values = got.data();
  args.threads = c.threads;
  run_on_host(args, c, pick(random, {1, 2, 9, 9}));
  if (std::memcmp(expected.data(), got.data(), size * sizeof(double)) == 0) return true;
  std::printf("FAILED %s\n", choice.text().c_str());
  for (std::size_t i = 0; i < size && choice.wide; ++i)
    if (std::memcmp(&expected[i], &got[i], sizeof(double)) != 0)
      std::printf("matrix %zu, feature %d: %a instead of %a\n", i / static_cast<std::size_t>(feature_count),
                  static_cast<int>(choice.features[i % static_cast<std::size_t>(feature_count)]), got[i], expected[i]);
  return false;
}

}  // namespace

IUSCORE_MAIN main(int count, char** values) {
  if (count != 4) return std::puts("usage: run_glcm_features CASES LARGEST_BLOCK SEED"), 2;
  const unsigned cases = static_cast<unsigned>(std::atoi(values[1]));
  Random random(static_cast<unsigned>(std::atoi(values[3])));
  for (unsigned i = 0; i < cases; ++i) {
    Choice choice{draw_pairs(i, std::atoi(values[2]), random), draw_features(random), random() % 3 != 0,
                  random() % 4 == 0};
    if (!equal_features(choice, random)) return 1;
  }
  std::printf("%u cases equal\n", cases);
  return 0;
}
