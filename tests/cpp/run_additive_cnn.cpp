// Runs the CUDA kernel bodies of additive_cnn on the host against plain loops in the same order: equal in every bit.
// Usage: run_additive_cnn CASES LARGEST_BLOCK SEED. Everything is drawn. Exits 1 and names the first difference.

// clang-format off
#include "host_cuda.h"  // must come first: it defines the CUDA keywords used in the .cu
// clang-format on

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "cuda/additive_cnn.cu"

using namespace iuscore;

namespace {

using Random = std::mt19937;
using Floats = std::vector<float>;
template <class T>
struct Aligned {  // to 16 bytes: the kernels load and store 16 bytes at a time
  explicit Aligned(std::int64_t n)
      : memory(static_cast<std::size_t>(n / static_cast<std::int64_t>(16 / sizeof(T)) + 1)) {}
  T* data() { return reinterpret_cast<T*>(memory.data()); }
  T& operator[](std::int64_t i) { return data()[i]; }
  std::vector<CnnVector> memory;
};

int pick(Random& random, std::initializer_list<int> choices) { return choices.begin()[random() % choices.size()]; }

float drawn(Random& random) { return std::uniform_real_distribution<float>(-2.0f, 2.0f)(random); }

Floats drawn(Random& random, std::int64_t count) {
  Floats values(static_cast<std::size_t>(count + 1));  // at least one element, so data() is never null
  for (float& value : values) value = drawn(random);
  return values;
}

unsigned threads_of(Random& random, int largest) {
  return static_cast<unsigned>(std::min(pick(random, {32, 64, 128}), largest));
}

bool same(const char* kernel, std::int64_t at, float got, float expected) {
  if (bits_of(got) == bits_of(expected) || (got != got && expected != expected)) return true;
  std::printf("FAILED %s: value %lld is %a instead of %a\n", kernel, static_cast<long long>(at), got, expected);
  return false;
}

float rounded(float value) { return f16_to_float(float_to_f16(value)); }

bool first(int largest, Random& random) {
  CnnFirstArgs args{};
  args.batch = pick(random, {1, 2, 3}), args.groups = pick(random, {1, 2, 4});
  args.height = pick(random, {1, 2, 5}), args.width = pick(random, {1, 3, 31, 32, 33, 70});
  args.channels = kCnnLanes * pick(random, {1, 2, 3});
  args.stride_row = args.width + pick(random, {0, 3});
  args.stride_group = args.height * args.stride_row, args.stride_image = args.groups * args.stride_group + 1;
  Floats maps = drawn(random, args.batch * args.stride_image);
  if (random() % 3 == 0) maps[random() % maps.size()] = std::array<float, 3>{INFINITY, NAN, 1e6f}[random() % 3];
  Aligned<float> kernels(args.groups * 9 * args.channels), bias(args.groups * args.channels);
  for (std::int64_t i = 0; i < args.groups * 9 * args.channels; ++i) kernels[i] = drawn(random);
  for (std::int64_t i = 0; i < args.groups * args.channels; ++i) bias[i] = drawn(random);
  if (random() % 4 == 0) (random() % 2 ? kernels : bias)[0] = NAN;
  const std::int64_t images = std::int64_t{args.batch} * args.groups;
  const std::int64_t size = images * args.height * args.width * args.channels;
  Aligned<std::uint16_t> out(size);
  std::vector<std::int32_t> nonfinite(static_cast<std::size_t>(images), 0);
  args.maps = maps.data(), args.kernels = kernels.data(), args.bias = bias.data(), args.out = out.data();
  args.nonfinite = nonfinite.data();
  const unsigned threads = threads_of(random, largest);
  const auto blocks = images * cnn_blocks_of_image(args.height, args.width, args.channels, kCnnRun, threads);
  host_cuda::launch(additive_cnn_first_kernel, {static_cast<unsigned>(blocks)}, {threads}, 0, args);
  std::vector<bool> wrong(static_cast<std::size_t>(images));
  for (std::int64_t at = 0; at < size; ++at) {
    const std::int64_t c = at % args.channels, x = at / args.channels % args.width;
    const std::int64_t y = at / args.channels / args.width % args.height;
    const std::int64_t image = at / args.channels / args.width / args.height;
    const std::int64_t g = image / args.batch;
    const float* map = args.maps + image % args.batch * args.stride_image + g * args.stride_group;
    float sum = bias[g * args.channels + c];
    for (int t = 0; t < 9; ++t) {
      const std::int64_t row = y + t / 3 - 1, column = x + t % 3 - 1;
      const bool inside = row >= 0 && row < args.height && column >= 0 && column < args.width;
      sum = multiply_add(kernels[(g * 9 + t) * args.channels + c], inside ? map[row * args.stride_row + column] : 0.0f,
                         sum);
    }
    wrong[static_cast<std::size_t>(image)] = wrong[static_cast<std::size_t>(image)] || !(sum <= kMaxHalf);
    if (!same("first", at, f16_to_float(out[at]), rounded(relu(sum)))) return false;
  }
  for (std::int64_t image = 0; image < images; ++image) {
    const float* map = args.maps + image % args.batch * args.stride_image + image / args.batch * args.stride_group;
    bool finite = !wrong[static_cast<std::size_t>(image)];
    for (std::int64_t i = 0; i < args.height * args.width; ++i)
      finite &= std::isfinite(map[i / args.width * args.stride_row + i % args.width]);
    if (!same("first, nonfinite", image, static_cast<float>(nonfinite[static_cast<std::size_t>(image)]),
              finite ? 0.0f : 1.0f))
      return false;
  }
  return true;
}

bool epilogue(int largest, Random& random) {
  CnnEpilogueArgs args{};
  const bool pooled = random() % 3 != 0;
  args.images = pick(random, {1, 2, 3});
  args.height = pick(random, {2, 3, 6}), args.width = pick(random, {2, 3, 15, 16, 17, 34});
  args.channels = kCnnLanes * pick(random, {1, 2, 3}), args.used = args.channels - pick(random, {0, 1, 7});
  Floats bias = drawn(random, args.used), mean = drawn(random, args.used), weight = drawn(random, args.used);
  Floats shift = drawn(random, args.used), variance = drawn(random, args.used);
  for (float& value : variance) value = std::fabs(value);
  if (random() % 4 == 0) (*std::array{&bias, &mean, &weight, &shift, &variance}[random() % 5])[0] = NAN;
  const std::int64_t row = std::int64_t{args.width} * args.channels;
  const std::int64_t size = args.images * args.height * row;
  Aligned<std::uint16_t> in(size), out(size);
  for (std::int64_t i = 0; i < size; ++i) in[i] = float_to_f16(drawn(random));
  if (random() % 3 == 0)
    in[static_cast<std::int64_t>(random() % size) / args.channels * args.channels] = 0x7c00;  // inf
  std::vector<std::int32_t> nonfinite(static_cast<std::size_t>(args.images), 0), wrong = nonfinite;
  args.nonfinite = nonfinite.data();
  std::vector<std::uint16_t> before(in.data(), in.data() + size);
  args.in = in.data(), args.bias = bias.data(), args.mean = mean.data(), args.variance = variance.data();
  args.weight = random() % 3 ? weight.data() : nullptr, args.shift = random() % 3 ? shift.data() : nullptr;
  args.eps = 1e-3f, args.out = pooled ? out.data() : nullptr;
  const int by = pooled ? 2 : 1, height = args.height / by, width = args.width / by;
  const unsigned threads = threads_of(random, largest);
  const auto blocks =
      static_cast<unsigned>(args.images * cnn_blocks_of_image(height, width, args.channels, kCnnPoolRun, threads));
  host_cuda::launch(pooled ? additive_cnn_pool_kernel : additive_cnn_rectify_kernel, {blocks}, {threads}, 0, args);
  const auto value = [&](std::int64_t i) { return f16_to_float(before[static_cast<std::size_t>(i)]); };
  for (std::int64_t at = 0; at < args.images * height * width * args.channels; ++at) {
    const std::int64_t c = at % args.channels, x = at / args.channels % width, y = at / args.channels / width % height;
    const std::int64_t from =
        ((at / args.channels / width / height) * args.height + by * y) * row + by * x * args.channels + c;
    const auto k = static_cast<std::size_t>(c);
    float expected = 0.0f;  // of a padding channel, after pooling
    if (!pooled) {
      expected = relu(value(from) + (c < args.used ? bias[k] : 0.0f));
    } else if (c < args.used) {
      const float most =
          std::max({value(from), value(from + args.channels), value(from + row), value(from + row + args.channels)});
      const float scale = (args.weight ? weight[k] : 1.0f) / std::sqrt(variance[k] + args.eps);
      const float offset = (args.shift ? shift[k] : 0.0f) - mean[k] * scale;
      expected = multiply_add(relu(most + bias[k]), scale, offset);
    }
    if (!(std::fabs(expected) <= kMaxHalf)) wrong[static_cast<std::size_t>(from / row / args.height)] = 1;
    if (!same(pooled ? "pool" : "rectify", at, f16_to_float((pooled ? out : in)[at]), rounded(expected))) return false;
  }
  if (nonfinite == wrong) return true;
  std::puts("FAILED epilogue: what has no place in float16 was not noticed");
  return false;
}

// Evidence of one map, added in the same order as in the kernels.
Floats heads_of(CnnHeadsArgs& args, std::int64_t g, std::int64_t image) {
  const std::int64_t padded = cnn_units_in_fours(args.units[0]), slices = cnn_slices(args.terms);
  const std::int64_t steps = (args.terms + kCnnStep - 1) / kCnnStep;
  const float* rest = args.rest + g * args.rest_floats;
  Floats values;
  for (int layer = 0; layer < args.n_linears; ++layer) {
    const std::int64_t units = args.units[layer], terms = layer == 0 ? 0 : args.units[layer - 1];
    const float* bias = rest + terms * units;
    Floats next;
    for (std::int64_t u = 0; u < units; ++u) {
      float sum = bias[u];
      for (std::int64_t s = 0; layer == 0 && s < slices; ++s) {
        float lanes[kWarpSize] = {};
        for (std::int64_t t = s * steps / slices * kCnnStep;
             t < std::min((s + 1) * steps / slices * kCnnStep, args.terms); ++t)
          lanes[t / kCnnLanes % kWarpSize] = multiply_add(
              f16_to_float(args.weights[(g * padded + u) * args.terms + t]),
              f16_to_float(args.features[(g * args.batch + image) * args.terms + t]), lanes[t / kCnnLanes % kWarpSize]);
        for (int half = kWarpSize / 2; half > 0; half /= 2)
          for (int lane = 0; lane < half; ++lane) lanes[lane] = lanes[lane] + lanes[lane + half];
        sum = sum + lanes[0];
      }
      for (std::int64_t k = 0; k < terms; ++k)
        sum = multiply_add(rest[k * units + u], values[static_cast<std::size_t>(k)], sum);
      next.push_back(layer + 1 < args.n_linears ? relu(sum) : canonical_nan(sum));
    }
    values = next;
    rest = bias + units;
  }
  return values;
}

bool heads(int largest, Random& random) {
  CnnHeadsArgs args{};
  args.batch = pick(random, {1, 7, 8, 9}), args.groups = pick(random, {1, 2, 3});
  args.terms = pick(random, {8, 16, 248, 256, 264, 1032, 2304}), args.n_linears = pick(random, {1, 2, 3, 4});
  args.rest_floats = 0;
  for (int i = 0; i < args.n_linears; ++i) {
    args.units[i] = pick(random, {1, 2, 4, 5, 33});
    args.rest_floats += (i == 0 ? 1 : args.units[i - 1] + 1) * args.units[i];
  }
  const std::int64_t padded = cnn_units_in_fours(args.units[0]), maps = std::int64_t{args.batch} * args.groups;
  Aligned<std::uint16_t> features(maps * args.terms), weights(args.groups * padded * args.terms);
  for (std::int64_t i = 0; i < maps * args.terms; ++i) features[i] = float_to_f16(drawn(random));
  for (std::int64_t i = 0; i < args.groups * padded * args.terms; ++i) weights[i] = float_to_f16(drawn(random));
  const Floats rest = drawn(random, args.groups * args.rest_floats);
  std::vector<std::int32_t> nonfinite(static_cast<std::size_t>(maps), 0);
  if (random() % 2) nonfinite[random() % nonfinite.size()] = 1;
  Floats sums(static_cast<std::size_t>(cnn_slices(args.terms) * maps * padded), NAN);
  Floats evidence(static_cast<std::size_t>(maps * args.units[args.n_linears - 1]), 77.0f);
  args.features = features.data(), args.weights = weights.data(), args.rest = rest.data();
  args.nonfinite = nonfinite.data(), args.sums = sums.data(), args.evidence = evidence.data();
  const unsigned threads = threads_of(random, largest);
  const auto tiles = static_cast<unsigned>(args.groups * ((args.batch + kCnnRows - 1) / kCnnRows));
  host_cuda::launch(additive_cnn_dense_kernel, {tiles * static_cast<unsigned>(cnn_slices(args.terms))}, {threads}, 0,
                    args);
  host_cuda::launch(additive_cnn_finish_kernel, {static_cast<unsigned>(maps)}, {threads},
                    2 * kMaxCnnUnits * sizeof(float), args);
  for (std::int64_t g = 0; g < args.groups; ++g)
    for (std::int64_t image = 0; image < args.batch; ++image) {
      const Floats expected = heads_of(args, g, image);
      const bool is_broken = nonfinite[static_cast<std::size_t>(g * args.batch + image)] != 0;
      for (std::size_t u = 0; u < expected.size(); ++u) {
        const std::size_t at = static_cast<std::size_t>(image * args.groups + g) * expected.size() + u;
        if (!same("heads", static_cast<std::int64_t>(at), evidence[at], is_broken ? NAN : expected[u])) return false;
      }
    }
  return true;
}

}  // namespace

IUSCORE_MAIN main(int count, char** values) {
  if (count != 4) return std::puts("usage: run_additive_cnn CASES LARGEST_BLOCK SEED"), 2;
  const int cases = std::atoi(values[1]), largest = std::atoi(values[2]);
  Random random(static_cast<unsigned>(std::atoi(values[3])));
  for (int i = 0; i < cases; ++i)
    if (!(i % 3 == 0 ? first : i % 3 == 1 ? epilogue : heads)(largest, random)) return 1;
  std::printf("%d cases equal\n", cases);
  return 0;
}
