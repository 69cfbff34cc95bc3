#include "frontends/hf/QuantizationReader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "frontends/hf/ConfigParts.h"

namespace inlay::hf {
namespace {

using nlohmann::json;
using Style = ModulePatterns::Style;

} // namespace

void QuantizationReader::Expect(ConfigReader &keys, std::string_view key, const json &expected, std::string_view fix) {
  if (const json *value = keys.Find(key); value && *value != expected)
    keys.Error(key, Describe(*value), Describe(expected), std::string(fix));
}

void QuantizationReader::RefuseUnread(ConfigReader &keys, std::string_view format) {
  for (const std::string &key : keys.UnreadKeys())
    if (keys.Has(key))
      keys.Error(key, Describe(*keys.Find(key)), fmt::format("a key of the format {}", format),
                 "remove the key if it does not change the weights");
}

Quantization QuantizationReader::ReadConfig() {
  const Named<void (QuantizationReader::*)()> methods[] = {
      {"fp8", &QuantizationReader::ReadFp8},
      {"fbgemm_fp8", &QuantizationReader::ReadFbgemmFp8},
      {"compressed-tensors", &QuantizationReader::ReadCompressedTensors},
      {"awq", &QuantizationReader::ReadAwq},
      {"gptq", &QuantizationReader::ReadGptq},
      {"bitsandbytes", &QuantizationReader::ReadBitsAndBytes},
      {"modelopt", nullptr},
  };
  const json *method = keys_.Find("quant_method");
  // compressed-tensors wrote the key only from version 0.5 on.
  if (!method && keys_.Has("config_groups"))
    result_.method_ = "compressed-tensors";
  else if (method && method->is_string())
    result_.method_ = method->get<std::string>();
  auto read = Lookup(methods, result_.method_);
  if (!read) {
    keys_.Error("quant_method", method ? Describe(*method) : "no such key", OneOf(methods), std::string(kOtherFormat));
    return result_;
  }
  if (*read)
    (this->**read)();
  else
    ReadModelOpt(keys_, keys_.Has("ignore") ? "ignore" : "exclude_modules");
  RefuseUnread(keys_, result_.method_);
  return std::move(result_);
}

// DeepSeek-V3, Qwen3-FP8, AutoFP8. Scales of blocks are called `weight_scale_inv` and are factors all the same.
void QuantizationReader::ReadFp8() {
  Scheme scheme{.scales = ScaleShape::kTensor, .activations = ActivationScheme::kTokens};
  Expect(keys_, "fmt", "e4m3", kOtherFormat);
  Expect(keys_, "scale_fmt", "ue8m0", kOtherFormat);
  const std::string activations = keys_.String("activation_scheme").value_or("dynamic");
  if (activations == "static")
    scheme.activations = ActivationScheme::kStatic;
  else if (activations != "dynamic")
    keys_.Error("activation_scheme", Describe(json(activations)), "\"dynamic\" or \"static\"",
                std::string(kOtherFormat));
  if (const json *block = keys_.Find("weight_block_size")) {
    if (*block != json::array({128, 128}))
      keys_.Error("weight_block_size", Describe(*block), "[128,128]", std::string(kOtherFormat));
    scheme.scales = ScaleShape::kBlock;
    scheme.scale_name = "weight_scale_inv";
    scheme.group = scheme.block_rows = 128;
    if (scheme.activations == ActivationScheme::kTokens)
      scheme.activations = ActivationScheme::kGroups;
  }
  ReadCacheScheme(keys_);
  Skip({"dequantize"});
  for (std::string_view key : {"modules_to_not_convert", "ignored_layers"})
    result_.ignored_.Add(ModulePatterns::Read(keys_, key, Style::kPath));
  AddRule(scheme);
}

void QuantizationReader::ReadFbgemmFp8() {
  Skip({"activation_scale_ub"});
  result_.ignored_ = ModulePatterns::Read(keys_, "modules_to_not_convert", Style::kPath);
  Scheme scheme{.scales = ScaleShape::kRow};
  scheme.RefuseActivations("its scales of tokens have an upper bound (activation_scale_ub)");
  AddRule(scheme);
}

// Keys come as AutoAWQ writes them (w_bit), or as transformers does (bits).
void QuantizationReader::ReadAwq() {
  Scheme scheme{.codes = Codes::kU4, .layout = TensorLayout::kAwq, .scales = ScaleShape::kGroup, .zero_points = true};
  for (std::string_view key : {"bits", "w_bit"})
    Expect(keys_, key, 4, kOtherFormat);
  for (std::string_view key : {"group_size", "q_group_size"})
    if (auto size = keys_.Int(key, -1, kMaxWidth)) {
      scheme.group = *size;
      if (*size == -1 || *size == 0 || *size % kGroupUnit != 0)
        keys_.Error(key, std::to_string(*size), fmt::format("a multiple of {}", kGroupUnit), std::string(kOtherFormat));
    }
  if (!keys_.Has("group_size") && !keys_.Has("q_group_size"))
    keys_.Error("group_size", "no such key", fmt::format("a multiple of {}", kGroupUnit), "add the key");
  Expect(keys_, "zero_point", true, kOtherFormat);
  for (std::string_view key : {"version", "backend"})
    if (auto value = keys_.String(key); value && *value != "gemm" && *value != "GEMM" && *value != "autoawq")
      keys_.Error(key, Describe(*value), "\"gemm\"", std::string(kOtherFormat));
  Skip({"do_fuse", "fuse_max_seq_len", "modules_to_fuse", "exllama_config"});
  result_.ignored_ = ModulePatterns::Read(keys_, "modules_to_not_convert", Style::kPath);
  AddRule(scheme);
}

void QuantizationReader::ReadGptq() {
  Scheme scheme{
      .layout = TensorLayout::kGptq, .scales = ScaleShape::kGroup, .zero_points = true, .column_groups = true};
  const int64_t bits = keys_.RequireInt("bits", 1, 32);
  if (bits != 4 && bits != 8)
    keys_.Error("bits", std::to_string(bits), "4 or 8", std::string(kOtherFormat));
  scheme.codes = bits == 4 ? Codes::kU4 : Codes::kU8;
  const int64_t group = keys_.Int("group_size", -1, kMaxWidth).value_or(-1);
  if (group == 0 || (group > 0 && group % kGroupUnit != 0))
    keys_.Error("group_size", std::to_string(group), fmt::format("-1 or a multiple of {}", kGroupUnit),
                std::string(kOtherFormat));
  if (group > 0)
    scheme.group = group;
  else
    scheme.scales = ScaleShape::kRow;
  // The first version stores zero points less 1 (AutoGPTQ), the second as they are (GPTQModel).
  const std::string format = keys_.String("checkpoint_format").value_or("gptq");
  if (format != "gptq" && format != "gptq_v2")
    keys_.Error("checkpoint_format", Describe(format), "\"gptq\" or \"gptq_v2\"", std::string(kOtherFormat));
  scheme.zero_point_offset = format == "gptq_v2" ? 0 : 1;
  scheme.needs_column_groups = keys_.Bool("desc_act", false);
  keys_.Bool("sym", true);
  Expect(keys_, "is_marlin_format", false, kOtherFormat);
  Expect(keys_, "pack_dtype", "int32", kOtherFormat);
  result_.head_ = keys_.Bool("lm_head", false);
  ReadGptqDynamic();
  // A list of lists of modules, or a list.
  if (const json *blocks = keys_.Find("modules_in_block_to_quantize")) {
    ModulePatterns targets;
    auto add = [&](const json &name) {
      if (name.is_string())
        targets.Add(keys_, "modules_in_block_to_quantize", name.get<std::string>(), Style::kPath);
      else
        keys_.Error("modules_in_block_to_quantize", Describe(name), "the name of a module", "correct the value");
    };
    for (const json &entry : *blocks)
      if (entry.is_array())
        for (const json &name : entry)
          add(name);
      else
        add(entry);
    result_.rules_.push_back({std::move(targets), scheme});
  } else {
    AddRule(scheme);
  }
  Skip({"model_name_or_path",
        "model_file_base_name",
        "static_groups",
        "true_sequential",
        "damp_percent",
        "quantizer",
        "meta",
        "dataset",
        "tokenizer",
        "block_name_to_quantize",
        "module_name_preceding_first_block",
        "batch_size",
        "pad_token_id",
        "use_exllama",
        "disable_exllama",
        "exllama_config",
        "max_input_length",
        "use_cuda_fp16",
        "model_seqlen",
        "cache_block_outputs",
        "backend",
        "quant_format",
        "act_group_aware",
        "damp_auto_increment",
        "mse",
        "v2",
        "v2_alpha",
        "v2_memory_device",
        "parallel_packing",
        "offload_to_disk",
        "format",
        "hessian_chunk_size"});
}

// Regular expressions of modules: "-:" are not quantized, "+:" (or no mark) are quantized in another way.
void QuantizationReader::ReadGptqDynamic() {
  const json *dynamic = keys_.Find("dynamic");
  if (!dynamic)
    return;
  if (!dynamic->is_object())
    return keys_.Error("dynamic", Describe(*dynamic), "an object of regular expressions", "correct the value");
  for (const auto &item : dynamic->items()) {
    const std::string_view pattern = item.key();
    if (pattern.starts_with("-:"))
      result_.ignored_.Add(keys_, "dynamic", pattern.substr(2), Style::kRegex);
    else if (!item.value().is_object() || !item.value().empty())
      keys_.Error("dynamic", Describe(json{{item.key(), item.value()}}), "only modules that are left out (\"-:\")",
                  std::string(kOtherFormat));
  }
}

void QuantizationReader::ReadBitsAndBytes() {
  // transformers writes both forms of each of the two flags.
  bool four = keys_.Bool("load_in_4bit", false), eight = keys_.Bool("load_in_8bit", false);
  Skip({"_load_in_4bit", "_load_in_8bit", "bnb_4bit_compute_dtype", "llm_int8_enable_fp32_cpu_offload",
        "llm_int8_threshold"});
  if (four == eight)
    keys_.Error("load_in_4bit", four ? "true" : "false", "one of load_in_4bit and load_in_8bit", "correct the value");
  if (const json *type = keys_.Find("bnb_4bit_quant_type"); four && (!type || *type != "nf4"))
    keys_.Error("bnb_4bit_quant_type", type ? Describe(*type) : "no such key", "\"nf4\"", std::string(kOtherFormat));
  const bool nested = keys_.Bool("bnb_4bit_use_double_quant", false);
  Expect(keys_, "bnb_4bit_quant_storage", "uint8", kOtherFormat);
  Expect(keys_, "llm_int8_has_fp16_weight", false, kOtherFormat);
  result_.ignored_ = ModulePatterns::Read(keys_, "llm_int8_skip_modules", Style::kPath);
  if (four) {
    AddRule({.codes = Codes::kNf4,
             .layout = TensorLayout::kBitsAndBytes4,
             .scales = ScaleShape::kGroup,
             .group = 64,
             .nested_scales = nested});
  } else {
    Scheme scheme{.codes = Codes::kI8, .scales = ScaleShape::kRow, .scale_name = "SCB", .scale_factor = 1.0 / 127};
    scheme.RefuseActivations("its columns with outliers stay floats (LLM.int8())");
    AddRule(scheme);
  }
}

// An object as compressed-tensors writes it, or the name of an algorithm of ModelOpt. Of other schemes than static fp8
// keys and values stay floats.
void QuantizationReader::ReadCacheScheme(ConfigReader &keys) {
  if (const json *scheme = keys.Find("kv_cache_scheme"); scheme && scheme->is_object()) {
    auto is = [&](const char *key, const json &expected) {
      auto found = scheme->find(key);
      return found == scheme->end() || *found == expected;
    };
    result_.has_fp8_cache_ = is("type", "float") && is("num_bits", 8) && is("dynamic", false) && is("symmetric", true);
  }
  if (const json *algorithm = keys.Find("kv_cache_quant_algo"); algorithm && *algorithm == "FP8")
    result_.has_fp8_cache_ = true;
}

} // namespace inlay::hf
