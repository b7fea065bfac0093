// maps: (address, B, G, height, width), float32 and contiguous. channels: of every convolution, the first included.
// pooled, narrow: of every one, whether pooling follows, and whether its kernels are 16-bit integers; not of the first.
// units: outputs of every linear layer. buffers: (address, values) of the packed parts in the order of
// csrc/ops/additive_cnn.h: kernels and bias of the first convolution; kernels, bias, scale and shift (address 0 where
// there is no pooling) of the others; weights and bias of the linear layers.
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/module.h"
#include "ops/additive_cnn.h"

namespace py = pybind11;

namespace iuscore {
namespace {

using CnnMaps = std::tuple<std::uintptr_t, std::int64_t, std::int32_t, std::int64_t, std::int64_t>;
using CnnBuffers = std::vector<std::tuple<std::uintptr_t, std::int64_t>>;

std::int64_t in_vectors(std::int64_t n) { return (n + kCnnVector - 1) / kCnnVector * kCnnVector; }

// Gives out the buffers one after another, each with as many values as are expected there.
class Reader {
 public:
  explicit Reader(const CnnBuffers& buffers) : buffers_(buffers) {}

  template <class T>
  const T* next(std::int64_t values, const char* name) {
    if (next_ == buffers_.size()) throw py::value_error("buffers: too few");
    const auto [address, found] = buffers_[next_++];
    if (found != values)
      throw py::value_error("buffers: expected " + std::to_string(values) + " values of " + name + ", got " +
                            std::to_string(found));
    if (values > 0 && (address == 0 || address % alignof(T) != 0))
      throw py::value_error("buffers: null or misaligned address of " + std::string(name));
    return reinterpret_cast<const T*>(address);
  }

  void end() const {
    if (next_ != buffers_.size()) throw py::value_error("buffers: too many");
  }

 private:
  const CnnBuffers& buffers_;
  std::size_t next_ = 0;
};

void check_sizes(const std::vector<std::int32_t>& sizes, const char* name, std::size_t least) {
  const bool good = std::all_of(sizes.begin(), sizes.end(), [](std::int32_t n) { return n >= 1 && n <= (1 << 20); });
  if (sizes.size() < least || !good)
    throw py::value_error(std::string(name) + ": expected at least " + std::to_string(least) + " numbers of 1..2^20");
}

// What args points to besides the buffers.
struct Layers {
  std::vector<CnnConvolution> convolutions;
  std::vector<CnnLinear> linears;
};

void read_convolutions(AdditiveCnnArgs& args, const std::vector<std::int32_t>& channels,
                       const std::vector<bool>& pooled, const std::vector<bool>& narrow, Reader& reader,
                       Layers& layers) {
  const std::int64_t g = args.groups;
  args.channels = channels[0];
  args.first_kernels = reader.next<float>(g * 9 * in_vectors(channels[0]), "the first kernels");
  args.first_bias = reader.next<float>(g * in_vectors(channels[0]), "the first bias");
  for (std::size_t i = 1; i < channels.size(); ++i) {
    const std::int64_t out = in_vectors(channels[i]);
    CnnConvolution layer{};
    layer.in = channels[i - 1];
    layer.out = channels[i];
    layer.pooled = pooled[i];
    layer.narrow = narrow[i];
    layer.step = kCnnPoints * (layer.in + layer.in % 2) * out;
    layer.kernels = layer.narrow ? static_cast<const void*>(reader.next<std::int16_t>(g * layer.step, "kernels"))
                                 : static_cast<const void*>(reader.next<float>(g * layer.step, "kernels"));
    layer.unit = reader.next<float>(layer.narrow ? g * kCnnPoints * out : 0, "units");
    layer.bias = reader.next<float>(g * out, "a bias");
    layer.scale = reader.next<float>(pooled[i] ? g * out : 0, "a scale");
    layer.shift = reader.next<float>(pooled[i] ? g * out : 0, "a shift");
    layers.convolutions.push_back(layer);
  }
}

void read_linears(AdditiveCnnArgs& args, const std::vector<std::int32_t>& units, std::int64_t features, Reader& reader,
                  Layers& layers) {
  for (const std::int32_t out : units) {
    const std::int64_t panel = args.groups * in_vectors(out);
    layers.linears.push_back(
        {features, out, reader.next<float>(panel * features, "weights"), reader.next<float>(panel, "a linear bias")});
    features = out;
  }
}

void additive_cnn(const CnnMaps& maps, const std::vector<std::int32_t>& channels, const std::vector<bool>& pooled,
                  const std::vector<bool>& narrow, const std::vector<std::int32_t>& units, const CnnBuffers& buffers,
                  std::uintptr_t evidence, std::int32_t threads) {
  AdditiveCnnArgs args{};
  const auto [address, batch, groups, height, width] = maps;
  if (batch < 0 || groups < 1 || height < 1 || width < 1 || height > (1 << 20) || width > (1 << 20))
    throw py::value_error("maps: expected [B, G, height, width] of at least 0, 1, 1, 1");
  check_sizes(channels, "channels", 2);
  check_sizes(units, "units", 1);
  if (pooled.size() != channels.size() || narrow.size() != channels.size() || pooled[0] || narrow[0])
    throw py::value_error("pooled, narrow: expected one a convolution, false for the first");
  const auto pools = std::count(pooled.begin(), pooled.end(), true);
  if (height >> pools < 1 || width >> pools < 1) throw py::value_error("maps: too small for so many poolings");
  if (batch > 0 && (address == 0 || evidence == 0)) throw py::value_error("maps or evidence: null address");
  args.maps = reinterpret_cast<const float*>(address);
  args.batch = batch;
  args.groups = groups;
  args.height = height;
  args.width = width;
  args.evidence = reinterpret_cast<float*>(evidence);
  Layers layers;
  Reader reader(buffers);
  read_convolutions(args, channels, pooled, narrow, reader, layers);
  read_linears(args, units, (height >> pools) * (width >> pools) * in_vectors(channels.back()), reader, layers);
  reader.end();
  args.convolutions = layers.convolutions.data();
  args.n_convolutions = static_cast<std::int32_t>(layers.convolutions.size());
  args.linears = layers.linears.data();
  args.n_linears = static_cast<std::int32_t>(layers.linears.size());
  const py::gil_scoped_release released;
  additive_cnn_cpu(args, std::max(threads, 1));
}

}  // namespace

void bind_additive_cnn(py::module_& module) {
  using namespace py::literals;
  module.def("additive_cnn", &additive_cnn, py::kw_only(), "maps"_a, "channels"_a, "pooled"_a, "narrow"_a, "units"_a,
             "buffers"_a, "evidence"_a, "threads"_a, "Writes [B, G, K] evidence.");
}

}  // namespace iuscore
