#include "frontends/hf/Config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "frontends/hf/ConfigReader.h"
#include "frontends/hf/TokenIds.h"

namespace inlay::hf {
namespace {

using nlohmann::json;

// Bounds of what is read: generous for any model, small enough that products
// of three of them stay below 2^63.
constexpr int64_t kMaxVocab = 1 << 24;
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxLayers = 1 << 12;
constexpr int64_t kMaxHeads = 1 << 12;
constexpr int64_t kMaxHeadDim = 1 << 10;
constexpr int64_t kMaxLength = 1 << 24;
constexpr double kMaxRopeTheta = 1e15;
constexpr double kMaxRopeFactor = 1e6;

template <typename Value> struct Named {
  std::string_view name;
  Value value;
};

constexpr Named<DType> kDTypes[] = {
    {"bfloat16", DType::kBFloat16}, {"float16", DType::kFloat16}, {"float32", DType::kFloat32}};

constexpr Named<Activation> kActivations[] = {{"silu", Activation::kSilu},
                                              {"swish", Activation::kSilu},
                                              {"gelu", Activation::kGelu},
                                              {"gelu_new", Activation::kGeluTanh},
                                              {"gelu_pytorch_tanh", Activation::kGeluTanh}};

constexpr Named<RopeKind> kRopeKinds[] = {{"default", RopeKind::kDefault},
                                          {"linear", RopeKind::kLinear},
                                          {"dynamic", RopeKind::kDynamic},
                                          {"llama3", RopeKind::kLlama3},
                                          {"yarn", RopeKind::kYarn}};

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

// Reads one configuration; each method reads one group of keys.
class Reader {
public:
  Reader(const json &object, std::string_view file, const ModelOptions &options, Problems &problems)
      : keys_(object, file, "", problems), file_(file), options_(options), problems_(problems) {}

  ModelConfig Read();

private:
  void ReadFamily();
  void ReadSizes();
  void ReadHeads(bool sizes_are_right);
  void ReadLength();
  void ReadWindows();
  void ReadRopes();
  void ReadTypes();
  void ReadTokens();
  void RefuseUnsupported();
  bool HasBias(BiasRule rule, std::string_view key);
  RopeParameters ReadRope(const json &object, const std::string &prefix);
  void LimitDynamicRope();

  // The index of the frequencies among the distinct ones.
  size_t AddRope(const RopeParameters &parameters);

  ConfigReader keys_;
  std::string file_;
  const ModelOptions &options_;
  Problems &problems_;
  ModelConfig config_;
  int64_t max_position_embeddings_ = 1;
  std::vector<std::string> layer_types_; // Of each layer, where the family has them.
};

ModelConfig Reader::Read() {
  ReadFamily();
  if (!config_.family)
    return config_; // What the keys mean depends on it.
  ReadSizes();
  ReadWindows();
  ReadLength();
  ReadRopes();
  ReadTypes();
  ReadTokens();
  RefuseUnsupported();
  return config_;
}

void Reader::ReadFamily() {
  std::string supported;
  for (const Family &family : AllFamilies())
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
  if (!architectures || !config_.family)
    return;
  // The model is that of model_type, as in transformers. What is named here may have other layers on top.
  bool matches =
      architectures->is_array() && std::all_of(architectures->begin(), architectures->end(), [&](const json &name) {
        return name.is_string() && FindFamilyOfArchitecture(name.get<std::string>()) == config_.family;
      });
  if (!matches)
    keys_.Error("architectures", Describe(*architectures), fmt::format("[\"{}\"]", config_.family->architecture),
                "only causal language models are supported");
}

void Reader::ReadSizes() {
  const Family &family = *config_.family;
  const size_t errors_before = problems_.errors();
  config_.vocab_size = keys_.RequireInt("vocab_size", 1, kMaxVocab);
  config_.hidden_size = keys_.RequireInt("hidden_size", 1, kMaxWidth);
  config_.intermediate_size = keys_.RequireInt("intermediate_size", 1, kMaxWidth);
  config_.layers.resize(keys_.RequireInt("num_hidden_layers", 1, kMaxLayers));
  config_.heads = keys_.RequireInt("num_attention_heads", 1, kMaxHeads);

  config_.tie_word_embeddings = keys_.Bool("tie_word_embeddings", false);
  config_.qkv_bias = HasBias(family.qkv_bias, "attention_bias");
  config_.output_bias = HasBias(family.output_bias, "attention_bias");
  config_.mlp_bias = HasBias(family.mlp_bias, "mlp_bias");
  config_.rms_norm_eps = keys_.Number("rms_norm_eps", 0, 1).value_or(1e-6);
  ReadHeads(problems_.errors() == errors_before);
}

void Reader::ReadHeads(bool sizes_are_right) {
  const Family &family = *config_.family;
  const bool default_kv_heads = family.default_kv_heads && !keys_.IsNull("num_key_value_heads");
  std::optional<int64_t> kv_heads = keys_.Int("num_key_value_heads", 1, kMaxHeads);
  std::optional<int64_t> head_dim = keys_.Int("head_dim", 2, kMaxHeadDim);
  config_.kv_heads = kv_heads.value_or(default_kv_heads ? family.default_kv_heads : config_.heads);
  const bool derived = !keys_.Has("head_dim") && !family.default_head_dim;
  config_.head_dim = head_dim.value_or(derived ? config_.hidden_size / config_.heads : family.default_head_dim);

  // What follows from a value that was wrong already is no news.
  if (!sizes_are_right || keys_.Has("num_key_value_heads") != kv_heads.has_value() ||
      keys_.Has("head_dim") != head_dim.has_value())
    return;
  if (config_.heads % config_.kv_heads != 0)
    keys_.Error("num_key_value_heads", std::to_string(config_.kv_heads),
                fmt::format("a divisor of num_attention_heads = {}", config_.heads), "correct one of the two");
  if (derived && config_.hidden_size % config_.heads != 0)
    keys_.Error("hidden_size", std::to_string(config_.hidden_size),
                fmt::format("a multiple of num_attention_heads = {}", config_.heads),
                "correct one of the two or give head_dim");
  else if (config_.head_dim % 2 != 0 || config_.head_dim < 4 || config_.head_dim > kMaxHeadDim)
    keys_.Error("head_dim",
                fmt::format("{}{}", config_.head_dim, derived ? " (hidden_size / num_attention_heads)" : ""),
                fmt::format("an even number from 4 to {}", kMaxHeadDim), "rope rotates the two halves of a head");
}

bool Reader::HasBias(BiasRule rule, std::string_view key) {
  return rule == BiasRule::kConfigured ? keys_.Bool(key, false) : rule == BiasRule::kAlways;
}

void Reader::ReadLength() {
  constexpr std::string_view kKey = "max_position_embeddings";
  const int64_t family_default = config_.family->default_max_position_embeddings;
  max_position_embeddings_ = keys_.Int(kKey, 1, kMaxLength).value_or(family_default);
  if (!keys_.Has(kKey))
    keys_.Warn(kKey, keys_.IsNull(kKey) ? "null" : "no such key", "the positions that the model was trained on",
               fmt::format("{} are taken, the default of transformers for {}; add the key or give --max-model-len",
                           family_default, config_.family->model_type));
  config_.max_model_len = options_.max_model_len.value_or(
      std::min(max_position_embeddings_, options_.default_max_model_len_cap.value_or(max_position_embeddings_)));
  if (config_.max_model_len < 1 || config_.max_model_len > kMaxLength)
    problems_.Add({"--max-model-len", "", std::to_string(config_.max_model_len),
                   fmt::format("an integer from 1 to {}", kMaxLength), "correct the option"});
  config_.max_prompt_len = config_.max_model_len;
  for (LayerConfig &layer : config_.layers)
    if (layer.window && *layer.window >= config_.max_model_len)
      layer.window.reset();
}

void Reader::ReadWindows() {
  WindowRule rule = config_.family->windows;
  if (rule == WindowRule::kNone)
    return;
  constexpr int64_t kDefaultWindow = 4096;
  constexpr int64_t kDefaultWindowLayers = 28;

  // Absent and null differ: without the key transformers takes its default.
  std::optional<int64_t> window = keys_.Int("sliding_window", 1, kMaxLength);
  bool by_layer = rule == WindowRule::kLayerTypes;
  bool enabled = !by_layer || keys_.Bool("use_sliding_window", false);
  bool explicitly_null = keys_.IsNull("sliding_window");
  if (!window && !explicitly_null)
    window = kDefaultWindow;
  if (!enabled)
    window.reset();

  int64_t first = by_layer ? keys_.Int("max_window_layers", 0, kMaxLayers).value_or(kDefaultWindowLayers) : 0;
  constexpr std::string_view kFull = "full_attention", kSliding = "sliding_attention";
  layer_types_.resize(config_.layers.size());
  for (size_t i = 0; i < layer_types_.size(); ++i)
    layer_types_[i] = window && static_cast<int64_t>(i) >= first ? kSliding : kFull;

  if (const json *types = keys_.Find("layer_types")) {
    if (!types->is_array() || types->size() != config_.layers.size()) {
      keys_.Error("layer_types", types->is_array() ? fmt::format("{} entries", types->size()) : Describe(*types),
                  fmt::format("{} entries, one for each layer", config_.layers.size()), "correct the value");
      return;
    }
    for (size_t i = 0; i < types->size(); ++i) {
      const json &type = (*types)[i];
      std::string key = fmt::format("layer_types[{}]", i);
      if (type != kFull && type != kSliding) {
        keys_.Error(key, Describe(type), "full_attention or sliding_attention", "other kinds are not supported");
      } else if (!by_layer && type != layer_types_[i]) {
        keys_.Error(key, Describe(type),
                    fmt::format("{} in every layer of {}", layer_types_[i], config_.family->model_type),
                    "windows that differ by layer are not supported in this family");
      } else if (type == kSliding && !window) {
        keys_.Error(key, Describe(type), "full_attention, as no sliding window is set",
                    "set sliding_window and use_sliding_window");
      } else {
        layer_types_[i] = type.get<std::string>();
      }
    }
  }
  for (size_t i = 0; i < layer_types_.size(); ++i)
    if (layer_types_[i] == kSliding)
      config_.layers[i].window = window;
}

void Reader::ReadRopes() {
  // rope_scaling (transformers 4) goes before rope_parameters (5), as in transformers.
  const json *scaling = keys_.Find("rope_scaling");
  const json *parameters = keys_.Find("rope_parameters");
  std::string_view key = scaling ? "rope_scaling" : "rope_parameters";
  static const json kEmpty = json::object();
  const json *rope = scaling ? scaling : parameters ? parameters : &kEmpty;
  if (!rope->is_object()) {
    keys_.Error(key, Describe(*rope), "an object", "correct the value");
    return;
  }

  // transformers 5 nests one set of parameters for each type of layer.
  bool nested = !layer_types_.empty() && std::any_of(layer_types_.begin(), layer_types_.end(),
                                                     [&](const std::string &type) { return rope->contains(type); });
  if (!nested) {
    RopeParameters shared = ReadRope(*rope, std::string(key) + ".");
    if (problems_.HasErrors())
      return;
    size_t index = AddRope(shared);
    for (LayerConfig &layer : config_.layers)
      layer.rope = index;
    return;
  }
  std::map<std::string, RopeParameters> by_type;
  for (const std::string &type : layer_types_) {
    if (by_type.contains(type))
      continue;
    std::string prefix = fmt::format("{}.{}", key, type);
    auto it = rope->find(type);
    if (it == rope->end() || !it->is_object()) {
      keys_.Error(prefix, it == rope->end() ? "no such key" : Describe(*it), "an object",
                  "each type of layer needs one");
      continue;
    }
    by_type[type] = ReadRope(*it, prefix + ".");
  }
  if (problems_.HasErrors())
    return;
  for (size_t i = 0; i < layer_types_.size(); ++i)
    config_.layers[i].rope = AddRope(by_type[layer_types_[i]]);
}

RopeParameters Reader::ReadRope(const json &object, const std::string &prefix) {
  ConfigReader keys(object, file_, prefix, problems_);
  RopeParameters rope;
  std::optional<std::string> name = keys.String("rope_type");
  if (std::optional<std::string> old_name = keys.String("type"); !name)
    name = old_name;
  if (name) {
    if (auto kind = Lookup(kRopeKinds, *name))
      rope.kind = *kind;
    else
      keys.Error("rope_type", Describe(*name), OneOf(kRopeKinds), "this kind of rope scaling is not supported");
  }

  auto outer_theta = keys_.Number("rope_theta", 1.0 + 1e-6, kMaxRopeTheta);
  rope.theta = keys.Number("rope_theta", 1.0 + 1e-6, kMaxRopeTheta).value_or(outer_theta.value_or(rope.theta));
  for (ConfigReader *reader : {&keys, &keys_}) {
    auto share = reader->Number("partial_rotary_factor", 0, 1);
    if (share && *share != 1.0)
      reader->Error("partial_rotary_factor", fmt::format("{}", *share), "1",
                    "rotating a part of a head is not supported");
  }
  if (rope.kind == RopeKind::kDefault)
    return rope;

  if (rope.kind == RopeKind::kDynamic) {
    rope.original_length = static_cast<double>(max_position_embeddings_);
    LimitDynamicRope();
  } else {
    auto original = keys.Number("original_max_position_embeddings", 1, kMaxLength);
    auto outer = keys_.Number("original_max_position_embeddings", 1, kMaxLength);
    rope.original_length = outer ? *outer : original.value_or(static_cast<double>(max_position_embeddings_));
  }
  auto factor = keys.Number("factor", 1, kMaxRopeFactor);
  if (!factor && !keys.Has("factor")) {
    if (rope.kind == RopeKind::kYarn)
      factor = static_cast<double>(max_position_embeddings_) / rope.original_length;
    else
      keys.Error("factor", "no such key", "a number of at least 1", "this kind of rope scaling needs it");
  }
  rope.factor = factor.value_or(1.0);

  if (rope.kind == RopeKind::kLlama3) {
    for (std::string_view key : {"low_freq_factor", "high_freq_factor"})
      if (!keys.Has(key))
        keys.Error(key, "no such key", "a number", "this kind of rope scaling needs it");
    rope.low_freq_factor = keys.Number("low_freq_factor", 1e-3, kMaxRopeFactor).value_or(1.0);
    rope.high_freq_factor = keys.Number("high_freq_factor", 1e-3, kMaxRopeFactor).value_or(4.0);
    if (rope.high_freq_factor <= rope.low_freq_factor)
      keys.Error("high_freq_factor", fmt::format("{}", rope.high_freq_factor),
                 fmt::format("more than low_freq_factor = {}", rope.low_freq_factor), "correct one of the two");
  }
  if (rope.kind == RopeKind::kYarn) {
    // 0 stands for absent in transformers.
    auto or_default = [&](std::string_view key, double otherwise) {
      double value = keys.Number(key, 0, kMaxRopeFactor).value_or(0.0);
      return value == 0 ? otherwise : value;
    };
    rope.beta_fast = or_default("beta_fast", rope.beta_fast);
    rope.beta_slow = or_default("beta_slow", rope.beta_slow);
    rope.mscale = or_default("mscale", 0);
    rope.mscale_all_dim = or_default("mscale_all_dim", 0);
    rope.truncate = keys.Bool("truncate", true);
    rope.attention_factor = keys.Number("attention_factor", 1e-6, kMaxRopeFactor);
    if (rope.beta_fast < rope.beta_slow)
      keys.Error("beta_fast", fmt::format("{}", rope.beta_fast), fmt::format("at least beta_slow = {}", rope.beta_slow),
                 "correct one of the two");
  }
  keys.Find("original_max_position_embeddings");
  for (const std::string &unread : keys.UnreadKeys())
    keys.Warn(unread, Describe(object[unread]), fmt::format("a key of {} rope", *name), "it is not used");
  return rope;
}

void Reader::LimitDynamicRope() {
  constexpr int64_t kMostFrequencies = 1 << 24; // 128 MiB of the bundle's plan
  const int64_t beyond = config_.max_model_len - max_position_embeddings_;
  if (beyond <= 0)
    return;
  config_.max_prompt_len = max_position_embeddings_;
  if (int64_t half = config_.head_dim / 2; beyond > kMostFrequencies / half)
    problems_.Add({"--max-model-len", "", std::to_string(config_.max_model_len),
                   fmt::format("at most {} with dynamic rope", max_position_embeddings_ + kMostFrequencies / half),
                   "each position beyond the trained ones has frequencies of its own"});
  else
    problems_.Add(
        {"--max-model-len", "", std::to_string(config_.max_model_len),
         fmt::format("at most max_position_embeddings = {} with dynamic rope", max_position_embeddings_),
         fmt::format("prompts of more than {} tokens are refused; texts may grow beyond", max_position_embeddings_),
         Severity::kWarning});
}

size_t Reader::AddRope(const RopeParameters &parameters) {
  RopeFrequencies rope = ComputeRope(parameters, config_.head_dim, config_.max_model_len);
  auto it = std::find(config_.ropes.begin(), config_.ropes.end(), rope);
  if (it == config_.ropes.end())
    it = config_.ropes.insert(it, std::move(rope));
  return it - config_.ropes.begin();
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

  if (auto activation = keys_.String("hidden_act")) {
    if (auto kind = Lookup(kActivations, *activation))
      config_.activation = *kind;
    else
      keys_.Error("hidden_act", Describe(*activation), OneOf(kActivations), "other activations are not supported");
  }
}

void Reader::ReadTokens() {
  const Family &family = *config_.family;
  auto is_absent = [&](std::string_view key) { return !keys_.Find(key) && !keys_.IsNull(key); };
  config_.bos = ReadBeginToken(keys_, config_.vocab_size);
  if (is_absent("bos_token_id") && family.default_bos >= 0)
    config_.bos = family.default_bos;
  config_.eos = ReadEndTokens(keys_, config_.vocab_size).value_or(std::vector<int64_t>());
  if (is_absent("eos_token_id") && family.default_eos >= 0)
    config_.eos = {family.default_eos};
}

void Reader::RefuseUnsupported() {
  if (const json *quantization = keys_.Find("quantization_config"))
    keys_.Error("quantization_config", Describe(*quantization), "no quantization",
                "use the unquantized checkpoint of the model");
  if (const json *remote = keys_.Find("auto_map"))
    keys_.Error("auto_map", Describe(*remote), "no code of the checkpoint's own",
                "remove the key if the model is a plain " + std::string(config_.family->architecture));
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
  if (std::optional<json> object = ParseJson(text, file, found))
    config = Reader(*object, file, options, found).Read();
  problems.Add(found);
  if (found.HasErrors())
    return std::nullopt;
  return config;
}

std::string LayerModule(std::string_view pattern, size_t layer) {
  std::string name(pattern);
  size_t hole = name.find("{}");
  return hole == std::string::npos ? name : name.replace(hole, 2, std::to_string(layer));
}

std::vector<TensorSpec> RequiredTensors(const ModelConfig &config) {
  const ModuleNames &names = *config.family->modules;
  const int64_t hidden = config.hidden_size, head_dim = config.head_dim;
  const int64_t queries = config.heads * head_dim, keys = config.kv_heads * head_dim;
  std::vector<TensorSpec> tensors;
  auto add = [&](std::string_view pattern, size_t layer, std::vector<int64_t> shape, bool bias = false) {
    std::string module = LayerModule(pattern, layer);
    if (bias)
      tensors.push_back({module + ".bias", {shape[0]}});
    tensors.push_back({module + ".weight", std::move(shape)});
  };
  add(names.embedding, 0, {config.vocab_size, hidden});
  for (size_t i = 0; i < config.layers.size(); ++i) {
    add(names.input_norm, i, {hidden});
    add(names.q, i, {queries, hidden}, config.qkv_bias);
    add(names.k, i, {keys, hidden}, config.qkv_bias);
    add(names.v, i, {keys, hidden}, config.qkv_bias);
    if (config.family->qk_norm) {
      add(names.q_norm, i, {head_dim});
      add(names.k_norm, i, {head_dim});
    }
    add(names.o, i, {hidden, queries}, config.output_bias);
    add(names.post_attention_norm, i, {hidden});
    add(names.gate, i, {config.intermediate_size, hidden}, config.mlp_bias);
    add(names.up, i, {config.intermediate_size, hidden}, config.mlp_bias);
    add(names.down, i, {hidden, config.intermediate_size}, config.mlp_bias);
  }
  add(names.final_norm, 0, {hidden});
  if (!config.tie_word_embeddings)
    add(names.lm_head, 0, {config.vocab_size, hidden});
  return tensors;
}

} // namespace inlay::hf
