#include "frontends/hf/QuantizedContents.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "formats/quantization/column_order.h"
#include "formats/quantization/nf4.h"
#include "frontends/hf/Tensors.h"

namespace inlay::hf {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxReadBytes = uint64_t{1} << 23; // Of a tensor that is read: a g_idx of two million columns.
constexpr std::string_view kCopyAgain = "copy the checkpoint from its repository again";
constexpr std::string_view kSaveNested = "save the model again with a current bitsandbytes";

// Groups of columns that are not in order.
struct SortedGroups {
  std::string parent; // Of the module.
  std::string tensor;
  std::vector<int32_t> groups;
};

// Checks the tensors beside those of one matrix.
class Contents {
public:
  Contents(const SafetensorsIndex &weights, const WeightSpec &matrix, const Scheme &scheme, SortedGroups &last_sorted,
           ModelConfig &config, Problems &problems)
      : weights_(weights), matrix_(matrix), scheme_(scheme), module_(matrix.quantized->module),
        last_sorted_(last_sorted), config_(config), problems_(problems) {}

  void Check() {
    if (scheme_.column_groups)
      CheckColumnGroups();
    if (scheme_.layout == TensorLayout::kCompressedTensors)
      CheckShape();
    if (scheme_.layout == TensorLayout::kBitsAndBytes4)
      CheckState();
    if (scheme_.activations == ActivationScheme::kStatic)
      CheckInputScale();
    if (scheme_.scale_name == "SCB")
      if (auto format = Read<uint8_t>(".weight_format", "U8"); format && (format->size() != 1 || format->front() != 0))
        Report(".weight_format", fmt::format("[{}]", fmt::join(*format, ", ")), "0: rows", "save the model again");
  }

private:
  // The elements of the tensor module + suffix, or nothing where there is none or it was reported.
  template <typename Element>
  std::optional<std::vector<Element>> Read(std::string_view suffix, std::string_view dtype) {
    auto it = weights_.tensors.find(module_ + std::string(suffix));
    if (it == weights_.tensors.end())
      return std::nullopt;
    const TensorInfo &tensor = it->second;
    if (tensor.dtype != dtype || tensor.bytes > kMaxReadBytes || tensor.bytes % sizeof(Element) != 0) {
      Report(suffix, fmt::format("dtype {} of {} bytes", tensor.dtype, tensor.bytes), fmt::format("dtype {}", dtype),
             kCopyAgain);
      return std::nullopt;
    }
    std::vector<Element> elements(tensor.bytes / sizeof(Element));
    std::ifstream file(weights_.files[tensor.file], std::ios::binary);
    file.seekg(static_cast<std::streamoff>(tensor.offset));
    if (!file.read(reinterpret_cast<char *>(elements.data()), static_cast<std::streamsize>(tensor.bytes))) {
      Report(suffix, "a file that ends before the tensor", fmt::format("{} bytes", tensor.bytes), kCopyAgain);
      return std::nullopt;
    }
    return elements;
  }

  void Report(std::string_view suffix, std::string found, std::string expected, std::string_view fix) {
    problems_.Add(
        {"safetensors", module_ + std::string(suffix), std::move(found), std::move(expected), std::string(fix)});
  }

  // Column c belongs to group c / size, or to the one that g_idx gives it (desc_act, actorder).
  void CheckColumnGroups() {
    const bool is_gptq = scheme_.layout == TensorLayout::kGptq;
    const std::string_view suffix = is_gptq ? ".g_idx" : ".weight_g_idx";
    const int64_t columns = matrix_.shape[1], size = matrix_.quantized->group;
    if (scheme_.needs_column_groups && !weights_.tensors.contains(module_ + std::string(suffix)))
      return Report(suffix, "no such tensor", fmt::format("shape [{}]", columns), kCopyAgain);
    std::optional<std::vector<int32_t>> index = Read<int32_t>(suffix, "I32");
    if (!index)
      return;
    if (static_cast<int64_t>(index->size()) != columns)
      return Report(suffix, fmt::format("{} elements", index->size()), std::to_string(columns), kCopyAgain);
    // compressed-tensors has -1 everywhere until columns are sorted.
    const bool is_unset = !is_gptq && std::all_of(index->begin(), index->end(), [](int32_t i) { return i == -1; });
    if (is_unset || AreInOrder(*index, size))
      return;
    if (std::optional<ColumnGroupsProblem> problem = ::inlay::CheckColumnGroups(*index, size))
      return Report(suffix, problem->found, problem->expected, kCopyAgain);
    // Projections of one value have the same order as a rule, which then is read once.
    const std::string groups = module_ + std::string(suffix), parent = module_.substr(0, module_.rfind('.'));
    if (last_sorted_.parent != parent || last_sorted_.groups != *index)
      last_sorted_ = {parent, groups, *std::move(index)};
    config_.sorted_columns[module_] = {groups, last_sorted_.tensor};
  }

  // Scales of floats are checked where they are loaded; this one must be positive, too.
  void CheckInputScale() {
    constexpr std::string_view kSuffix = ".input_scale";
    auto it = weights_.tensors.find(module_ + std::string(kSuffix));
    if (it == weights_.tensors.end())
      return; // Missing tensors have been reported.
    double scale = 0;
    if (it->second.dtype == "BF16") {
      std::optional<std::vector<uint16_t>> bits = Read<uint16_t>(kSuffix, "BF16");
      if (!bits || bits->size() != 1)
        return;
      scale = std::bit_cast<float>(static_cast<uint32_t>(bits->front()) << 16);
    } else if (it->second.dtype == "F32") {
      std::optional<std::vector<float>> values = Read<float>(kSuffix, "F32");
      if (!values || values->size() != 1)
        return;
      scale = values->front();
    } else {
      return; // Other types have been reported.
    }
    if (!std::isfinite(scale) || scale <= 0)
      Report(kSuffix, fmt::format("{}", scale), "a finite number above 0",
             "use --activation-quantization none or dynamic, or copy the checkpoint again");
  }

  void CheckShape() {
    std::optional<std::vector<int64_t>> shape = Read<int64_t>(".weight_shape", "I64");
    const int64_t columns = matrix_.shape[1];
    if (shape && (shape->size() != 2 || (*shape)[1] != columns))
      Report(".weight_shape", fmt::format("[{}]", fmt::join(*shape, ", ")), fmt::format("[rows, {}]", columns),
             kCopyAgain);
  }

  void CheckState() {
    if (auto map = Read<float>(".weight.quant_map", "F32"))
      if (map->size() != kNf4.size() ||
          !std::equal(map->begin(), map->end(), kNf4.begin(), [](float a, float b) { return std::abs(a - b) < 1e-6f; }))
        Report(".weight.quant_map", "other values", "the quantiles of nf4", "save the model again with quant_type nf4");
    constexpr std::string_view kSuffix = ".weight.quant_state.bitsandbytes__nf4";
    std::optional<std::vector<char>> text = Read<char>(kSuffix, "U8");
    if (!text)
      return;
    std::optional<json> state = ParseJson(std::string_view(text->data(), text->size()), module_, problems_);
    if (!state)
      return;
    ConfigReader keys(*state, "safetensors", module_ + std::string(kSuffix) + ".", problems_);
    if (const json *size = keys.Find("blocksize"); !size || *size != matrix_.quantized->group)
      keys.Error("blocksize", size ? Describe(*size) : "no such key", std::to_string(matrix_.quantized->group),
                 "save the model again with blocks of this size");
    CheckNested(keys);
  }

  // What bitsandbytes adds to scales that were quantised themselves.
  void CheckNested(ConfigReader &keys) {
    const json *offset = keys.Find("nested_offset"), *block = keys.Find("nested_blocksize");
    if (!scheme_.nested_scales) {
      if (offset)
        keys.Error("nested_offset", Describe(*offset), "no nested scales",
                   "set bnb_4bit_use_double_quant in config.json");
      return;
    }
    if (!offset || !offset->is_number() || !std::isfinite(offset->get<double>()))
      return keys.Error("nested_offset", offset ? Describe(*offset) : "no such key", "a finite number",
                        std::string(kSaveNested));
    if (!block || *block != kNestedBlock)
      return keys.Error("nested_blocksize", block ? Describe(*block) : "no such key", std::to_string(kNestedBlock),
                        std::string(kSaveNested));
    config_.nested_offsets[module_ + ".weight.absmax"] = offset->get<double>();
  }

  const SafetensorsIndex &weights_;
  const WeightSpec &matrix_;
  const Scheme &scheme_;
  const std::string &module_;
  SortedGroups &last_sorted_; // Those of the module before, where they were not in order.
  ModelConfig &config_;
  Problems &problems_;
};

} // namespace

void CheckQuantizedContents(Checkpoint &checkpoint, Problems &problems) {
  ModelConfig &config = checkpoint.config;
  if (!config.quantization || config.quantization->IsOfFloats())
    return;
  const std::string head = CheckpointName(config, config.family->modules.lm_head);
  SortedGroups last_sorted;
  std::string last; // Parts of one tensor follow each other.
  for (const WeightSpec &weight : RequiredWeights(config)) {
    if (!weight.quantized || weight.quantized->module == last)
      continue;
    last = weight.quantized->module;
    if (const Scheme *scheme = config.quantization->SchemeOf(last, last == head))
      Contents(checkpoint.weights, weight, *scheme, last_sorted, config, problems).Check();
  }
}

} // namespace inlay::hf
