#include "frontends/hf/OtherFiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

namespace inlay::hf {
namespace {

namespace fs = std::filesystem;

// What becomes of a file.
enum class Fate {
  kRead,      // another part reads it, or names it
  kTokenizer, // an older form of tokenizer.json: TextFiles names it
  kAdapter,   // refused by RefuseAdapter
  kQuantized, // a warning
  kWeights,   // ignored: other weights
  kIgnored,   // ignored, with the reason of the row
};

// Names match where they begin with `begin` and end with `end`.
struct Row {
  std::string_view begin, end;
  Fate fate;
  std::string_view reason = "";
};

constexpr std::string_view kImages = "images, sound and video are not supported";
constexpr std::string_view kCode = "code of the checkpoint is not run";

// The first row that matches decides.
constexpr Row kRows[] = {
    {"config.json", "", Fate::kRead},
    {"generation_config.json", "", Fate::kRead},
    {"tokenizer.json", "", Fate::kRead},
    {"tokenizer_config.json", "", Fate::kRead},
    {"special_tokens_map.json", "", Fate::kRead},
    {"added_tokens.json", "", Fate::kRead},
    {"vocab.json", "", Fate::kTokenizer},
    {"vocab.txt", "", Fate::kTokenizer},
    {"merges.txt", "", Fate::kTokenizer},
    {"tokenizer.model", "", Fate::kTokenizer},
    {"spiece.model", "", Fate::kTokenizer},
    {"chat_template.jinja", "", Fate::kRead},
    {"chat_template.json", "", Fate::kRead},
    {"additional_chat_templates", "", Fate::kRead},
    {"adapter_config.json", "", Fate::kAdapter},
    {"adapter_model", "", Fate::kAdapter},
    {"quantize_config.json", "", Fate::kQuantized},
    {"quant_config.json", "", Fate::kQuantized},
    {"hf_quant_config.json", "", Fate::kQuantized},
    {"", ".safetensors", Fate::kWeights},
    {"", ".gguf", Fate::kWeights},
    {"", ".bin", Fate::kWeights},
    {"", ".pth", Fate::kWeights},
    {"", ".pt", Fate::kWeights},
    {"", ".ckpt", Fate::kWeights},
    {"", ".h5", Fate::kWeights},
    {"", ".msgpack", Fate::kWeights},
    {"", ".onnx", Fate::kWeights},
    {"", ".npz", Fate::kWeights},
    {"", ".ot", Fate::kWeights},
    {"", ".index.json", Fate::kIgnored, "it lists weights that are not read"},
    {"params.json", "", Fate::kIgnored, "config.json describes the model"},
    {"preprocessor_config.json", "", Fate::kIgnored, kImages},
    {"processor_config.json", "", Fate::kIgnored, kImages},
    {"video_preprocessor_config.json", "", Fate::kIgnored, kImages},
    {"", ".py", Fate::kIgnored, kCode},
};

const Row *FindRow(std::string_view name) {
  const auto *row = std::find_if(std::begin(kRows), std::end(kRows), [&](const Row &row) {
    // A whole name, or its beginning or end.
    bool whole = row.end.empty() && row.begin.find('.') != std::string_view::npos;
    return whole ? name == row.begin : name.starts_with(row.begin) && name.ends_with(row.end);
  });
  return row == std::end(kRows) ? nullptr : row;
}

std::vector<std::string> Names(const std::string &directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    names.push_back(it->path().filename().string() + (it->is_directory(ignored) ? "/" : ""));
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Those of one fate.
std::vector<std::string> NamesOf(const std::string &directory, Fate fate) {
  std::vector<std::string> names = Names(directory);
  std::erase_if(names, [&](const std::string &name) {
    const Row *row = FindRow(name);
    return !row || row->fate != fate;
  });
  return names;
}

bool IsOneOf(const std::string &name, const std::vector<std::string> &names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

} // namespace

std::vector<std::string> ForeignWeights(const std::string &directory) {
  std::vector<std::string> names = NamesOf(directory, Fate::kWeights);
  std::erase_if(names, [](const std::string &name) { return name.ends_with(".safetensors"); });
  return names;
}

std::vector<std::string> OlderTokenizerFiles(const std::string &directory) {
  return NamesOf(directory, Fate::kTokenizer);
}

void RefuseAdapter(const std::string &directory, Problems &problems) {
  std::vector<std::string> names = NamesOf(directory, Fate::kAdapter);
  if (!names.empty())
    problems.Add({directory, "", fmt::format("an adapter ({})", fmt::join(names, ", ")), "a whole model",
                  "merge it into its base model and give the directory of the result (peft: merge_and_unload, "
                  "save_pretrained)"});
}

void CheckOtherFiles(const std::string &directory, const std::vector<std::string> &weight_files, bool is_quantized,
                     Problems &problems) {
  std::vector<std::string> rest;
  const bool has_index = std::any_of(weight_files.begin(), weight_files.end(),
                                     [](const std::string &name) { return name != "model.safetensors"; });
  for (const std::string &name : Names(directory)) {
    if (IsOneOf(name, weight_files) || (name == "model.safetensors.index.json" && has_index))
      continue;
    const Row *row = FindRow(name.ends_with('/') ? name.substr(0, name.size() - 1) : name);
    if (!row) {
      rest.push_back(name);
      continue;
    }
    switch (row->fate) {
    case Fate::kRead:
    case Fate::kTokenizer:
    case Fate::kAdapter:
      break;
    case Fate::kQuantized:
      if (!is_quantized)
        problems.Add({name, "", "the description of a quantization", "no quantization",
                      "it is ignored, and weights are read as they are stored", Severity::kWarning});
      break;
    case Fate::kWeights:
      problems.AddNote(
          name, "",
          weight_files.empty()
              ? "ignored: weights come from safetensors files"
              : fmt::format("ignored: weights come from {}",
                            has_index ? "the files that model.safetensors.index.json names" : "model.safetensors"));
      break;
    case Fate::kIgnored:
      problems.AddNote(name, "", fmt::format("ignored: {}", row->reason));
      break;
    }
  }
  if (!rest.empty())
    problems.AddNote(fmt::format("{}", fmt::join(rest, ", ")), "", "ignored: no part of the model");
}

} // namespace inlay::hf
