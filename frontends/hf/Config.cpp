#include "frontends/hf/Config.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "frontends/hf/ConfigParts.h"
#include "frontends/hf/TextConfig.h"
#include "frontends/hf/TokenIds.h"

namespace inlay::hf {
namespace {

using nlohmann::json;

constexpr Named<DType> kDTypes[] = {
    {"bfloat16", DType::kBFloat16}, {"float16", DType::kFloat16}, {"float32", DType::kFloat32}};

constexpr Named<Activation> kActivations[] = {{"silu", Activation::kSilu},
                                              {"swish", Activation::kSilu},
                                              {"gelu", Activation::kGelu},
                                              {"gelu_new", Activation::kGeluTanh},
                                              {"gelu_pytorch_tanh", Activation::kGeluTanh},
                                              {"gelu_fast", Activation::kGeluTanh},
                                              {"relu", Activation::kRelu},
                                              {"relu2", Activation::kRelu2}};

// Reads one configuration; each method reads one group of keys.
class Reader {
public:
  Reader(const json &object, std::string_view file, std::string_view prefix, const ModelOptions &options,
         Problems &problems)
      : keys_(object, file, prefix, problems), file_(file), options_(options), problems_(problems),
        parts_{keys_, file_, options_, problems_, config_} {}

  ModelConfig Read();

private:
  void ReadFamily();
  const Family *FindVariant(const Family &first);
  bool NamesFamily(std::string_view architecture) const {
    const Family *named = FindFamilyOfArchitecture(architecture);
    return named && named->model_type == config_.family->model_type;
  }
  void ReadSizes();
  void ReadHeads(bool sizes_are_right);
  void ReadLength();
  void ReadTypes();
  void ReadFactors();
  void ReadTokens();
  void RefuseUnsupported();
  void ReadQuantization(const json &quantization);

  bool ReadFlag(const Flag &flag) { return flag.key.empty() ? flag.value : keys_.Bool(flag.key, flag.value); }
  std::optional<int64_t> ReadInt(std::string_view key, int64_t min, int64_t max) {
    return key.empty() ? std::nullopt : keys_.Int(key, min, max);
  }
  bool Has(std::string_view key) const { return !key.empty() && keys_.Has(key); }
  double ReadFactor(const Factor &factor);
  std::optional<double> ReadCap(const Cap &cap);

  ConfigReader keys_;
  std::string file_;
  const ModelOptions &options_;
  Problems &problems_;
  ModelConfig config_;
  ConfigParts parts_;
};

ModelConfig Reader::Read() {
  ReadFamily();
  if (!config_.family)
    return config_; // What the keys mean depends on it.
  ReadSizes();
  ReadLayers(parts_);
  ReadLength();
  ReadRopes(parts_);
  ReadTypes();
  ReadFactors();
  ReadTokens();
  RefuseUnsupported();
  return config_;
}

void Reader::ReadFamily() {
  std::string supported;
  std::string_view last;
  for (const Family &family : AllFamilies())
    if (family.model_type != std::exchange(last, family.model_type)) // Rows of one family stand together.
      supported += fmt::format("{}{}", supported.empty() ? "one of " : ", ", family.model_type);
  const json *architectures = keys_.Find("architectures");
  auto model_type = keys_.String("model_type");
  if (model_type) {
    config_.family = FindFamily(*model_type);
    if (!config_.family)
      keys_.Error("model_type", Describe(*model_type), supported, "this family is not supported yet");
  } else if (!keys_.Has("model_type")) {
    // Configurations from before transformers had the key name the architecture alone.
    if (architectures && architectures->is_array() && architectures->size() == 1 && (*architectures)[0].is_string())
      config_.family = FindFamilyOfArchitecture((*architectures)[0].get<std::string>());
    if (config_.family)
      keys_.Warn("model_type", "no such key", fmt::format("\"{}\"", config_.family->model_type),
                 "it is taken from architectures");
    else
      keys_.Error("model_type", "no such key", supported, "add the key");
  }
  if (config_.family)
    config_.family = FindVariant(*config_.family);
  if (!architectures || !config_.family)
    return;
  // The model is that of model_type, as in transformers. What is named here may have other layers on top.
  bool matches =
      architectures->is_array() && std::all_of(architectures->begin(), architectures->end(), [&](const json &name) {
        return name.is_string() && NamesFamily(name.get<std::string>());
      });
  if (!matches)
    keys_.Error("architectures", Describe(*architectures), fmt::format("[\"{}\"]", config_.family->architecture),
                "only causal language models are supported");
}

// The row of the model type whose conditions hold; null where there is none, which is reported.
const Family *Reader::FindVariant(const Family &first) {
  auto holds = [&](const Condition &condition) {
    const json *value = condition.key.empty() ? nullptr : keys_.Find(condition.key);
    if (!value)
      return condition.otherwise == condition.value;
    return value->is_boolean() ? int64_t{value->get<bool>()} == condition.value : *value == condition.value;
  };
  for (const Family &family : AllFamilies())
    if (family.model_type == first.model_type && std::all_of(family.when.begin(), family.when.end(), holds))
      return &family;
  for (const Condition &condition : first.when)
    if (!condition.key.empty() && keys_.Has(condition.key))
      keys_.Error(condition.key, Describe(*keys_.Find(condition.key)), std::to_string(condition.value),
                  fmt::format("this variant of {} is not supported", first.model_type));
  return nullptr;
}

void Reader::ReadSizes() {
  const Family &family = *config_.family;
  const ConfigKeys &names = family.keys;
  const size_t errors_before = problems_.errors();
  // A key that may be absent where the class of the family has a value of its own.
  auto read = [&](std::string_view key, int64_t max, int64_t otherwise) {
    return otherwise > 0 && (key.empty() || !keys_.Find(key)) ? otherwise : keys_.RequireInt(key, 1, max);
  };
  config_.vocab_size = read("vocab_size", kMaxVocab, family.defaults.vocab);
  config_.hidden_size = keys_.RequireInt(names.hidden_size, 1, kMaxWidth);
  config_.embedding_size = ReadInt(names.embedding_size, 1, kMaxWidth).value_or(config_.hidden_size);
  config_.intermediate_size =
      read(names.intermediate_size, kMaxWidth, family.defaults.inner_factor * config_.hidden_size);
  config_.layers.resize(keys_.RequireInt(names.layers, 1, kMaxLayers));
  config_.heads = read(names.heads, kMaxHeads, family.defaults.heads);

  config_.tie_word_embeddings = keys_.Bool("tie_word_embeddings", family.defaults.tied);
  config_.qkv_bias = ReadFlag(family.qkv_bias);
  config_.output_bias = ReadFlag(family.output_bias);
  config_.mlp_bias = ReadFlag(family.mlp_bias);
  config_.head_bias = ReadFlag(family.head_bias);
  if (ReadFlag(family.qk_norm.when))
    config_.qk_norm = family.qk_norm.kind;
  config_.norms_before = ReadFlag(family.norms_before);
  config_.parallel = ReadFlag(family.parallel);
  config_.norm_eps = family.defaults.norm_eps;
  if (!names.norm_eps.empty())
    config_.norm_eps = keys_.Number(names.norm_eps, 0, 1).value_or(config_.norm_eps);
  ReadHeads(problems_.errors() == errors_before);
}

void Reader::ReadHeads(bool sizes_are_right) {
  const Defaults &defaults = config_.family->defaults;
  const ConfigKeys &names = config_.family->keys;
  const bool default_kv_heads = defaults.kv_heads && !keys_.IsNull(names.kv_heads);
  std::optional<int64_t> kv_heads = ReadInt(names.kv_heads, 1, kMaxHeads);
  std::optional<int64_t> head_dim = ReadInt(names.head_dim, 2, kMaxHeadDim);
  config_.kv_heads = kv_heads.value_or(default_kv_heads ? defaults.kv_heads : config_.heads);
  const bool derived = !Has(names.head_dim) && !defaults.head_dim;
  config_.head_dim = head_dim.value_or(derived ? config_.hidden_size / config_.heads : defaults.head_dim);

  config_.rotary_dim = config_.head_dim;

  // What follows from a value that was wrong already is no news.
  if (!sizes_are_right || Has(names.kv_heads) != kv_heads.has_value() || Has(names.head_dim) != head_dim.has_value())
    return;
  if (config_.heads % config_.kv_heads != 0)
    keys_.Error(names.kv_heads, std::to_string(config_.kv_heads),
                fmt::format("a divisor of {} = {}", names.heads, config_.heads), "correct one of the two");
  if (derived && config_.hidden_size % config_.heads != 0)
    keys_.Error(names.hidden_size, std::to_string(config_.hidden_size),
                fmt::format("a multiple of {} = {}", names.heads, config_.heads),
                "correct one of the two or give head_dim");
  else if (config_.head_dim % 2 != 0 || config_.head_dim < 4 || config_.head_dim > kMaxHeadDim)
    keys_.Error(
        "head_dim",
        fmt::format("{}{}", config_.head_dim, derived ? fmt::format(" ({} / {})", names.hidden_size, names.heads) : ""),
        fmt::format("an even number from 4 to {}", kMaxHeadDim), "rope rotates the two halves of a head");
}

// Slopes as BLOOM has them: those of the largest power of two of heads, then every other one of twice as many.
std::vector<double> AlibiSlopes(int64_t heads) {
  const auto power = static_cast<double>(std::bit_floor(static_cast<uint64_t>(heads)));
  std::vector<double> slopes;
  for (int64_t i = 0; i < heads; ++i) {
    const auto k = static_cast<double>(i);
    slopes.push_back(std::exp2(k < power ? -8 * (k + 1) / power : -4 * (2 * (k - power) + 1) / power));
  }
  return slopes;
}

void Reader::ReadLength() {
  const std::string_view key = config_.family->keys.positions;
  const int64_t family_default = config_.family->defaults.positions;
  const int64_t trained = ReadInt(key, 1, kMaxLength).value_or(family_default);
  parts_.max_position_embeddings = trained;
  if (!key.empty() && !keys_.Has(key))
    keys_.Warn(key, keys_.IsNull(key) ? "null" : "no such key", "the positions that the model was trained on",
               fmt::format("{} are taken, the default of transformers for {}; add the key or give --max-model-len",
                           family_default, config_.family->model_type));
  if (config_.family->positions == Positions::kAlibi)
    config_.alibi = AlibiSlopes(config_.heads);
  config_.max_model_len =
      options_.max_model_len.value_or(std::min(trained, options_.default_max_model_len_cap.value_or(trained)));
  if (config_.max_model_len < 1 || config_.max_model_len > kMaxLength)
    problems_.Add({"--max-model-len", "", std::to_string(config_.max_model_len),
                   fmt::format("an integer from 1 to {}", kMaxLength), "correct the option"});
  if (config_.family->positions == Positions::kLearned && config_.max_model_len > trained)
    problems_.Add({"--max-model-len", "", std::to_string(config_.max_model_len),
                   fmt::format("at most {} = {}", key, trained), "the model has learned no position beyond"});
  config_.learned_positions = trained + config_.family->position_offset;
  config_.max_prompt_len = config_.max_model_len;
  for (LayerConfig &layer : config_.layers)
    if (layer.window && *layer.window >= config_.max_model_len)
      layer.window.reset();
}

void Reader::ReadTypes() {
  // transformers 5 writes `dtype`, 4 `torch_dtype`.
  const std::string_view key = keys_.Has("dtype") ? "dtype" : "torch_dtype";
  std::optional<std::string> name = keys_.String(key);
  const json *dtype_key = keys_.Find("dtype"), *torch_dtype = keys_.Find("torch_dtype");
  if (dtype_key && torch_dtype && *dtype_key != *torch_dtype)
    keys_.Warn("torch_dtype", Describe(*torch_dtype), fmt::format("{}, as in dtype", Describe(*dtype_key)),
               "dtype is used");
  config_.dtype = DType::kFloat32; // transformers' own default.
  if (name && *name != "auto") {
    std::string_view bare = *name;
    if (bare.starts_with("torch."))
      bare.remove_prefix(6);
    if (auto dtype = Lookup(kDTypes, bare))
      config_.dtype = *dtype;
    else
      keys_.Error(key, Describe(*name), OneOf(kDTypes), "other types are not supported");
  }
  if (options_.dtype)
    config_.dtype = *options_.dtype;

  const std::string_view activation_key = config_.family->keys.activation;
  std::optional<std::string> activation = keys_.String(activation_key);
  if (auto kind = Lookup(kActivations, activation.value_or(std::string(config_.family->defaults.activation))))
    config_.activation = *kind == Activation::kGelu && config_.family->gelu_is_tanh ? Activation::kGeluTanh : *kind;
  else
    keys_.Error(activation_key, Describe(*activation), OneOf(kActivations), "other activations are not supported");
}

// `value` with as many bits as the type keeps.
double RoundTo(DType dtype, double value) {
  const int bits = dtype == DType::kBFloat16 ? 8 : dtype == DType::kFloat16 ? 11 : 24;
  int exponent = 0;
  const double mantissa = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(mantissa, bits)), exponent - bits);
}

double Reader::ReadFactor(const Factor &factor) {
  constexpr double kMaxFactor = 1e6;
  if (factor.key.empty())
    return 1.0;
  double number = factor.otherwise;
  if (factor.key == config_.family->keys.head_dim || factor.key == "head_dim")
    number = static_cast<double>(config_.head_dim); // May follow from other keys.
  else if (factor.key == config_.family->keys.hidden_size)
    number = static_cast<double>(config_.hidden_size);
  else
    number = keys_.PositiveNumber(factor.key, kMaxFactor).value_or(number);
  switch (factor.apply) {
  case Factor::kIdentity:
    return number;
  case Factor::kReciprocal:
    return 1.0 / number;
  case Factor::kSquareRoot:
    return RoundTo(config_.dtype, std::sqrt(number)); // transformers has it as a tensor of this type.
  case Factor::kReciprocalSquareRoot:
    return 1.0 / std::sqrt(number);
  }
  return number;
}

std::optional<double> Reader::ReadCap(const Cap &cap) {
  constexpr double kMaxCap = 1e6;
  if (cap.key.empty())
    return std::nullopt;
  std::optional<double> value = keys_.PositiveNumber(cap.key, kMaxCap);
  if (!value && !keys_.IsNull(cap.key) && cap.otherwise > 0)
    value = cap.otherwise;
  return value;
}

void Reader::ReadFactors() {
  const Family &family = *config_.family;
  config_.embedding_scale = ReadFactor(family.embedding_scale);
  config_.residual_scale = ReadFactor(family.residual_scale);
  config_.attention_scale = ReadFactor(family.attention_scale);
  config_.logits_scale = ReadFactor(family.logits_scale);
  config_.attention_softcap = ReadCap(family.attention_softcap);
  config_.logits_softcap = ReadCap(family.logits_softcap);
  if (family.float16_overflows && config_.dtype == DType::kFloat16)
    problems_.Add({options_.dtype ? "--dtype" : file_, options_.dtype ? "" : "dtype", "float16", "bfloat16 or float32",
                   fmt::format("the activations of {} overflow in float16; give --dtype bfloat16", family.model_type)});
}

void Reader::ReadTokens() {
  const Defaults &defaults = config_.family->defaults;
  auto is_absent = [&](std::string_view key) { return !keys_.Find(key) && !keys_.IsNull(key); };
  config_.bos = ReadBeginToken(keys_, config_.vocab_size);
  if (is_absent("bos_token_id") && defaults.bos >= 0)
    config_.bos = defaults.bos;
  config_.eos = ReadEndTokens(keys_, config_.vocab_size).value_or(std::vector<int64_t>());
  if (is_absent("eos_token_id") && defaults.eos >= 0)
    config_.eos = {defaults.eos};
}

void Reader::ReadQuantization(const json &quantization) {
  constexpr std::string_view kKey = "quantization_config";
  if (!quantization.is_object())
    return keys_.Error(kKey, Describe(quantization), "an object", "correct the value");
  if (config_.family->transposed)
    return keys_.Error(kKey, Describe(quantization), "no quantization",
                       fmt::format("use the unquantized checkpoint of the {}", config_.family->model_type));
  ConfigReader keys(quantization, file_, fmt::format("{}{}.", keys_.prefix(), kKey), problems_);
  config_.quantization = Quantization::Read(keys, problems_, file_);
}

void Reader::RefuseUnsupported() {
  const Family &family = *config_.family;
  for (const Flag &flag : family.fixed)
    if (!flag.key.empty() && keys_.Bool(flag.key, flag.value) != flag.value)
      keys_.Error(flag.key, flag.value ? "false" : "true", flag.value ? "true" : "false",
                  fmt::format("this variant of {} is not supported", family.model_type));
  if (const json *value = family.null_key.empty() ? nullptr : keys_.Find(family.null_key))
    keys_.Error(family.null_key, Describe(*value), "null",
                fmt::format("this variant of {} is not supported", family.model_type));
  if (const json *quantization = keys_.Find("quantization_config"))
    ReadQuantization(*quantization);
  if (const json *remote = keys_.Find("auto_map"); remote && !family.published_with_code)
    keys_.Error("auto_map", Describe(*remote), "no code of the checkpoint's own",
                "remove the key if the model is a plain " + std::string(family.architecture));
  std::vector<std::string> ignored;
  for (const std::string &key : keys_.UnreadKeys())
    if (IsIgnoredKey(key))
      ignored.push_back(key);
    else if (keys_.Has(key))
      keys_.Warn(key, Describe(*keys_.Find(key)), fmt::format("a key of {}", config_.family->model_type),
                 "it is not used, neither by transformers");
  if (!ignored.empty())
    problems_.AddNote(file_, fmt::format("{}", fmt::join(ignored, ", ")), "ignored: no part of the model's arithmetic");
}

} // namespace

std::string_view DTypeName(DType dtype) {
  return std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const auto &row) { return row.value == dtype; })
      ->name;
}

std::optional<DType> ParseDType(std::string_view name) { return Lookup(kDTypes, name); }

std::optional<ModelConfig> ParseConfig(std::string_view text, std::string_view file, const ModelOptions &options,
                                       Problems &problems) {
  Problems found;
  std::optional<ModelConfig> config;
  if (std::optional<json> object = ParseJson(text, file, found)) {
    std::optional<json> text_config = FindTextConfig(*object, file, found);
    if (!found.HasErrors())
      config = text_config ? Reader(*text_config, file, "text_config.", options, found).Read()
                           : Reader(*object, file, "", options, found).Read();
    if (config)
      config->is_text_part = text_config.has_value();
  }
  problems.Add(found);
  if (found.HasErrors())
    return std::nullopt;
  return config;
}

} // namespace inlay::hf
