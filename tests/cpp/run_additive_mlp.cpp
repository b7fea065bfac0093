// Runs the CUDA kernel bodies of additive_mlp on the host against the CPU op: results and gradients equal in every bit.
// Usage: run_additive_mlp CASES LARGEST_BLOCK SEED. 24 consecutive cases cover every combination of a layout of x, what
// is in shared memory, and whether x needs a gradient; everything else is drawn. Exits 1 and names the first
// difference.

// clang-format off
#include "host_cuda.h"  // must come first: it defines the CUDA keywords used in the .cu
// clang-format on

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "cuda/additive_mlp.cu"

using namespace iuscore;

namespace {

using Random = std::mt19937;
using Floats = std::vector<float>;

int pick(Random& random, std::initializer_list<int> choices) { return choices.begin()[random() % choices.size()]; }

enum class Memory { rows, columns, gaps, backwards };
enum class Chip { everything, no_sums, nothing };

struct Case {
  Memory memory;
  Chip chip;
  bool of_contributions, of_total, of_x, odd;
  int rows, h1, h2, outputs, threads, multiprocessors;
  std::vector<std::int32_t> first_input;

  int groups() const { return static_cast<int>(first_input.size()) - 1; }
  int inputs() const { return first_input.back(); }
  std::string text() const {
    std::string sizes;
    for (int g = 0; g < groups(); ++g) sizes += " " + std::to_string(first_input[g + 1] - first_input[g]);
    char line[300];
    std::snprintf(line, sizeof line,
                  "x %d%s, chip %d, gradients %d %d %d, %d rows, groups%s, hidden %d %d, C %d, %d threads, %d SMs",
                  static_cast<int>(memory), odd ? " not finite" : "", static_cast<int>(chip), of_contributions,
                  of_total, of_x, rows, sizes.c_str(), h1, h2, outputs, threads, multiprocessors);
    return line;
  }
};

Case draw(unsigned index, int largest_block, Random& random) {
  Case c{};
  const auto next = [&](unsigned n) {
    const unsigned digit = index % n;
    index /= n;
    return digit;
  };
  c.memory = static_cast<Memory>(next(4));
  c.chip = static_cast<Chip>(next(3));
  c.of_x = next(2) == 0;
  const unsigned which = random() % 2;
  c.of_contributions = which == 0 || random() % 2 == 0;
  c.of_total = which == 1;
  c.odd = random() % 6 == 0;
  c.rows = pick(random, {0, 1, 3, 31, 32, 33, 64, 65, 70});
  c.h1 = pick(random, {1, 3, 4, 15, 16, 17, 33});
  c.h2 = pick(random, {1, 2, 4, 5, 16, 17, 40});
  c.outputs = pick(random, {1, 1, 2, 4, 6});
  c.threads = std::min(pick(random, {32, 32, 32, 32, 64, 64, 64, 128, 256}), largest_block);
  // One warp works on several chunks of rows.
  if (random() % 16 == 0) c.rows = kGradientRows + pick(random, {0, 1, 70}), c.threads = 32;
  c.multiprocessors = pick(random, {1, 1, 20});
  c.first_input = {0};
  for (int g = 1 + static_cast<int>(random() % 4); g > 0; --g)
    c.first_input.push_back(c.first_input.back() + pick(random, {1, 1, 2, 5, 9, 17}));
  return c;
}

Floats drawn(Random& random, std::int64_t count, double zeros) {
  std::normal_distribution<double> normal(0.0, 0.7);
  Floats values(static_cast<std::size_t>(count));
  for (float& value : values) value = random() / 4294967296.0 < zeros ? 0.0f : static_cast<float>(normal(random));
  return values;
}

// Everything one case reads. The elements between those of x are NaN.
struct Inputs {
  Floats x, w1, b1, w2, b2, w3, b3, of_contributions, of_total;
  AdditiveMlpArgs args{};

  Inputs(const Case& c, Random& random) {
    const std::int64_t f = c.inputs(), g = c.groups();
    w1 = drawn(random, f * c.h1, 0.0);
    b1 = drawn(random, g * c.h1, 0.3);
    w2 = drawn(random, g * c.h1 * c.h2, 0.0);
    b2 = drawn(random, g * c.h2, 0.3);
    w3 = drawn(random, g * c.h2 * c.outputs, 0.0);
    b3 = drawn(random, g * c.outputs, 0.3);
    of_contributions = drawn(random, c.rows * g * c.outputs, 0.1);
    of_total = drawn(random, c.rows * c.outputs, 0.1);
    args.rows = c.rows;
    args.groups = c.groups();
    args.inputs = c.inputs();
    args.first_input = c.first_input.data();
    for (int i = 0; i < c.groups(); ++i)
      args.largest_group = std::max(args.largest_group, c.first_input[i + 1] - c.first_input[i]);
    args.hidden_1 = c.h1;
    args.hidden_2 = c.h2;
    args.outputs = c.outputs;
    args.w1 = w1.data(), args.b1 = b1.data(), args.w2 = w2.data(), args.b2 = b2.data(), args.w3 = w3.data();
    args.b3 = b3.data();
    place_x(c, random);
  }

  void place_x(const Case& c, Random& random) {
    const std::int64_t f = c.inputs(), rows = c.rows;
    if (c.memory == Memory::rows) args.stride_row = f, args.stride_input = 1;
    if (c.memory == Memory::columns) args.stride_row = 1, args.stride_input = rows;
    if (c.memory == Memory::gaps) args.stride_row = 2 * f + 1, args.stride_input = 2;
    if (c.memory == Memory::backwards) args.stride_row = -f, args.stride_input = -1;
    x.assign(static_cast<std::size_t>(std::max<std::int64_t>(1, rows * (2 * f + 1))), NAN);
    const std::int64_t first = c.memory == Memory::backwards && rows > 0 ? rows * f - 1 : 0;
    const Floats values = drawn(random, rows * f, 0.1);
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t k = 0; k < f; ++k)
        x[static_cast<std::size_t>(first + row * args.stride_row + k * args.stride_input)] =
            values[static_cast<std::size_t>(row * f + k)];
    if (c.odd && rows > 0)
      x[static_cast<std::size_t>(first + random() % rows * args.stride_row + random() % f * args.stride_input)] =
          random() % 2 ? NAN : INFINITY;
    args.x = x.data() + first;
  }
};

struct Results {
  Floats contributions, total, x, w1, b1, w2, b2, w3, b3;

  Results(const Case& c, const Inputs& in)
      : contributions(in.of_contributions.size(), 77.0f),
        total(in.of_total.size(), 77.0f),
        x(static_cast<std::size_t>(c.rows * c.inputs()), 77.0f),
        w1(in.w1.size(), 77.0f),
        b1(in.b1.size(), 77.0f),
        w2(in.w2.size(), 77.0f),
        b2(in.b2.size(), 77.0f),
        w3(in.w3.size(), 77.0f),
        b3(in.b3.size(), 77.0f) {}

  AdditiveMlpArgs forward(const Inputs& in) {
    AdditiveMlpArgs args = in.args;
    args.contributions = contributions.data();
    args.total = total.data();
    return args;
  }
  AdditiveMlpGradients backward(const Case& c, const Inputs& in) {
    return {c.of_contributions ? in.of_contributions.data() : nullptr,
            c.of_total ? in.of_total.data() : nullptr,
            c.of_x ? x.data() : nullptr,
            w1.data(),
            b1.data(),
            w2.data(),
            b2.data(),
            w3.data(),
            b3.data()};
  }
};

// Processors make NaN with different bits; contributions and totals always have the same NaN.
bool same(const char* name, const Floats& got, const Floats& expected, bool any_nan) {
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::memcmp(&got[i], &expected[i], sizeof(float)) == 0) continue;
    if (any_nan && std::isnan(got[i]) && std::isnan(expected[i])) continue;
    std::printf("%s %zu of %zu: %a instead of %a\n", name, i, got.size(), got[i], expected[i]);
    return false;
  }
  return true;
}

std::int64_t shared_limit(const Case& c, const AdditiveMlpCudaArgs& args, std::int64_t sums) {
  const std::int64_t values = additive_tile_layout(args, 1 << 20, sums).value_floats;
  if (c.chip == Chip::everything) return 227 * 1024;
  return static_cast<std::int64_t>(sizeof(float)) * (kSlabs * kSlabFloats + (c.chip == Chip::no_sums ? values : 0));
}

// The launcher of csrc/cuda/additive_mlp.cu, with the host as the device.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), std::int64_t blocks, std::int32_t threads, std::int64_t shared_bytes,
            const Arguments&... arguments) {
  if (blocks > 0)
    host_cuda::launch(kernel, {static_cast<unsigned>(blocks)}, {static_cast<unsigned>(threads)},
                      static_cast<std::size_t>(shared_bytes), arguments...);
}

void forward_on_host(const Case& c, const AdditiveMlpCudaArgs& args) {
  const AdditiveMlpLayout layout = additive_mlp_layout(args, shared_limit(c, args, 0), c.multiprocessors);
  std::vector<Four<float>> workspace(static_cast<std::size_t>(additive_workspace(layout) / 4 + 1),
                                     {NAN, NAN, NAN, NAN});
  float* const memory = workspace[0].values;
  launch(additive_mlp_kernel_of(layout), least(layout.blocks, 3), layout.threads, layout.shared_bytes, args.mlp, layout,
         memory);
  if (layout.slices != 1) launch(additive_mlp_total_kernel, 2, 32, 0, args.mlp);
}

void backward_on_host(const Case& c, const AdditiveMlpCudaArgs& args, const AdditiveMlpGradients& gradients) {
  AdditiveMlpLayout layout =
      additive_mlp_backward_layout(args, shared_limit(c, args, additive_sums(args.mlp)), c.multiprocessors);
  const std::int64_t chunks = ceil_div(args.mlp.rows, kGradientRows);
  layout.chunks_at_once = least(1, chunks);  // so that sums are added in several steps
  layout.items = layout.chunks_at_once * args.mlp.groups;
  std::vector<Four<float>> workspace(static_cast<std::size_t>(additive_workspace(layout) / 4 + 1),
                                     {NAN, NAN, NAN, NAN});
  float* const memory = workspace[0].values;
  for (std::int64_t chunk = 0; chunk == 0 || chunk < chunks; ++chunk) {
    launch(additive_mlp_backward_kernel_of(layout), least(layout.blocks, least(layout.items, 2)), layout.threads,
           layout.shared_bytes, args.mlp, gradients, layout, chunk, memory);
    launch(additive_mlp_add_kernel, 2, 32, 0, args.mlp, gradients, static_cast<const float*>(memory), layout.sum_floats,
           layout.chunks_at_once, chunk == 0);
  }
}

bool equal_bits(const Case& c, Random& random) {
  const Inputs in(c, random);
  Results expected(c, in);
  Results got(c, in);
  additive_mlp_cpu(expected.forward(in), 1);
  additive_mlp_backward_cpu(expected.forward(in), expected.backward(c, in), 1);
  const AdditiveMlpCudaArgs args{got.forward(in), nullptr, 0, 0, c.threads};
  forward_on_host(c, args);
  backward_on_host(c, args, got.backward(c, in));
  const bool equal = same("contribution", got.contributions, expected.contributions, false) &&
                     same("total", got.total, expected.total, false) && same("of x", got.x, expected.x, true) &&
                     same("of w1", got.w1, expected.w1, true) && same("of b1", got.b1, expected.b1, true) &&
                     same("of w2", got.w2, expected.w2, true) && same("of b2", got.b2, expected.b2, true) &&
                     same("of w3", got.w3, expected.w3, true) && same("of b3", got.b3, expected.b3, true);
  if (!equal) std::printf("FAILED %s\n", c.text().c_str());
  return equal;
}

}  // namespace

IUSCORE_MAIN main(int count, char** values) {
  if (count != 4) return std::puts("usage: run_additive_mlp CASES LARGEST_BLOCK SEED"), 2;
  const unsigned cases = static_cast<unsigned>(std::atoi(values[1]));
  Random random(static_cast<unsigned>(std::atoi(values[3])));
  for (unsigned i = 0; i < cases; ++i)
    if (!equal_bits(draw(i, std::atoi(values[2]), random), random)) return 1;
  std::printf("%u cases equal\n", cases);
  return 0;
}
