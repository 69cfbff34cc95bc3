// What differs from layer to layer in config.json: windows, and rope or none.

#include <fmt/format.h>

#include "frontends/hf/ConfigParts.h"

namespace inlay::hf {
namespace {

using nlohmann::json;

// A list with an entry for each layer; null where there is none, or where it is wrong, which is reported.
const json *FindLayerList(ConfigParts &parts, std::string_view key, bool may_be_longer) {
  const json *list = parts.keys.Find(key);
  const size_t layers = parts.config.layers.size();
  if (!list || (list->is_array() && (list->size() == layers || (may_be_longer && list->size() > layers))))
    return list;
  parts.keys.Error(key, list->is_array() ? fmt::format("{} entries", list->size()) : Describe(*list),
                   fmt::format("{} entries, one for each layer", layers), "correct the value");
  return nullptr;
}

void ReadListedRope(ConfigParts &parts) {
  constexpr std::string_view kKey = "no_rope_layers";
  constexpr int64_t kDefaultInterval = 4;
  const int64_t interval = parts.keys.Int("no_rope_layer_interval", 1, kMaxLayers).value_or(kDefaultInterval);
  const json *list = FindLayerList(parts, kKey, /*may_be_longer=*/true);
  for (size_t i = 0; i < parts.rotates.size(); ++i) {
    if (!list) {
      parts.rotates[i] = static_cast<int64_t>(i + 1) % interval != 0;
      continue;
    }
    const json &entry = (*list)[i];
    if (entry != 0 && entry != 1)
      parts.keys.Error(fmt::format("{}[{}]", kKey, i), Describe(entry), "1, or 0 for a layer without rope",
                       "correct the value");
    parts.rotates[i] = entry == 1;
  }
}

// `n` of "all but every n-th layer has a window".
int64_t ReadPattern(ConfigParts &parts, const Windows &windows) {
  constexpr std::string_view kKey = "sliding_window_pattern";
  if (!windows.pattern_key)
    return windows.pattern;
  // EXAONE writes "LLLG" beside layer_types, which then decide.
  const json *value = parts.keys.Find(kKey);
  if (value && value->is_string() && parts.keys.Has("layer_types"))
    return windows.pattern;
  return parts.keys.Int(kKey, 1, kMaxLayers).value_or(windows.pattern);
}

void CheckLayerTypes(ConfigParts &parts, const std::optional<int64_t> &window) {
  constexpr std::string_view kKey = "layer_types";
  const json *types = FindLayerList(parts, kKey, /*may_be_longer=*/false);
  if (!types)
    return;
  const Family &family = *parts.config.family;
  const bool has_switch = family.windows.rule == WindowRule::kLastLayers || family.windows.rule == WindowRule::kNoRope;
  for (size_t i = 0; i < types->size(); ++i) {
    const json &type = (*types)[i];
    std::string key = fmt::format("{}[{}]", kKey, i);
    if (type != kFullAttention && type != kSlidingAttention) {
      parts.keys.Error(key, Describe(type), "full_attention or sliding_attention", "other kinds are not supported");
    } else if (family.windows.rule == WindowRule::kAllLayers && type != parts.layer_types[i]) {
      parts.keys.Error(key, Describe(type),
                       fmt::format("{} in every layer of {}", parts.layer_types[i], family.model_type),
                       "windows that differ by layer are not supported in this family");
    } else if (type == kSlidingAttention && !window) {
      parts.keys.Error(key, Describe(type), "full_attention, as no sliding window is set",
                       has_switch ? "set sliding_window and use_sliding_window" : "set sliding_window");
    } else {
      parts.layer_types[i] = type.get<std::string>();
    }
  }
}

void ReadWindows(ConfigParts &parts) {
  const Windows &windows = parts.config.family->windows;
  if (windows.rule == WindowRule::kNone)
    return;
  constexpr int64_t kDefaultFirst = 28;

  // Absent and null differ: without the key transformers takes its default.
  std::optional<int64_t> window = parts.keys.Int("sliding_window", 1, kMaxLength);
  if (!window && !parts.keys.IsNull("sliding_window") && windows.otherwise > 0)
    window = windows.otherwise;
  int64_t first = 0, pattern = 0;
  if (windows.rule == WindowRule::kLastLayers)
    first = parts.keys.Int("max_window_layers", 0, kMaxLayers).value_or(kDefaultFirst);
  if (windows.rule == WindowRule::kPattern)
    pattern = ReadPattern(parts, windows);
  if (windows.rule == WindowRule::kLastLayers || windows.rule == WindowRule::kNoRope)
    if (!parts.keys.Bool("use_sliding_window", false))
      window.reset();

  parts.layer_types.resize(parts.config.layers.size());
  for (size_t i = 0; i < parts.layer_types.size(); ++i) {
    auto index = static_cast<int64_t>(i);
    bool slides = index >= first && (pattern == 0 || (index + 1) % pattern != 0) &&
                  (windows.rule != WindowRule::kNoRope || !parts.rotates[i]);
    parts.layer_types[i] = window && slides ? kSlidingAttention : kFullAttention;
  }
  CheckLayerTypes(parts, window);
  for (size_t i = 0; i < parts.layer_types.size(); ++i)
    if (parts.layer_types[i] == kSlidingAttention)
      parts.config.layers[i].window = window;
}

} // namespace

void ReadLayers(ConfigParts &parts) {
  const Rope &rope = parts.config.family->rope;
  parts.rotates.assign(parts.config.layers.size(), parts.config.family->positions == Positions::kRope);
  if (rope.layers == RopeLayers::kListed)
    ReadListedRope(parts);
  ReadWindows(parts);
  if (rope.layers == RopeLayers::kWindowed && !(rope.full_model_rotates && parts.keys.IsNull("sliding_window")))
    for (size_t i = 0; i < parts.rotates.size(); ++i)
      parts.rotates[i] = parts.layer_types[i] == kSlidingAttention;
}

} // namespace inlay::hf
