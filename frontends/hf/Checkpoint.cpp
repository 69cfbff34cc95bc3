#include "frontends/hf/Checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "frontends/hf/KvCache.h"
#include "frontends/hf/OtherFiles.h"
#include "frontends/hf/QuantizedContents.h"
#include "frontends/hf/QuantizedTensors.h"
#include "frontends/hf/Tensors.h"

namespace inlay::hf {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfigName = "config.json";
constexpr std::string_view kGenerationName = "generation_config.json";
constexpr std::string_view kModelOptName = "hf_quant_config.json";
constexpr std::string_view kStoredTypes[] = {"BF16", "F16", "F32"};

std::string ShapeText(const std::vector<int64_t> &shape) { return fmt::format("shape [{}]", fmt::join(shape, ", ")); }

// The text of a file. A few bytes beyond what is accepted are read, never all of a huge file.
std::optional<std::string> ReadText(const fs::path &path) {
  constexpr size_t kEnough = (4 << 20) + 1;
  std::error_code error;
  std::ifstream in(path, std::ios::binary);
  if (!in || !fs::is_regular_file(path, error))
    return std::nullopt;
  std::string text(kEnough, '\0');
  in.read(text.data(), kEnough);
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

std::optional<ModelConfig> ReadConfig(const fs::path &directory, const ModelOptions &options, Problems &problems) {
  if (std::optional<std::string> text = ReadText(directory / kConfigName))
    return ParseConfig(*text, kConfigName, options, problems);
  problems.Add({(directory / kConfigName).string(), "", "no such file", "the configuration of a model",
                "give the directory of a Hugging Face checkpoint"});
  return std::nullopt;
}

// ModelOpt describes the weights in a file of its own, unless it adds quantization_config to config.json.
void ReadModelOpt(const fs::path &directory, ModelConfig &config, Problems &problems) {
  std::error_code error;
  if (config.quantization || !fs::exists(directory / kModelOptName, error))
    return;
  std::optional<std::string> text = ReadText(directory / kModelOptName);
  if (!text)
    return problems.Add({std::string(kModelOptName), "", "no file that can be read", "a JSON object",
                         "copy the file from the model's repository again"});
  std::optional<nlohmann::json> object = ParseJson(*text, kModelOptName, problems);
  if (!object)
    return;
  ConfigReader keys(*object, kModelOptName, "", problems);
  config.quantization = Quantization::ReadModelOptFile(keys, problems, kModelOptName);
}

bool IsStoredQuantized(const ModelConfig &config) { return config.quantization && !config.quantization->IsOfFloats(); }

// Matrices of floats are quantized while they are packed.
void SetQuantizer(const QuantizerOptions &options, ModelConfig &config, Problems &problems) {
  if (options.IsEmpty())
    return;
  Quantization quantizer = Quantization::OfFloats(options);
  if (config.quantization)
    return problems.Add({std::string(kConfigName), "quantization_config",
                         fmt::format("weights that are quantized ({})", config.quantization->method()),
                         fmt::format("floats with {}", quantizer.method()),
                         "drop the option, or use the unquantized checkpoint"});
  config.quantization = std::move(quantizer);
}

// Applies --activation-quantization.
void SetActivations(ActivationQuantization choice, ModelConfig &config, Problems &problems) {
  if (config.quantization && !config.quantization->IsEmpty())
    config.quantization->SetActivations(choice);
  else if (choice == ActivationQuantization::kDynamic)
    problems.Add({std::string(kConfigName), "quantization_config", "no quantized weights of layers",
                  "those of fp8 or int8 with --activation-quantization dynamic",
                  "add --quantization fp8 or int8, or drop the option"});
}

// Matrices whose sizes do not fit their scheme, and what is not done of the description.
void CheckQuantization(const ModelConfig &config, Problems &problems) {
  if (!config.quantization)
    return;
  const bool is_of_floats = config.quantization->IsOfFloats();
  for (const WeightSpec &weight : RequiredWeights(config))
    if (weight.quantized && !weight.quantized->obstacle.empty())
      problems.Add({std::string(kConfigName), is_of_floats ? config.quantization->method() : "quantization_config",
                    fmt::format("{} of {}", weight.quantized->module, weight.quantized->obstacle),
                    "sizes that the format can store",
                    is_of_floats ? "use --quantization fp8 or int8"
                                 : "use a checkpoint in another format, or the unquantized one"});
  if (std::string text = config.quantization->DescribeActivations(); !text.empty())
    problems.AddNote(kConfigName, is_of_floats ? config.quantization->method() : "quantization_config", text);
}

GenerationConfig ReadGeneration(const fs::path &directory, int64_t vocab_size, Problems &problems) {
  std::error_code error;
  if (!fs::exists(directory / kGenerationName, error))
    return {};
  std::optional<std::string> text = ReadText(directory / kGenerationName);
  if (!text)
    problems.Add({std::string(kGenerationName), "", "no file that can be read", "a JSON object",
                  "copy the file from the model's repository again"});
  return text ? ParseGenerationConfig(*text, kGenerationName, vocab_size, problems).value_or(GenerationConfig())
              : GenerationConfig();
}

std::string FileOf(const SafetensorsIndex &weights, const TensorInfo &tensor) {
  return fs::path(weights.files[tensor.file]).filename().string();
}

// Whether two tensors have the same type, shape and bytes.
absl::StatusOr<bool> AreEqual(const SafetensorsIndex &weights, const TensorInfo &a, const TensorInfo &b) {
  if (a.dtype != b.dtype || a.shape != b.shape)
    return false;
  constexpr uint64_t kChunk = 1 << 20;
  std::string chunks[2];
  std::ifstream files[2] = {std::ifstream(weights.files[a.file], std::ios::binary),
                            std::ifstream(weights.files[b.file], std::ios::binary)};
  files[0].seekg(static_cast<std::streamoff>(a.offset));
  files[1].seekg(static_cast<std::streamoff>(b.offset));
  for (uint64_t left = a.bytes; left > 0;) {
    const uint64_t size = std::min(left, kChunk);
    for (int i : {0, 1}) {
      chunks[i].resize(size);
      if (!files[i].read(chunks[i].data(), static_cast<std::streamsize>(size)))
        return absl::InvalidArgumentError(fmt::format(
            "{}: cannot be read; copy the file from the model's repository again", FileOf(weights, i == 0 ? a : b)));
    }
    if (chunks[0] != chunks[1])
      return false;
    left -= size;
  }
  return true;
}

// transformers 5 ties embeddings only where the checkpoint holds one of them, or both with the same values
// (PreTrainedModel.tie_weights).
void CheckTiedEmbeddings(Checkpoint &checkpoint, Problems &problems) {
  const SafetensorsIndex &weights = checkpoint.weights;
  const ModuleNames &names = checkpoint.config.family->modules;
  auto find = [&](std::string_view module) {
    return weights.tensors.find(CheckpointName(checkpoint.config, module) + ".weight");
  };
  auto embedding = find(names.embedding), head = find(names.lm_head);
  if (!checkpoint.config.tie_word_embeddings || embedding == weights.tensors.end() || head == weights.tensors.end())
    return;
  absl::StatusOr<bool> equal = AreEqual(weights, embedding->second, head->second);
  if (!equal.ok())
    return problems.Add(equal.status());
  const std::string file = FileOf(weights, head->second);
  if (*equal)
    return problems.AddNote(file, head->first, fmt::format("ignored: it holds the values of {}", embedding->first));
  checkpoint.config.tie_word_embeddings = false;
  problems.Add({file, head->first, fmt::format("other values than {}", embedding->first),
                "the same, as tie_word_embeddings of config.json is true",
                "it is used, as by transformers 5; set tie_word_embeddings to false to say so", Severity::kWarning});
}

// Why a tensor that the model does not read is no surprise: "NAMES: REASON", or empty.
std::string_view ReasonToIgnore(const ModelConfig &config, std::string_view name) {
  constexpr std::string_view kOtherParts[] = {"visual", "vision_tower", "vision_model", "multi_modal_projector", "mtp"};
  if (name.ends_with(".rotary_emb.inv_freq")) // Of old checkpoints.
    return "*.rotary_emb.inv_freq: the frequencies follow from config.json";
  if (std::string_view reason = IsStoredQuantized(config) ? ReasonToIgnoreQuantized(name) : ""; !reason.empty())
    return reason;
  if (name.ends_with(".attn.bias") || name.ends_with(".attention.bias") || name.ends_with(".masked_bias"))
    return "*.bias, *.masked_bias of attention: they are its causal mask";
  std::string_view part = name.starts_with("model.") ? name.substr(6) : name;
  auto begins = [&](std::string_view other) {
    return part.starts_with(other) && part.substr(other.size()).starts_with(".");
  };
  if (config.is_text_part && std::any_of(std::begin(kOtherParts), std::end(kOtherParts), begins))
    return "of other parts than the text: only that is compiled";
  return "";
}

// Compares the tensors that the model needs with those that are there.
void CheckTensors(const Checkpoint &checkpoint, Problems &problems) {
  const SafetensorsIndex &weights = checkpoint.weights;
  const std::string lm_head = CheckpointName(checkpoint.config, checkpoint.config.family->modules.lm_head);
  std::set<std::string> needed;
  for (const TensorSpec &spec : RequiredTensors(checkpoint.config)) {
    needed.insert(spec.name);
    auto it = weights.tensors.find(spec.name);
    if (it == weights.tensors.end()) {
      bool is_head = spec.name.starts_with(lm_head), is_of_activations = spec.name.ends_with(".input_scale");
      problems.Add({"safetensors", spec.name, "no such tensor", ShapeText(spec.shape),
                    is_head             ? "set tie_word_embeddings to true if the model has none of its own"
                    : is_of_activations ? "use --activation-quantization none or dynamic if the checkpoint has no "
                                          "scales of activations"
                                        : "config.json and the weights are not of the same model"});
      continue;
    }
    const TensorInfo &tensor = it->second;
    if (tensor.shape != spec.shape &&
        std::find(spec.other_shapes.begin(), spec.other_shapes.end(), tensor.shape) == spec.other_shapes.end())
      problems.Add({FileOf(weights, tensor), spec.name, ShapeText(tensor.shape), ShapeText(spec.shape),
                    "config.json and the weights are not of the same model"});
    std::span<const std::string_view> dtypes = kStoredTypes;
    if (!spec.dtypes.empty())
      dtypes = spec.dtypes;
    if (std::find(dtypes.begin(), dtypes.end(), tensor.dtype) == dtypes.end())
      problems.Add({FileOf(weights, tensor), spec.name, "dtype " + tensor.dtype,
                    fmt::format("{}{}", dtypes.size() > 1 ? "one of " : "", fmt::join(dtypes, ", ")),
                    IsStoredQuantized(checkpoint.config) ? "quantization_config and the weights do not belong together"
                                                         : "use an unquantized checkpoint"});
  }
  std::map<std::string_view, size_t> ignored; // By their reason.
  for (const auto &[name, tensor] : weights.tensors) {
    if (needed.contains(name) || (checkpoint.config.tie_word_embeddings && name == lm_head + ".weight"))
      continue;
    if (std::string_view reason = ReasonToIgnore(checkpoint.config, name); !reason.empty())
      ++ignored[reason];
    else
      problems.Add({FileOf(weights, tensor), name, "a tensor that the model does not use", "only tensors of the model",
                    "it is left out", Severity::kWarning});
  }
  for (const auto &[reason, count] : ignored)
    problems.AddNote("safetensors", fmt::format("{} tensors {}", count, reason.substr(0, reason.find(':'))),
                     fmt::format("ignored{}", reason.substr(reason.find(':'))));
}

void ReadWeights(Checkpoint &checkpoint, Problems &problems) {
  const fs::path directory = checkpoint.directory;
  absl::StatusOr<SafetensorsIndex> weights = OpenSafetensors(checkpoint.directory);
  std::error_code error;
  if (weights.ok()) {
    checkpoint.weights = *std::move(weights);
    if (checkpoint.config.family) {
      checkpoint.config.renamings = FindRenamings(*checkpoint.config.family, [&](const std::string &name) {
        return checkpoint.weights.tensors.contains(name);
      });
      CheckTiedEmbeddings(checkpoint, problems);
      FindCacheScales(checkpoint.weights, checkpoint.config, problems);
      CheckQuantizedContents(checkpoint, problems);
      CheckTensors(checkpoint, problems);
    }
  } else if (absl::IsNotFound(weights.status()) && !fs::exists(directory / "model.safetensors.index.json", error)) {
    std::vector<std::string> others = ForeignWeights(checkpoint.directory);
    problems.Add({checkpoint.directory, "",
                  fmt::format("no model.safetensors and no model.safetensors.index.json{}{}",
                              others.empty() ? "" : ", but ", fmt::join(others, ", ")),
                  "weights",
                  others.empty()
                      ? "add them, or compile with --dummy-weights"
                      : "convert them (transformers: from_pretrained and save_pretrained write safetensors)"});
  } else {
    problems.Add(weights.status());
  }
}

} // namespace

std::optional<Checkpoint> OpenCheckpoint(const std::string &directory, const CheckpointOptions &options,
                                         Problems &problems) {
  Problems found;
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  RefuseAdapter(directory, found);
  if (std::optional<ModelConfig> config = ReadConfig(directory, options, found))
    checkpoint.config = *std::move(config);
  ModelConfig &config = checkpoint.config;
  if (config.family) {
    ReadModelOpt(directory, config, found);
    ChooseCache(options.kv_cache, config, found);
    SetQuantizer(options.quantizer, config, found);
    SetActivations(options.activations, config, found);
    CheckQuantization(config, found);
  }
  // Without a configuration, ids of tokens cannot be checked; everything else is.
  const int64_t vocab_size = config.family ? config.vocab_size : std::numeric_limits<int32_t>::max();
  checkpoint.generation = ReadGeneration(directory, vocab_size, found);
  checkpoint.text = ReadTextFiles(directory, vocab_size, found);
  if (checkpoint.generation.eos)
    config.eos = *checkpoint.generation.eos;
  if (std::optional<int64_t> eos = checkpoint.text.eos;
      eos && std::find(config.eos.begin(), config.eos.end(), *eos) == config.eos.end())
    config.eos.push_back(*eos);
  if (!options.dummy_weights)
    ReadWeights(checkpoint, found);
  std::vector<std::string> weight_files;
  for (const std::string &path : checkpoint.weights.files)
    weight_files.push_back(fs::path(path).filename().string());
  CheckOtherFiles(directory, weight_files, IsStoredQuantized(config), found);
  problems.Add(found);
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
