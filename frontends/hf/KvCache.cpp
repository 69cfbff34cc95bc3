#include "frontends/hf/KvCache.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include "frontends/hf/Tensors.h"

namespace inlay::hf {
namespace {

constexpr std::string_view kOption = "--kv-cache-dtype";

// Names of the scale of a layer's keys, or of its values, as checkpoints have them.
std::array<std::string, 6> NamesOfScale(const ModuleNames &names, size_t layer, char kind) {
  const std::string attention = LayerModule(names, names.attention, layer);
  const LayerWeights parts = NamesOfLayer(names, layer);
  // What projects keys and values; a part of a fused tensor is no module.
  const std::string projection =
      LayerModule(names, names.qkv.empty() ? kind == 'k' ? names.k : names.v : names.qkv, layer);
  const std::string scale = fmt::format(".{}_scale", kind);
  return {attention + scale,            // compressed-tensors
          projection + scale,           // ModelOpt
          attention + ".attn" + scale,  // vLLM's own
          projection + ".output_scale", // AutoFP8
          attention + ".kv_scale",      // one for both
          attention + ".attn.kv_scale"};
}

// The scale among these names that the checkpoint has, of a tensor or of each kv head; empty where it has none.
CacheScale FindScale(const SafetensorsIndex &weights, const ModelConfig &config, size_t layer, char kind) {
  for (const std::string &name : NamesOfScale(config.family->modules, layer, kind)) {
    auto found = weights.tensors.find(CheckpointName(config, name));
    if (found == weights.tensors.end())
      continue;
    const std::vector<int64_t> &shape = found->second.shape;
    const int64_t elements = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    // Any other number of elements is an error, which names the form of one scale.
    const bool is_known = elements == 1 || elements == config.kv_heads;
    return {name, is_known ? shape : std::vector<int64_t>{1}, elements == config.kv_heads};
  }
  return {};
}

} // namespace

void ChooseCache(CacheType wanted, ModelConfig &config, Problems &problems) {
  const bool is_declared = config.quantization && config.quantization->HasFp8Cache();
  const bool is_wide = config.dtype == DType::kFloat32;
  auto refuse = [&](std::string expected, std::string fix) {
    problems.Add(
        {"options", std::string(kOption),
         fmt::format("{} for a model of {}", wanted == CacheType::kFp8 ? "fp8" : "bfloat16", DTypeName(config.dtype)),
         std::move(expected), std::move(fix)});
  };
  if (wanted == CacheType::kFp8 && is_wide)
    refuse("fp8 with a model of bfloat16 or float16", "add --dtype bfloat16, or drop the option");
  if (wanted == CacheType::kBFloat16 && config.dtype != DType::kBFloat16)
    refuse(fmt::format("auto, which caches keys and values as {}", DTypeName(config.dtype)),
           "drop the option, or add --dtype bfloat16");
  config.fp8_cache = !is_wide && (wanted == CacheType::kFp8 || (wanted == CacheType::kAuto && is_declared));
  if (config.fp8_cache && wanted == CacheType::kAuto)
    problems.AddNote(
        "config.json", "kv cache",
        "keys and values are cached as fp8, as the checkpoint says; --kv-cache-dtype bfloat16 keeps floats");
}

void FindCacheScales(const SafetensorsIndex &weights, ModelConfig &config, Problems &problems) {
  if (!config.fp8_cache)
    return;
  size_t missing = 0;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    LayerConfig &layer = config.layers[i];
    layer.key_scale = FindScale(weights, config, i, 'k');
    layer.value_scale = FindScale(weights, config, i, 'v');
    missing += layer.key_scale.tensor.empty() || layer.value_scale.tensor.empty() ? 1 : 0;
  }
  if (missing > 0)
    problems.Add({"safetensors", CheckpointName(config, NamesOfScale(config.family->modules, 0, 'k')[0]),
                  fmt::format("no scales of keys or values in {} of {} layers", missing, config.layers.size()),
                  "scales for an fp8 cache", "1.0 is used, which clips what is larger than 448", Severity::kWarning});
}

} // namespace inlay::hf
