#include "frontends/hf/CheckModel.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "frontends/hf/Tensors.h"

namespace inlay::hf {
namespace {

using nlohmann::ordered_json;

uint64_t CountParameters(const ModelConfig &config) {
  uint64_t count = 0;
  for (const WeightSpec &weight : RequiredWeights(config)) {
    uint64_t elements = weight.is_float32 || weight.is_column_order ? 0 : 1; // Scales are no parameters.
    for (int64_t size : weight.shape)
      elements *= static_cast<uint64_t>(size);
    count += elements;
  }
  return count;
}

// The kinds of matrices of each scheme, without the number of the layer: {"int4, ...": "self_attn.q_proj x 32, ..."}.
ordered_json MatricesByScheme(const ModelConfig &config) {
  const std::string layer(config.family->modules.layer.substr(0, config.family->modules.layer.find("{}")));
  std::map<std::string, std::map<std::string, size_t>> kinds;
  for (const WeightSpec &weight : RequiredWeights(config)) {
    constexpr std::string_view kSuffix = ".weight";
    std::string module = weight.quantized ? weight.quantized->module : weight.source.tensor.name;
    if (module.ends_with(kSuffix))
      module.resize(module.size() - kSuffix.size());
    std::string kind = module;
    if (size_t begin = module.find(layer); begin != std::string::npos)
      kind = module.substr(std::min(module.size(), module.find('.', begin + layer.size())));
    kind.erase(0, kind.find_first_not_of('.'));
    if (weight.quantized)
      ++kinds[weight.quantized->scheme][kind];
    else if (weight.shape.size() == 2 && !weight.is_float32 && !weight.is_column_order)
      ++kinds[std::string(DTypeName(config.dtype))][kind];
  }
  ordered_json result = ordered_json::object();
  for (const auto &[scheme, counts] : kinds)
    for (const auto &[kind, count] : counts)
      result[scheme].push_back(count == 1 ? kind : fmt::format("{} x {}", kind, count));
  return result;
}

// What is known of a supported model, as it is shown.
ordered_json Summary(const Checkpoint &checkpoint) {
  const ModelConfig &config = checkpoint.config;
  auto windows = std::count_if(config.layers.begin(), config.layers.end(),
                               [](const LayerConfig &layer) { return layer.window.has_value(); });
  ordered_json summary = {{"family", config.family->model_type},
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
  if (config.quantization)
    summary["quantization"] = {{"method", config.quantization->method()}, {"matrices", MatricesByScheme(config)}};
  return summary;
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

Report CheckModel(const std::string &directory, const CheckpointOptions &options, bool json, const ExtraCheck &extra) {
  Problems problems;
  std::optional<Checkpoint> checkpoint = OpenCheckpoint(directory, options, problems);
  if (absl::Status status = checkpoint && extra ? extra(*checkpoint) : absl::OkStatus(); !status.ok()) {
    problems.Add(status);
    checkpoint.reset();
  }
  return {checkpoint.has_value(), json ? Json(checkpoint, problems) : Text(checkpoint, problems)};
}

} // namespace inlay::hf
