#include "frontends/hf/QuantizedTensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "formats/quantization/quantize.h"

namespace inlay::hf {
namespace {

using Order = WordFields::Order;

constexpr int64_t kWordBits = 32;

int64_t DivideUp(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

// Writes the sources of one matrix, part by part.
class Builder {
public:
  Builder(const Scheme &scheme, const QuantizedMatrix &matrix)
      : scheme_(scheme), matrix_(matrix), group_(GroupOf(scheme, matrix.columns)),
        groups_(DivideUp(matrix.columns, group_)), in_word_(kWordBits / scheme.bits()) {}

  int64_t group() const { return group_; }
  std::string SchemeText() const {
    Scheme scheme = scheme_;
    if (scheme.scales == ScaleShape::kGroup)
      scheme.group = group_;
    return scheme.ToString();
  }
  int64_t groups() const { return groups_; }

  WeightSource Codes() const {
    const int64_t rows = matrix_.tensor_rows, columns = matrix_.columns;
    WeightSource source = matrix_.source;
    switch (scheme_.layout) {
    case TensorLayout::kPlain:
      source.tensor = Tensor(".weight", {rows, columns}, scheme_.codes == Codes::kI8 ? "I8" : "F8_E4M3");
      break;
    case TensorLayout::kCompressedTensors:
      source.tensor = Tensor(".weight_packed", {rows, DivideUp(columns, in_word_)}, "I32");
      source.fields = WordFields{.bits = scheme_.bits()};
      break;
    case TensorLayout::kMxfp4:
      source.tensor = Tensor(".weight_packed", {rows, columns / 2}, "U8");
      source.fields = WordFields{.bits = 4, .word = 8, .floats = true};
      break;
    case TensorLayout::kAwq:
      source.tensor = Tensor(".qweight", {columns, rows / in_word_}, "I32");
      source.transposed = true;
      source.fields = AlongRows(Order::kAwq);
      source.rows = rows;
      break;
    case TensorLayout::kGptq:
      source.tensor = Tensor(".qweight", {columns / in_word_, rows}, "I32");
      source.transposed = true;
      source.fields = WordFields{.bits = scheme_.bits()};
      break;
    case TensorLayout::kBitsAndBytes4:
      source.tensor = Tensor(".weight", {rows * columns / 2, 1}, "U8");
      source.flat = true;
      source.fields = WordFields{.bits = 4, .word = 8, .order = Order::kHighFirst};
      break;
    case TensorLayout::kFloats:
      source = Floats(/*makes_scales=*/false);
      break;
    }
    return source;
  }

  WeightSource Scales() const {
    const int64_t rows = matrix_.tensor_rows;
    WeightSource source = matrix_.source;
    source.scale = scheme_.scale_factor;
    switch (scheme_.layout) {
    case TensorLayout::kAwq:
    case TensorLayout::kGptq:
      source.tensor = Tensor(".scales", {groups_, rows});
      source.transposed = true;
      return source;
    case TensorLayout::kBitsAndBytes4:
      source.tensor = Tensor(".weight.absmax", {rows * groups_}, scheme_.nested_scales ? "U8" : "F32");
      source.flat = true;
      source.allows_zero = true; // Of a block of zeros.
      if (scheme_.nested_scales)
        source.nested =
            NestedScales{.table = Tensor(".weight.nested_quant_map", {256}, "F32"),
                         .scales = Tensor(".weight.nested_absmax", {DivideUp(rows * groups_, kNestedBlock)}, "F32"),
                         .block = kNestedBlock};
      return source;
    case TensorLayout::kFloats:
      return Floats(/*makes_scales=*/true);
    case TensorLayout::kMxfp4:
      source.tensor = Tensor(".weight_scale", {rows, groups_});
      source.tensor.dtypes = {"U8", "F8_E8M0"};
      source.exponents = true;
      return source;
    case TensorLayout::kPlain:
    case TensorLayout::kCompressedTensors:
      break;
    }
    const std::string suffix = "." + std::string(scheme_.scale_name);
    switch (scheme_.scales) {
    case ScaleShape::kTensor:
      source.tensor = Tensor(suffix, {1});
      source.tensor.other_shapes = {{}, {1, 1}};
      source.flat = true;
      source.repeat = source.rows = rows;
      break;
    case ScaleShape::kRow:
      source.tensor = Tensor(suffix, {rows, 1});
      source.tensor.other_shapes = {{rows}};
      source.flat = true;
      break;
    case ScaleShape::kBlock:
      source.tensor = Tensor(suffix, {DivideUp(rows, scheme_.block_rows), groups_});
      source.repeat = scheme_.block_rows;
      source.rows = rows;
      break;
    case ScaleShape::kGroup:
      source.tensor = Tensor(suffix, {rows, groups_});
      break;
    }
    return source;
  }

  // The scale of all rows that the matrix is multiplied by, which must be positive.
  WeightSource InputScale() const {
    WeightSource source;
    source.tensor = Tensor(".input_scale", {1});
    source.tensor.dtypes = {"BF16", "F32"}; // What the check of its value reads.
    source.tensor.other_shapes = {{}, {1, 1}};
    source.flat = true;
    source.scale = 1;
    return source;
  }

  WeightSource ZeroPoints() const {
    const int64_t rows = matrix_.tensor_rows, words = DivideUp(rows, in_word_);
    WeightSource source = matrix_.source;
    source.rows = rows;
    if (scheme_.layout == TensorLayout::kCompressedTensors) {
      source.tensor = Tensor(".weight_zero_point", {words, groups_}, "I32");
      source.fields = AlongRows(Order::kPlain);
    } else {
      source.tensor = Tensor(".qzeros", {groups_, words}, "I32");
      source.transposed = true;
      source.fields = AlongRows(scheme_.layout == TensorLayout::kAwq ? Order::kAwq : Order::kPlain);
    }
    return source;
  }

private:
  static int64_t GroupOf(const Scheme &scheme, int64_t columns) {
    if (scheme.layout == TensorLayout::kFloats && scheme.scales == ScaleShape::kGroup)
      return std::max<int64_t>(QuantizerGroup(columns), 1);
    return scheme.group > 0 ? scheme.group : columns;
  }
  WeightSource Floats(bool makes_scales) const {
    WeightSource source = matrix_.source;
    source.transposed = matrix_.transposed;
    source.tensor = Tensor(".weight", {matrix_.tensor_rows, matrix_.columns});
    if (source.transposed)
      std::swap(source.tensor.shape[0], source.tensor.shape[1]);
    source.quantizer = FloatQuantizer{scheme_.codes, group_, makes_scales};
    return source;
  }
  TensorSpec Tensor(std::string_view suffix, std::vector<int64_t> shape, std::string_view dtype = "") const {
    TensorSpec spec{matrix_.source.tensor.name + std::string(suffix), std::move(shape)};
    if (!dtype.empty())
      spec.dtypes = {dtype};
    return spec;
  }
  WordFields AlongRows(Order order) const {
    return {.bits = scheme_.bits(), .along_rows = true, .order = order, .addend = scheme_.zero_point_offset};
  }

  const Scheme &scheme_;
  const QuantizedMatrix &matrix_;
  int64_t group_, groups_, in_word_;
};

// Why a matrix of this size cannot have the scheme: "192 columns, which groups of 128 do not divide", or empty.
std::string ReasonAgainst(const Scheme &scheme, int64_t rows, int64_t columns) {
  if (scheme.layout == TensorLayout::kFloats)
    return scheme.scales == ScaleShape::kGroup && QuantizerGroup(columns) == 0
               ? fmt::format("{} columns, which groups of 128, 64 or 32 do not divide", columns)
               : "";
  const int64_t in_word = kWordBits / scheme.bits();
  if (scheme.scales == ScaleShape::kGroup && scheme.group > 0 && columns % scheme.group != 0)
    return fmt::format("{} columns, which groups of {} do not divide", columns, scheme.group);
  if (scheme.layout == TensorLayout::kAwq && rows % in_word != 0)
    return fmt::format("{} rows, which are not whole words of {}", rows, in_word);
  if (scheme.layout == TensorLayout::kGptq && (rows % in_word != 0 || columns % in_word != 0))
    return fmt::format("{} rows of {}, which are not whole words of {}", rows, columns, in_word);
  if (scheme.bits() == 4 && columns % 2 != 0)
    return fmt::format("{} columns, which are not whole bytes", columns);
  return "";
}

} // namespace

void AddQuantized(const Scheme &scheme, const QuantizedMatrix &matrix, std::vector<WeightSpec> &weights) {
  const Builder builder(scheme, matrix);
  QuantizedForm form{.codes = scheme.codes,
                     .scales = matrix.name + ".weight_scale",
                     .group = builder.group(),
                     .activations = scheme.activations,
                     .activation_obstacle = scheme.activation_obstacle,
                     .module = matrix.source.tensor.name,
                     .scheme = builder.SchemeText(),
                     .obstacle = ReasonAgainst(scheme, matrix.tensor_rows, matrix.columns)};
  if (scheme.zero_points)
    form.zero_points = matrix.name + ".weight_zero_point";
  else if (scheme.layout == TensorLayout::kCompressedTensors)
    form.zero_point = int64_t{1} << (scheme.bits() - 1); // Signed integers are stored with this added.
  else if (scheme.layout == TensorLayout::kFloats && scheme.codes == Codes::kU4)
    form.zero_point = 8;
  if (scheme.activations == ActivationScheme::kStatic && scheme.layout == TensorLayout::kFloats &&
      !matrix.input_scale) {
    form.activations = ActivationScheme::kOther;
    form.activation_obstacle = "the calibration quantized nothing that it is multiplied by";
  } else if (scheme.activations == ActivationScheme::kStatic) {
    form.input_scale = matrix.name + ".input_scale";
  }
  WeightSource codes = builder.Codes();
  if (codes.fields)
    codes.fields->addend = 0;
  weights.push_back({.name = matrix.name + ".weight",
                     .shape = {matrix.rows, matrix.columns},
                     .source = std::move(codes),
                     .quantized = form});
  const std::vector<int64_t> shape = {matrix.rows, builder.groups()};
  weights.push_back({.name = form.scales, .shape = shape, .source = builder.Scales(), .is_float32 = true});
  if (!form.input_scale.empty())
    weights.push_back({.name = form.input_scale,
                       .shape = {1, 1},
                       .source = matrix.input_scale ? WeightSource() : builder.InputScale(),
                       .is_float32 = true,
                       .value = matrix.input_scale});
  if (scheme.zero_points)
    weights.push_back({.name = form.zero_points, .shape = shape, .source = builder.ZeroPoints(), .is_float32 = true});
}

std::string_view ReasonToIgnoreQuantized(std::string_view name) {
  constexpr std::string_view kCacheScales[] = {".k_scale",      ".v_scale",      ".q_scale",      ".kv_scale",
                                               ".output_scale", ".k_zero_point", ".v_zero_point", ".prob_scale"};
  constexpr std::string_view kActivationScales[] = {".input_scale", ".input_zero_point", ".input_global_scale"};
  constexpr std::string_view kDescriptions[] = {".weight_shape", ".weight_g_idx", ".g_idx", ".weight_format",
                                                ".quant_map"};
  auto ends = [&](std::string_view suffix) { return name.ends_with(suffix); };
  if (std::any_of(std::begin(kCacheScales), std::end(kCacheScales), ends))
    return "*.k_scale, *.v_scale and others of the cache: only --kv-cache-dtype fp8 reads scales, those of keys and "
           "values";
  if (std::any_of(std::begin(kActivationScales), std::end(kActivationScales), ends))
    return "*.input_scale, *.input_zero_point: activations are kept as floats, without scales";
  if (std::any_of(std::begin(kDescriptions), std::end(kDescriptions), ends) ||
      name.find(".quant_state.") != std::string_view::npos)
    return "*.weight_shape, *.g_idx and others: they are checked, and hold no values of weights";
  return "";
}

} // namespace inlay::hf
