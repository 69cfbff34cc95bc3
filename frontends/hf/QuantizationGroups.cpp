// The two formats that describe weights by groups of modules: compressed-tensors and ModelOpt.

#include <fmt/format.h>

#include "frontends/hf/ConfigParts.h"
#include "frontends/hf/QuantizationReader.h"

namespace inlay::hf {
namespace {

using nlohmann::json;
using Style = ModulePatterns::Style;

constexpr std::string_view kMixed = "mixed-precision";

// How the weights of a format of compressed-tensors are stored.
struct Format {
  std::string_view type; // Of `weights`.
  TensorLayout layout;
};
constexpr Named<Format> kFormats[] = {
    {"float-quantized", {"float", TensorLayout::kPlain}},
    {"naive-quantized", {"float", TensorLayout::kPlain}},
    {"int-quantized", {"int", TensorLayout::kPlain}},
    {"pack-quantized", {"int", TensorLayout::kCompressedTensors}},
    {"mxfp4-pack-quantized", {"float", TensorLayout::kMxfp4}},
};

} // namespace

void QuantizationReader::ReadCompressedTensors() {
  result_.head_ = true;
  result_.ignored_ = ModulePatterns::Read(keys_, "ignore", Style::kCompressedTensors);
  const std::string format = keys_.String("format").value_or("no such key");
  for (std::string_view key : {"sparsity_config", "transform_config"})
    if (const json *value = keys_.Find(key);
        value && !value->empty() && !(value->is_object() && value->contains("format") && (*value)["format"] == "dense"))
      keys_.Error(key, Describe(*value), "no such key", std::string(kOtherFormat));
  if (auto status = keys_.String("quantization_status"); status && *status != "compressed" && *status != "frozen")
    keys_.Error("quantization_status", Describe(*status), "\"compressed\" or \"frozen\"", std::string(kOtherFormat));
  ReadCacheScheme(keys_);
  Skip({"global_compression_ratio", "version"});
  const json *groups = keys_.Find("config_groups");
  if (!groups || !groups->is_object() || groups->empty())
    return keys_.Error("config_groups", groups ? Describe(*groups) : "no such key", "an object with groups of modules",
                       "correct the value");
  for (const auto &item : groups->items())
    ReadGroup(item.key(), item.value(), format);
}

void QuantizationReader::ReadGroup(const std::string &name, const json &group, std::string_view format) {
  const std::string key = "config_groups." + name;
  if (!group.is_object())
    return keys_.Error(key, Describe(group), "an object", "correct the value");
  ConfigReader keys(group, file_, fmt::format("{}{}.", keys_.prefix(), key), problems_);
  const std::string own_format = keys.String("format").value_or(std::string(format));
  if (!Lookup(kFormats, own_format)) {
    if (format == own_format)
      return keys_.Error("format", Describe(json(format)), fmt::format("{} or {}", OneOf(kFormats), kMixed),
                         std::string(kOtherFormat));
    return keys.Error("format", Describe(json(own_format)), OneOf(kFormats), std::string(kOtherFormat));
  }
  const json *weights = keys.Find("weights");
  if (!weights || !weights->is_object())
    return keys.Error("weights", weights ? Describe(*weights) : "no such key", "an object", std::string(kOtherFormat));
  ConfigReader weight_keys(*weights, file_, keys.prefix() + "weights.", problems_);
  std::optional<Scheme> scheme = ReadWeights(weight_keys, own_format);
  RefuseUnread(weight_keys, "compressed-tensors");
  const json *activations = keys.Find("input_activations");
  if (const json *outputs = keys.Find("output_activations"); outputs && !outputs->empty())
    keys.Error("output_activations", Describe(*outputs), "null", std::string(kOtherFormat));
  ModulePatterns targets = ModulePatterns::Read(keys, "targets", Style::kCompressedTensors);
  if (targets.IsEmpty())
    keys.Error("targets", "no modules", "a list of names of modules", "correct the value");
  RefuseUnread(keys, "compressed-tensors");
  if (scheme) {
    ReadActivations(activations, keys.prefix(), *scheme);
    result_.rules_.push_back({std::move(targets), *scheme});
  }
}

void QuantizationReader::ReadActivations(const json *activations, const std::string &prefix, Scheme &scheme) {
  if (!activations || activations->is_null() || activations->empty())
    return;
  if (!activations->is_object())
    return scheme.RefuseActivations(
        fmt::format("its input_activations are {}, expected an object", Describe(*activations)));
  ConfigReader keys(*activations, file_, prefix + "input_activations.", problems_);
  const json *dynamic = keys.Find("dynamic"), *bits = keys.Find("num_bits"), *group = keys.Find("group_size");
  const std::string strategy = keys.String("strategy").value_or("tensor");
  if (bits && *bits != 8)
    return scheme.RefuseActivations(fmt::format("its format has activations of {} bits, expected 8", Describe(*bits)));
  if (!keys.Bool("symmetric", true))
    return scheme.RefuseActivations("its format has activations with zero points");
  if (scheme.RefuseOtherCodes())
    return;
  const std::string_view type = scheme.codes == Codes::kF8E4M3 ? "float" : "int";
  if (const std::string own = keys.String("type").value_or(std::string(type)); own != type)
    return scheme.RefuseActivations(fmt::format("its format has activations of the type {}, expected {} as its weight",
                                                Describe(json(own)), Describe(json(type))));
  const bool is_dynamic = dynamic && *dynamic == true, is_static = !dynamic || *dynamic == false;
  if (is_dynamic && strategy == "token")
    scheme.activations = ActivationScheme::kTokens;
  else if (is_dynamic && strategy == "group" && group && *group == 128)
    scheme.activations = ActivationScheme::kGroups;
  else if (is_static && strategy == "tensor")
    scheme.activations = ActivationScheme::kStatic;
  else if (!is_dynamic && !is_static)
    scheme.RefuseActivations(
        fmt::format("its format has activations with dynamic {}, expected true or false", Describe(*dynamic)));
  else
    scheme.RefuseActivations(
        fmt::format("its format has {} scales of activations with the strategy {}{}, expected dynamic "
                    "ones of tokens or groups of 128, or static ones of tensors",
                    is_dynamic ? "dynamic" : "static", Describe(json(strategy)),
                    strategy == "group" && group ? fmt::format(" of {} columns", Describe(*group)) : ""));
}

// Floats of 4 bits with a power of two for each 32 columns (OCP Microscaling Formats, 2023). They become fp8, which has
// all of these numbers.
std::optional<Scheme> QuantizationReader::ReadMxfp4(ConfigReader &weights) {
  constexpr int64_t kBlock = 32;
  Expect(weights, "type", "float", kOtherFormat);
  Expect(weights, "num_bits", 4, kOtherFormat);
  Expect(weights, "strategy", "group", kOtherFormat);
  Expect(weights, "group_size", kBlock, kOtherFormat);
  Expect(weights, "symmetric", true, kOtherFormat);
  Expect(weights, "dynamic", false, kOtherFormat);
  Expect(weights, "scale_dtype", "torch.uint8", kOtherFormat);
  // "weight" and "static" sort the columns only while quantizing.
  if (auto order = weights.String("actorder"); order && *order != "weight" && *order != "static")
    weights.Error("actorder", Describe(json(*order)), "one of weight, static", std::string(kOtherFormat));
  for (std::string_view key : {"block_structure", "observer", "observer_kwargs", "zp_dtype"})
    weights.Find(key);
  return Scheme{.codes = Codes::kF8E4M3, .layout = TensorLayout::kMxfp4, .scales = ScaleShape::kGroup, .group = kBlock};
}

bool QuantizationReader::ReadGroupSize(ConfigReader &weights, Scheme &scheme) {
  const int64_t group = weights.Int("group_size", -1, kMaxWidth).value_or(0);
  if (group <= 0 || group % kGroupUnit != 0) {
    weights.Error("group_size", std::to_string(group), fmt::format("a multiple of {}", kGroupUnit),
                  std::string(kOtherFormat));
    return false;
  }
  scheme.scales = ScaleShape::kGroup;
  scheme.group = group;
  return true;
}

std::optional<Scheme> QuantizationReader::ReadWeights(ConfigReader &weights, std::string_view format) {
  const Format row = *Lookup(kFormats, format);
  if (row.layout == TensorLayout::kMxfp4)
    return ReadMxfp4(weights);
  Scheme scheme{.layout = row.layout};
  const bool is_packed = row.layout == TensorLayout::kCompressedTensors;
  Expect(weights, "type", std::string(row.type), kOtherFormat);
  Expect(weights, "dynamic", false, kOtherFormat);
  const int64_t bits = weights.RequireInt("num_bits", 1, 16);
  if (bits != 8 && !(is_packed && bits == 4))
    weights.Error("num_bits", std::to_string(bits), is_packed ? "4 or 8" : "8", std::string(kOtherFormat));
  scheme.codes = row.type == "float" ? Codes::kF8E4M3 : !is_packed ? Codes::kI8 : bits == 4 ? Codes::kU4 : Codes::kU8;
  const bool symmetric = weights.Bool("symmetric", true);
  if (!symmetric && !is_packed)
    weights.Error("symmetric", "false", "true", std::string(kOtherFormat));
  scheme.zero_points = !symmetric;
  // "weight" and "static" sort the columns only while quantizing; "group" and "dynamic" store which group each has.
  if (auto order = weights.String("actorder")) {
    scheme.column_groups = scheme.needs_column_groups = *order == "group" || *order == "dynamic";
    if (!scheme.column_groups && *order != "weight" && *order != "static")
      weights.Error("actorder", Describe(json(*order)), "one of group, dynamic, weight, static",
                    std::string(kOtherFormat));
  }
  for (std::string_view key : {"observer", "observer_kwargs", "scale_dtype", "zp_dtype"})
    weights.Find(key);
  const std::string strategy = weights.String("strategy").value_or("no such key");
  const json *block = weights.Find("block_structure");
  if (strategy != "group" && weights.Find("group_size") && *weights.Find("group_size") != -1)
    weights.Error("group_size", Describe(*weights.Find("group_size")),
                  fmt::format("no groups with the strategy {}", strategy), "correct the value");
  if (strategy == "group" && scheme.codes != Codes::kF8E4M3) {
    if (!ReadGroupSize(weights, scheme))
      return std::nullopt;
  } else if (strategy == "channel") {
    scheme.scales = ScaleShape::kRow;
  } else if (strategy == "block" && !is_packed) {
    scheme.scales = ScaleShape::kBlock;
    scheme.group = scheme.block_rows = 128;
    if (!block || *block != json::array({128, 128}))
      weights.Error("block_structure", block ? Describe(*block) : "no such key", "[128,128]",
                    std::string(kOtherFormat));
  } else if (strategy != "tensor" || is_packed) {
    weights.Error("strategy", Describe(json(strategy)),
                  is_packed                        ? "group or channel"
                  : scheme.codes == Codes::kF8E4M3 ? "tensor, channel or block"
                                                   : "tensor, channel, block or group",
                  std::string(kOtherFormat));
    return std::nullopt;
  }
  return scheme;
}

Quantization QuantizationReader::ReadModelOptFile() {
  result_.method_ = "modelopt";
  Skip({"producer"});
  const json *quantization = keys_.Find("quantization");
  if (!quantization || !quantization->is_object()) {
    keys_.Error("quantization", quantization ? Describe(*quantization) : "no such key", "an object",
                "correct the value");
  } else {
    ConfigReader keys(*quantization, file_, keys_.prefix() + "quantization.", problems_);
    ReadModelOpt(keys, "exclude_modules");
    RefuseUnread(keys, "modelopt");
  }
  RefuseUnread(keys_, "modelopt");
  return std::move(result_);
}

void QuantizationReader::ReadModelOpt(ConfigReader &keys, std::string_view ignore_key) {
  // FP8 has an input_scale for each matrix.
  constexpr Named<ScaleShape> kAlgorithms[] = {{"FP8", ScaleShape::kTensor},
                                               {"FP8_PER_CHANNEL_PER_TOKEN", ScaleShape::kRow}};
  result_.head_ = true;
  const json *algorithm = keys.Find("quant_algo");
  std::optional<ScaleShape> scales =
      algorithm && algorithm->is_string() ? Lookup(kAlgorithms, algorithm->get<std::string>()) : std::nullopt;
  if (!scales)
    keys.Error("quant_algo", algorithm ? Describe(*algorithm) : "no such key", OneOf(kAlgorithms),
               std::string(kOtherFormat));
  ReadCacheScheme(keys);
  for (std::string_view key : {"producer", "config_groups", "quant_method"})
    keys.Find(key);
  for (std::string_view key : {"group_size", "quantized_layers"})
    if (const json *value = keys.Find(key); value && !value->empty() && scales)
      keys.Error(key, Describe(*value), "null with FP8", "correct the value");
  result_.ignored_ = ModulePatterns::Read(keys, ignore_key, Style::kWildcard);
  const ScaleShape shape = scales.value_or(ScaleShape::kTensor);
  AddRule({.scales = shape,
           .activations = shape == ScaleShape::kTensor ? ActivationScheme::kStatic : ActivationScheme::kTokens});
}

} // namespace inlay::hf
