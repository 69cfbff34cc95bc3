#include "frontends/hf/CheckModel.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "frontends/hf/Tensors.h"

namespace inlay::hf {
namespace {

using nlohmann::ordered_json;

uint64_t CountParameters(const ModelConfig &config) {
  uint64_t count = 0;
  for (const TensorSpec &tensor : RequiredTensors(config)) {
    uint64_t elements = 1;
    for (int64_t size : tensor.shape)
      elements *= static_cast<uint64_t>(size);
    count += elements;
  }
  return count;
}

// What is known of a supported model, as it is shown.
ordered_json Summary(const Checkpoint &checkpoint) {
  const ModelConfig &config = checkpoint.config;
  auto windows = std::count_if(config.layers.begin(), config.layers.end(),
                               [](const LayerConfig &layer) { return layer.window.has_value(); });
  return {{"family", config.family->model_type},
          {"parameters", CountParameters(config)},
          {"layers", config.layers.size()},
          {"layers_with_sliding_window", windows},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"heads", config.heads},
          {"kv_heads", config.kv_heads},
          {"head_dim", config.head_dim},
          {"vocab_size", config.vocab_size},
          {"tie_word_embeddings", config.tie_word_embeddings},
          {"dtype", DTypeName(config.dtype)},
          {"max_model_len", config.max_model_len},
          {"max_prompt_len", config.max_prompt_len},
          {"eos_token_ids", config.eos},
          {"tokenizer", checkpoint.text.has_tokenizer},
          {"chat_templates", checkpoint.text.templates},
          {"chats_that_render", checkpoint.text.conversations},
          {"weight_files", checkpoint.weights.files.size()}};
}

std::string SeverityName(Severity severity) { return severity == Severity::kError ? "error" : "warning"; }

std::string Json(const std::optional<Checkpoint> &checkpoint, const Problems &problems) {
  ordered_json listed = ordered_json::array();
  for (const Problem &problem : problems.items())
    listed.push_back({{"severity", SeverityName(problem.severity)},
                      {"file", problem.file},
                      {"key", problem.key},
                      {"found", problem.found},
                      {"expected", problem.expected},
                      {"fix", problem.fix},
                      {"message", problem.ToString()}});
  ordered_json report = {{"supported", checkpoint.has_value()}};
  if (checkpoint)
    report["model"] = Summary(*checkpoint);
  report["problems"] = std::move(listed);
  report["notes"] = problems.notes();
  return report.dump(2, ' ', /*ensure_ascii=*/true, ordered_json::error_handler_t::replace) + "\n";
}

std::string Text(const std::optional<Checkpoint> &checkpoint, const Problems &problems) {
  std::string text;
  for (const Problem &problem : problems.items())
    text += fmt::format("{}: {}\n", SeverityName(problem.severity), problem.ToString());
  for (const std::string &note : problems.notes())
    text += fmt::format("note: {}\n", note);
  if (!checkpoint)
    return text + fmt::format("not supported: {} {}\n", problems.errors(), problems.errors() == 1 ? "error" : "errors");
  text += "supported\n";
  const ordered_json summary = Summary(*checkpoint);
  for (const auto &[key, value] : summary.items())
    text += fmt::format("  {:<28}{}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  return text;
}

} // namespace

Report CheckModel(const std::string &directory, const CheckpointOptions &options, bool json) {
  Problems problems;
  std::optional<Checkpoint> checkpoint = OpenCheckpoint(directory, options, problems);
  return {checkpoint.has_value(), json ? Json(checkpoint, problems) : Text(checkpoint, problems)};
}

} // namespace inlay::hf
