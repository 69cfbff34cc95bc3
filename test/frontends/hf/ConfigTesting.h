// Reading configurations in tests.

#ifndef INLAY_TEST_FRONTENDS_HF_CONFIG_TESTING_H
#define INLAY_TEST_FRONTENDS_HF_CONFIG_TESTING_H

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "frontends/hf/Config.h"

namespace inlay::hf {

using nlohmann::json;

// `config` with the keys of the JSON object `changes`; null counts as absent.
inline json With(json config, const char *changes) {
  config.update(json::parse(changes));
  return config;
}

// The lines of all problems, warnings included.
inline std::vector<std::string> ProblemsOf(const std::string &text, const ModelOptions &options = {}) {
  Problems problems;
  std::optional<ModelConfig> config = ParseConfig(text, "config.json", options, problems);
  EXPECT_EQ(config.has_value(), !problems.HasErrors());
  std::vector<std::string> lines;
  for (const Problem &problem : problems.items())
    lines.push_back(problem.ToString());
  return lines;
}

inline ModelConfig Parse(const json &config, const ModelOptions &options = {}) {
  Problems problems;
  std::optional<ModelConfig> parsed = ParseConfig(config.dump(), "config.json", options, problems);
  EXPECT_EQ(problems.ToStatus(), absl::OkStatus());
  return parsed.value_or(ModelConfig());
}

// The window of each layer; 0 for none.
inline std::vector<int64_t> Windows(const ModelConfig &config) {
  std::vector<int64_t> windows;
  for (const LayerConfig &layer : config.layers)
    windows.push_back(layer.window.value_or(0));
  return windows;
}

} // namespace inlay::hf

#endif // INLAY_TEST_FRONTENDS_HF_CONFIG_TESTING_H
