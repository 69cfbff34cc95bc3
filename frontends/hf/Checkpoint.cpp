#include "frontends/hf/Checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

namespace inlay::hf {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfigName = "config.json";
constexpr std::string_view kStoredTypes[] = {"BF16", "F16", "F32"};

std::string ShapeText(const std::vector<int64_t> &shape) { return fmt::format("shape [{}]", fmt::join(shape, ", ")); }

// The text of config.json. A few bytes beyond what is accepted are read, never all of a huge file.
std::optional<std::string> ReadConfigText(const fs::path &directory, Problems &problems) {
  constexpr size_t kEnough = (4 << 20) + 1;
  std::error_code error;
  std::ifstream in(directory / kConfigName, std::ios::binary);
  if (!in || !fs::is_regular_file(directory / kConfigName, error)) {
    problems.Add({(directory / kConfigName).string(), "", "no such file", "the configuration of a model",
                  "give the directory of a Hugging Face checkpoint"});
    return std::nullopt;
  }
  std::string text(kEnough, '\0');
  in.read(text.data(), kEnough);
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

// Compares the tensors that the model needs with those that are there.
void CheckTensors(const Checkpoint &checkpoint, Problems &problems) {
  const SafetensorsIndex &weights = checkpoint.weights;
  auto file_of = [&](const TensorInfo &tensor) { return fs::path(weights.files[tensor.file]).filename().string(); };
  std::set<std::string> needed;
  for (const TensorSpec &spec : RequiredTensors(checkpoint.config)) {
    needed.insert(spec.name);
    auto it = weights.tensors.find(spec.name);
    if (it == weights.tensors.end()) {
      problems.Add({"safetensors", spec.name, "no such tensor", ShapeText(spec.shape),
                    "config.json and the weights are not of the same model"});
      continue;
    }
    const TensorInfo &tensor = it->second;
    if (tensor.shape != spec.shape)
      problems.Add({file_of(tensor), spec.name, ShapeText(tensor.shape), ShapeText(spec.shape),
                    "config.json and the weights are not of the same model"});
    if (std::find(std::begin(kStoredTypes), std::end(kStoredTypes), tensor.dtype) == std::end(kStoredTypes))
      problems.Add({file_of(tensor), spec.name, "dtype " + tensor.dtype,
                    fmt::format("one of {}", fmt::join(kStoredTypes, ", ")), "use an unquantized checkpoint"});
  }
  for (const auto &[name, tensor] : weights.tensors) {
    // Old checkpoints keep the rotary frequencies, tied ones a copy of the embedding.
    bool known = needed.contains(name) || name.ends_with(".rotary_emb.inv_freq") ||
                 (checkpoint.config.tie_word_embeddings && name.starts_with("lm_head."));
    if (!known)
      problems.Add({file_of(tensor), name, "a tensor that the model does not use", "only tensors of the model",
                    "it is left out", Severity::kWarning});
  }
}

} // namespace

std::optional<Checkpoint> OpenCheckpoint(const std::string &directory, const CheckpointOptions &options,
                                         Problems &problems) {
  Problems found;
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  std::optional<ModelConfig> config;
  if (std::optional<std::string> text = ReadConfigText(directory, found))
    config = ParseConfig(*text, kConfigName, options, found);
  if (config)
    checkpoint.config = *std::move(config);

  if (!options.dummy_weights) {
    absl::StatusOr<SafetensorsIndex> weights = OpenSafetensors(directory);
    if (weights.ok()) {
      checkpoint.weights = *std::move(weights);
      if (checkpoint.config.family)
        CheckTensors(checkpoint, found);
    } else if (absl::IsNotFound(weights.status()) &&
               !fs::exists(fs::path(directory) / "model.safetensors.index.json")) {
      found.Add({directory, "", "no model.safetensors and no model.safetensors.index.json", "weights",
                 "add them, or compile with --dummy-weights"});
    } else {
      found.Add(weights.status());
    }
  }
  for (const Problem &problem : found.items())
    problems.Add(problem);
  if (found.HasErrors())
    return std::nullopt;
  return checkpoint;
}

absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string &directory, const CheckpointOptions &options) {
  Problems problems;
  std::optional<Checkpoint> checkpoint = OpenCheckpoint(directory, options, problems);
  if (!checkpoint)
    return problems.ToStatus();
  return *std::move(checkpoint);
}

} // namespace inlay::hf
