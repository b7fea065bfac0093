// The op `additive_cnn`: csrc/ops/additive_cnn.h.
//
// On the CPU one call does it all. maps: (address, B, G, height, width), float32 and contiguous. channels: of every
// convolution. pooled, int16: of every convolution, whether pooling follows, and whether its kernels are 16-bit
// integers; false for the first one. units: outputs of every linear layer. buffers: (address, number of values) of each
// packed part, in this order: kernels and bias of the first convolution; kernels, unit, bias, scale and shift of every
// other one (address 0 for a part that it does not have); weights and bias of every linear layer.
//
// On a GPU each step between cuDNN's convolutions is a call.
#include "ops/additive_cnn.h"

#include <algorithm>
#include <tuple>

#include "bindings/arguments.h"
#include "bindings/module.h"

namespace py = pybind11;

namespace iuscore {
namespace {

#if !defined(IUSCORE_CUDA_MODULE)

using CnnMaps = std::tuple<std::uintptr_t, std::int64_t, std::int32_t, std::int64_t, std::int64_t>;
using CnnBuffers = std::vector<std::tuple<std::uintptr_t, std::int64_t>>;

std::int64_t in_vectors(std::int64_t n) { return (n + kCnnVector - 1) / kCnnVector * kCnnVector; }

// Hands out the buffers one after another, and checks the number of values of each.
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

// Layers that args points to.
struct Layers {
  std::vector<CnnConvolution> convolutions;
  std::vector<CnnLinear> linears;
};

void read_convolutions(AdditiveCnnArgs& args, const std::vector<std::int32_t>& channels,
                       const std::vector<bool>& pooled, const std::vector<bool>& quantized, Reader& reader,
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
    layer.quantized = quantized[i];
    layer.step = kCnnPoints * (layer.in + layer.in % 2) * out;
    layer.kernels = layer.quantized ? static_cast<const void*>(reader.next<std::int16_t>(g * layer.step, "kernels"))
                                    : static_cast<const void*>(reader.next<float>(g * layer.step, "kernels"));
    layer.unit = reader.next<float>(layer.quantized ? g * kCnnPoints * out : 0, "units");
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
                  const std::vector<bool>& quantized, const std::vector<std::int32_t>& units, const CnnBuffers& buffers,
                  std::uintptr_t evidence, std::int32_t threads) {
  AdditiveCnnArgs args{};
  const auto [address, batch, groups, height, width] = maps;
  if (batch < 0 || groups < 1 || height < 1 || width < 1 || height > (1 << 20) || width > (1 << 20))
    throw py::value_error("maps: expected [B, G, height, width] of at least 0, 1, 1, 1");
  check_sizes(channels, "channels", 2);
  check_sizes(units, "units", 1);
  if (pooled.size() != channels.size() || quantized.size() != channels.size() || pooled[0] || quantized[0])
    throw py::value_error("pooled, quantized: expected one a convolution, false for the first");
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
  read_convolutions(args, channels, pooled, quantized, reader, layers);
  read_linears(args, units, (height >> pools) * (width >> pools) * in_vectors(channels.back()), reader, layers);
  reader.end();
  args.convolutions = layers.convolutions.data();
  args.n_convolutions = static_cast<std::int32_t>(layers.convolutions.size());
  args.linears = layers.linears.data();
  args.n_linears = static_cast<std::int32_t>(layers.linears.size());
  const py::gil_scoped_release released;
  additive_cnn_cpu(args, std::max(threads, 1));
}

#else  // _cuda

using Address = std::uintptr_t;
// Address, then batch, G, height, width, then strides of images, maps and rows in elements.
using CnnMaps = std::tuple<Address, std::int32_t, std::int32_t, std::int32_t, std::int32_t, std::int64_t, std::int64_t,
                           std::int64_t>;
// Address, then images, height, width, channels.
using CnnValues = std::tuple<Address, std::int64_t, std::int32_t, std::int32_t, std::int32_t>;
// Address, then G, batch, terms.
using CnnFeatures = std::tuple<Address, std::int32_t, std::int32_t, std::int64_t>;

float* floats(Address value, const char* name, std::size_t alignment = alignof(float)) {
  return checked_address<float>(value, name, alignment);
}

std::uint16_t* halves(Address value, const char* name) { return checked_address<std::uint16_t>(value, name, 16); }

// So that the number of blocks fits 31 bits, and the number of elements 63.
void check_sizes(std::int64_t images, std::int64_t height, std::int64_t width, std::int32_t channels) {
  if (images < 0 || height < 1 || width < 1) throw py::value_error("expected at least 0 images of 1 x 1 pixels");
  if (channels < kCnnLanes || channels % kCnnLanes != 0 || channels > (1 << 20))
    throw py::value_error("channels: expected a multiple of 8 of 8..2^20, got " + std::to_string(channels));
  constexpr std::int64_t kMax = std::numeric_limits<std::int32_t>::max();
  if (images > kMax || height * width > kMax || images * (height * width) > kMax / (channels / kCnnLanes))
    throw py::value_error("too many values at a time: split the batch");
}

void first(std::int32_t device, Address stream, const CnnMaps& maps, std::int32_t channels, Address kernels,
           Address bias, Address out, Address nonfinite) {
  CnnFirstArgs args{};
  Address values = 0;
  std::tie(values, args.batch, args.groups, args.height, args.width, args.stride_image, args.stride_group,
           args.stride_row) = maps;
  if (args.groups < 1) throw py::value_error("maps: expected at least 1 map an image");
  check_sizes(std::int64_t{args.batch} * args.groups, args.height, args.width, channels);
  if (args.batch == 0) return;
  args.maps = floats(values, "maps");
  args.channels = channels;
  args.kernels = floats(kernels, "kernels", 16);
  args.bias = floats(bias, "bias", 16);
  args.out = halves(out, "out");
  args.nonfinite = checked_address<std::int32_t>(nonfinite, "nonfinite");
  const py::gil_scoped_release released;
  additive_cnn_first_cuda(args, device, reinterpret_cast<void*>(stream));
}

CnnEpilogueArgs epilogue_args(const CnnValues& values, std::int32_t used, Address bias, Address nonfinite) {
  CnnEpilogueArgs args{};
  Address in = 0;
  std::tie(in, args.images, args.height, args.width, args.channels) = values;
  check_sizes(args.images, args.height, args.width, args.channels);
  if (used < 1 || used > args.channels) throw py::value_error("used: expected at least 1, at most channels");
  args.used = used;
  if (args.images == 0) return args;
  args.in = halves(in, "values");
  args.bias = floats(bias, "bias");
  args.nonfinite = checked_address<std::int32_t>(nonfinite, "nonfinite");
  return args;
}

void rectify(std::int32_t device, Address stream, const CnnValues& values, std::int32_t used, Address bias,
             Address nonfinite) {
  const CnnEpilogueArgs args = epilogue_args(values, used, bias, nonfinite);
  const py::gil_scoped_release released;
  additive_cnn_epilogue_cuda(args, device, reinterpret_cast<void*>(stream));
}

void pool(std::int32_t device, Address stream, const CnnValues& values, std::int32_t used, Address bias, Address mean,
          Address variance, Address weight, Address shift, float eps, Address out, Address nonfinite) {
  CnnEpilogueArgs args = epilogue_args(values, used, bias, nonfinite);
  if (args.height < 2 || args.width < 2) throw py::value_error("values: expected at least 2 x 2 pixels");
  if (args.images == 0) return;
  args.mean = floats(mean, "mean");
  args.variance = floats(variance, "variance");
  args.weight = weight == 0 ? nullptr : floats(weight, "weight");
  args.shift = shift == 0 ? nullptr : floats(shift, "shift");
  args.eps = eps;
  args.out = halves(out, "out");
  const py::gil_scoped_release released;
  additive_cnn_epilogue_cuda(args, device, reinterpret_cast<void*>(stream));
}

CnnHeadsArgs heads_sizes(std::int32_t groups, std::int32_t batch, std::int64_t terms,
                         const std::vector<std::int32_t>& units) {
  CnnHeadsArgs args{};
  if (batch < 0 || groups < 1 || std::int64_t{batch} * groups > (1 << 24))
    throw py::value_error("features: expected at least 1 map of at least 0 images, at most 2^24 of them");
  if (terms < kCnnLanes || terms % kCnnLanes != 0)
    throw py::value_error("terms: expected a multiple of 8, got " + std::to_string(terms));
  const bool good = std::all_of(units.begin(), units.end(), [](auto n) { return n >= 1 && n <= kMaxCnnUnits; });
  if (units.empty() || units.size() > kMaxCnnLinears || !good)
    throw py::value_error("units: expected 1..8 numbers of 1..4096");
  args.batch = batch;
  args.groups = groups;
  args.terms = terms;
  args.n_linears = static_cast<std::int32_t>(units.size());
  std::copy(units.begin(), units.end(), args.units);
  return args;
}

std::int64_t heads_workspace(std::int32_t groups, std::int32_t batch, std::int64_t terms,
                             const std::vector<std::int32_t>& units) {
  return additive_cnn_heads_workspace(heads_sizes(groups, batch, terms, units));
}

// rest: address and floats of one network.
void heads(std::int32_t device, Address stream, const CnnFeatures& features, const std::vector<std::int32_t>& units,
           Address weights, const std::tuple<Address, std::int64_t>& rest, Address nonfinite, Address sums,
           Address evidence) {
  const auto [values, groups, batch, terms] = features;
  CnnHeadsArgs args = heads_sizes(groups, batch, terms, units);
  args.rest_floats = units[0];
  for (std::size_t i = 1; i < units.size(); ++i) args.rest_floats += (units[i - 1] + std::int64_t{1}) * units[i];
  if (std::get<1>(rest) != args.rest_floats)
    throw py::value_error("rest: expected " + std::to_string(args.rest_floats) + " values a network, got " +
                          std::to_string(std::get<1>(rest)));
  if (batch == 0) return;
  args.features = halves(values, "features");
  args.weights = halves(weights, "weights");
  args.rest = floats(std::get<0>(rest), "rest");
  args.nonfinite = checked_address<std::int32_t>(nonfinite, "nonfinite");
  args.sums = floats(sums, "sums");
  args.evidence = floats(evidence, "evidence");
  const py::gil_scoped_release released;
  additive_cnn_heads_cuda(args, device, reinterpret_cast<void*>(stream));
}

#endif

}  // namespace

void bind_additive_cnn(py::module_& module) {
  using namespace py::literals;
#if !defined(IUSCORE_CUDA_MODULE)
  export_limit(module, "CNN_VECTOR", kCnnVector);
  export_limit(module, "CNN_PANEL", kCnnPanel);
  export_limit(module, "CNN_MAX_PATCH", kCnnMaxPatch);
  export_limit(module, "CNN_LANES", kCnnLanes);
  export_limit(module, "CNN_UNITS", kCnnUnits);
  export_limit(module, "CNN_MAX_LINEARS", kMaxCnnLinears);
  export_limit(module, "CNN_MAX_UNITS", kMaxCnnUnits);
  module.def("additive_cnn", &additive_cnn, py::kw_only(), "maps"_a, "channels"_a, "pooled"_a, "quantized"_a, "units"_a,
             "buffers"_a, "evidence"_a, "threads"_a, "Writes [B, G, K] evidence.");
#else
  module.def("additive_cnn_first", &first, py::kw_only(), "device"_a, "stream"_a, "maps"_a, "channels"_a, "kernels"_a,
             "bias"_a, "out"_a, "nonfinite"_a, "Queues the first convolution of all networks, with bias and ReLU.");
  module.def("additive_cnn_rectify", &rectify, py::kw_only(), "device"_a, "stream"_a, "values"_a, "used"_a, "bias"_a,
             "nonfinite"_a, "Queues bias and ReLU, in place.");
  module.def("additive_cnn_pool", &pool, py::kw_only(), "device"_a, "stream"_a, "values"_a, "used"_a, "bias"_a,
             "mean"_a, "variance"_a, "weight"_a, "shift"_a, "eps"_a, "out"_a, "nonfinite"_a,
             "Queues bias, ReLU, 2x2 max pooling and batch norm.");
  module.def("additive_cnn_heads", &heads, py::kw_only(), "device"_a, "stream"_a, "features"_a, "units"_a, "weights"_a,
             "rest"_a, "nonfinite"_a, "sums"_a, "evidence"_a, "Queues the linear layers of all networks.");
  module.def("additive_cnn_heads_workspace", &heads_workspace, py::kw_only(), "groups"_a, "batch"_a, "terms"_a,
             "units"_a, "Floats of `sums`.");
#endif
}

}  // namespace iuscore
