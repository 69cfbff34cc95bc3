// The parts in which config.json is read, and what they share. Only Config*.cpp include this.

#ifndef INLAY_FRONTENDS_HF_CONFIG_PARTS_H
#define INLAY_FRONTENDS_HF_CONFIG_PARTS_H

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/hf/Config.h"
#include "frontends/hf/ConfigReader.h"

namespace inlay::hf {

// Bounds of what is read: generous for any model, small enough that products
// of three of them stay below 2^63.
constexpr int64_t kMaxVocab = 1 << 24;
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxLayers = 1 << 12;
constexpr int64_t kMaxHeads = 1 << 12;
constexpr int64_t kMaxHeadDim = 1 << 10;
constexpr int64_t kMaxLength = 1 << 24;

// The two types of layers, as `layer_types` has them.
constexpr std::string_view kFullAttention = "full_attention";
constexpr std::string_view kSlidingAttention = "sliding_attention";

// A configuration while it is read.
struct ConfigParts {
  ConfigReader &keys; // Of the whole object.
  std::string_view file;
  const ModelOptions &options;
  Problems &problems;
  ModelConfig &config;
  int64_t max_position_embeddings = 1;
  std::vector<std::string> layer_types = {}; // Of each layer; empty in families without windows.
  std::vector<bool> rotates = {};            // Whether a layer has rope.
};

// Windows and types of the layers, and which of them rotate. Needs the number of layers.
void ReadLayers(ConfigParts &parts);

// The frequencies of each layer that rotates. Needs all of the above.
void ReadRopes(ConfigParts &parts);

// A table of names in config.json.
template <typename Value> struct Named {
  std::string_view name;
  Value value;
};

template <typename Value, size_t N> std::optional<Value> Lookup(const Named<Value> (&table)[N], std::string_view name) {
  for (const auto &row : table)
    if (row.name == name)
      return row.value;
  return std::nullopt;
}

// "one of a, b, c"
template <typename Value, size_t N> std::string OneOf(const Named<Value> (&table)[N]) {
  std::string names;
  for (const auto &row : table)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
  return "one of " + names;
}

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_CONFIG_PARTS_H
