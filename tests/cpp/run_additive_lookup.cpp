// Runs the CUDA kernel body of additive_lookup on the host against the CPU op: equal in every bit.
// Usage: run_additive_lookup CASES LARGEST_BLOCK SEED. Everything is drawn. Exits 1 and names the first difference.

// clang-format off
#include "host_cuda.h"  // must come first: it defines the CUDA keywords used in the .cu
// clang-format on

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "cuda/additive_lookup.cu"

using namespace iuscore;

namespace {

using Random = std::mt19937;
using Floats = std::vector<float>;

int pick(Random& random, std::initializer_list<int> choices) { return choices.begin()[random() % choices.size()]; }

Floats drawn(Random& random, std::int64_t count, double low, double high) {
  std::uniform_real_distribution<double> uniform(low, high);
  Floats values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(uniform(random));
  return values;
}

bool equal_bits(int largest_block, Random& random) {
  AdditiveLookupArgs args{};
  args.rows = pick(random, {0, 1, 2, 31, 63, 64, 65, 130});
  args.groups = pick(random, {1, 2, 31, 32, 33, 40});
  args.knots = pick(random, {2, 3, 17, 100});
  args.outputs = pick(random, {1, 1, 2, 5});
  const std::int64_t gap = pick(random, {1, 1, 2});
  args.stride_group = random() % 4 == 0 ? std::max<std::int64_t>(args.rows, 1) * gap : gap;
  args.stride_row = args.stride_group == gap ? args.groups * gap : gap;
  // Values beyond both ends of the tables, which are 4 to 16 wide; some are not finite.
  Floats x = drawn(random, std::max<std::int64_t>(1, args.rows * args.groups * gap), -12.0, 12.0);
  for (float& value : x)
    if (random() % 50 == 0)
      value = static_cast<float>(pick(random, {0, 1}) ? NAN : random() % 2 ? INFINITY : -INFINITY);
  const Floats values = drawn(random, std::int64_t{args.groups} * args.knots * args.outputs, -1.0, 1.0);
  const Floats low = drawn(random, args.groups, -8.0, -2.0);
  const Floats scale = drawn(random, args.groups, (args.knots - 1) / 16.0, (args.knots - 1) / 4.0);
  args.x = x.data(), args.values = values.data(), args.low = low.data(), args.scale = scale.data();
  const auto size = static_cast<std::size_t>(args.rows * args.groups * args.outputs);
  const auto sums = static_cast<std::size_t>(args.rows * args.outputs);
  Floats expected(size + sums + 1, 77.0f);  // at least one element, so data() is never null
  Floats got = expected;
  args.contributions = expected.data(), args.total = expected.data() + size;
  additive_lookup_cpu(args, 1);
  args.contributions = got.data(), args.total = got.data() + size;
  const auto threads = static_cast<unsigned>(std::min(pick(random, {32, 32, 64, 128}), largest_block));
  const auto blocks = static_cast<unsigned>((args.rows + kLookupRows - 1) / kLookupRows);
  if (blocks > 0) host_cuda::launch(additive_lookup_kernel, {blocks}, {threads}, 0, args);
  if (std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0) return true;
  std::size_t at = 0;
  while (std::memcmp(&got[at], &expected[at], sizeof(float)) == 0) ++at;
  std::printf("FAILED %lld rows, %d groups, %d knots, C %d, %u threads: value %zu is %a instead of %a\n",
              static_cast<long long>(args.rows), args.groups, args.knots, args.outputs, threads, at, got[at],
              expected[at]);
  return false;
}

}  // namespace

IUSCORE_MAIN main(int count, char** values) {
  if (count != 4) return std::puts("usage: run_additive_lookup CASES LARGEST_BLOCK SEED"), 2;
  const int cases = std::atoi(values[1]);
  Random random(static_cast<unsigned>(std::atoi(values[3])));
  for (int i = 0; i < cases; ++i)
    if (!equal_bits(std::atoi(values[2]), random)) return 1;
  std::printf("%d cases equal\n", cases);
  return 0;
}
