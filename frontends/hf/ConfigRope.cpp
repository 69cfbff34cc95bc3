// The rotary embedding in config.json, as transformers 4 (`rope_theta`,
// `rope_scaling`) and 5 (`rope_parameters`) write it.

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "frontends/hf/ConfigParts.h"

namespace inlay::hf {
namespace {

using nlohmann::json;

constexpr double kMinTheta = 1.0 + 1e-6;
constexpr double kMaxTheta = 1e15;
constexpr double kMaxFactor = 1e6;

constexpr Named<RopeKind> kRopeKinds[] = {{"default", RopeKind::kDefault}, {"linear", RopeKind::kLinear},
                                          {"dynamic", RopeKind::kDynamic}, {"llama3", RopeKind::kLlama3},
                                          {"yarn", RopeKind::kYarn},       {"longrope", RopeKind::kLongRope}};

// Where the base stands outside of the object of parameters, and what it is without one (0: that is an error).
struct Base {
  std::string_view key;
  double otherwise;
  bool must_agree = true; // With the base in the object. A type of layer may have one of its own.
};

// Reads the parameters of one object. `prefix` names it in messages: "rope_scaling.".
class RopeReader {
public:
  RopeReader(ConfigParts &parts, const json &object, const std::string &prefix)
      : parts_(parts), object_(object), keys_(object, parts.file, parts.keys.prefix() + prefix, parts.problems) {}

  RopeParameters Read(const Base &base);

private:
  void ReadKind();
  void ReadTheta(const Base &base);
  void ReadFraction();
  void ReadLength();
  void ReadFactor();
  void ReadLlama3();
  void ReadYarn();
  void ReadLongRope();
  void LimitDynamic();

  ConfigParts &parts_;
  const json &object_;
  ConfigReader keys_;
  RopeParameters rope_;
};

RopeParameters RopeReader::Read(const Base &base) {
  ReadKind();
  ReadTheta(base);
  ReadFraction();
  if (parts_.config.family->rope.has_longrope)
    parts_.keys.Find("original_max_position_embeddings"); // Phi-3 has it without scaling too.
  if (rope_.kind == RopeKind::kDefault)
    return rope_;
  if (rope_.kind == RopeKind::kDynamic && parts_.config.family->rope.has_alpha)
    if (auto alpha = keys_.PositiveNumber("alpha", kMaxFactor)) {
      rope_.kind = RopeKind::kNtkAlpha;
      rope_.alpha = *alpha;
      return rope_;
    }
  ReadLength();
  ReadFactor();
  if (rope_.kind == RopeKind::kLlama3)
    ReadLlama3();
  if (rope_.kind == RopeKind::kYarn)
    ReadYarn();
  if (rope_.kind == RopeKind::kLongRope)
    ReadLongRope();
  if (const std::string_view key = parts_.config.family->rope.long_query_key; !key.empty())
    rope_.query_beta = keys_.Number(key, 0, kMaxFactor).value_or(0.0);
  keys_.Find("original_max_position_embeddings");
  const std::string_view kind = std::find_if(std::begin(kRopeKinds), std::end(kRopeKinds), [&](const auto &row) {
                                  return row.value == rope_.kind;
                                })->name;
  for (const std::string &unread : keys_.UnreadKeys())
    keys_.Warn(unread, Describe(object_[unread]), fmt::format("a key of {} rope", kind), "it is not used");
  return rope_;
}

void RopeReader::ReadKind() {
  std::optional<std::string> name = keys_.String("rope_type");
  if (std::optional<std::string> old_name = keys_.String("type"); !name)
    name = old_name;
  if (!name)
    return;
  if (parts_.config.family->rope.has_longrope && (*name == "su" || *name == "yarn"))
    name = "longrope"; // Old names of it in Phi-3.
  if (auto kind = Lookup(kRopeKinds, *name))
    rope_.kind = *kind;
  else
    keys_.Error("rope_type", Describe(*name), OneOf(kRopeKinds), "this kind of rope scaling is not supported");
}

// A lost or doubled base gives text that looks almost right, so nothing is assumed.
void RopeReader::ReadTheta(const Base &base) {
  std::optional<double> outer = base.key.empty() ? std::nullopt : parts_.keys.Number(base.key, kMinTheta, kMaxTheta);
  std::optional<double> inner = keys_.Number("rope_theta", kMinTheta, kMaxTheta);
  if (inner && outer && base.must_agree && *inner != *outer)
    keys_.Error("rope_theta", fmt::format("{}", *inner), fmt::format("{}, as in {}", *outer, base.key),
                "remove the one that the model was not trained with");
  rope_.theta = inner ? *inner : outer.value_or(base.otherwise);
  // What is there and wrong has been reported.
  if (rope_.theta == 0 && !keys_.Has("rope_theta") && !parts_.keys.Has(base.key))
    parts_.keys.Error(base.key, "no such key", "the base of the rotary embedding",
                      "add the base that the model was trained with");
}

// The share of each head that rotates: transformers 5 has it among the parameters, 4 outside.
void RopeReader::ReadFraction() {
  constexpr std::string_view kInner = "partial_rotary_factor";
  const Rope &rope = parts_.config.family->rope;
  const bool is_known = !rope.fraction_key.empty();
  const std::string_view outer_key = is_known ? rope.fraction_key : kInner;
  const int64_t head_dim = parts_.config.head_dim;
  if (!rope.dim_key.empty()) {
    const int64_t dim = parts_.keys.Int(rope.dim_key, 4, head_dim).value_or(head_dim);
    if (dim % 2 != 0)
      parts_.keys.Error(rope.dim_key, std::to_string(dim), "an even number", "rope rotates pairs of elements");
    parts_.config.rotary_dim = dim;
    return;
  }
  const std::optional<double> outer = parts_.keys.Number(outer_key, 0, 1), inner = keys_.Number(kInner, 0, 1);
  ConfigReader &reader = inner ? keys_ : parts_.keys;
  const std::string_view key = inner ? kInner : outer_key;
  const double fraction = inner ? *inner : outer.value_or(rope.fraction);
  if (!is_known && fraction != 1.0)
    return reader.Error(key, fmt::format("{}", fraction), "1", "rotating a part of a head is not supported");
  if (inner && outer && *inner != *outer)
    return reader.Error(key, fmt::format("{}", *inner), fmt::format("{}, as in {}", *outer, outer_key),
                        "remove the one that the model was not trained with");
  const auto rotary_dim = static_cast<int64_t>(static_cast<double>(head_dim) * fraction);
  if (fraction != 1.0 && (rotary_dim < 4 || rotary_dim % 2 != 0))
    return reader.Error(key, fmt::format("{} ({} of {} elements of a head)", fraction, rotary_dim, head_dim),
                        "an even number of at least 4 elements", "rope rotates the two halves of them");
  parts_.config.rotary_dim = rotary_dim;
}

void RopeReader::ReadLength() {
  if (rope_.kind == RopeKind::kDynamic) {
    rope_.original_length = static_cast<double>(parts_.max_position_embeddings);
    return LimitDynamic();
  }
  auto original = keys_.Number("original_max_position_embeddings", 1, kMaxLength);
  auto outer = parts_.keys.Number("original_max_position_embeddings", 1, kMaxLength);
  rope_.original_length = outer ? *outer : original.value_or(static_cast<double>(parts_.max_position_embeddings));
}

void RopeReader::ReadFactor() {
  auto factor = keys_.Number("factor", 1, kMaxFactor);
  if (!factor && !keys_.Has("factor")) {
    if (rope_.kind == RopeKind::kYarn || rope_.kind == RopeKind::kLongRope)
      factor = static_cast<double>(parts_.max_position_embeddings) / rope_.original_length;
    else
      keys_.Error("factor", "no such key", "a number of at least 1", "this kind of rope scaling needs it");
  }
  rope_.factor = factor.value_or(1.0);
}

void RopeReader::ReadLlama3() {
  for (std::string_view key : {"low_freq_factor", "high_freq_factor"})
    if (!keys_.Has(key))
      keys_.Error(key, "no such key", "a number", "this kind of rope scaling needs it");
  rope_.low_freq_factor = keys_.Number("low_freq_factor", 1e-3, kMaxFactor).value_or(1.0);
  rope_.high_freq_factor = keys_.Number("high_freq_factor", 1e-3, kMaxFactor).value_or(4.0);
  if (rope_.high_freq_factor <= rope_.low_freq_factor)
    keys_.Error("high_freq_factor", fmt::format("{}", rope_.high_freq_factor),
                fmt::format("more than low_freq_factor = {}", rope_.low_freq_factor), "correct one of the two");
}

void RopeReader::ReadYarn() {
  // 0 stands for absent in transformers.
  auto or_default = [&](std::string_view key, double otherwise) {
    double value = keys_.Number(key, 0, kMaxFactor).value_or(0.0);
    return value == 0 ? otherwise : value;
  };
  rope_.beta_fast = or_default("beta_fast", rope_.beta_fast);
  rope_.beta_slow = or_default("beta_slow", rope_.beta_slow);
  rope_.mscale = or_default("mscale", 0);
  rope_.mscale_all_dim = or_default("mscale_all_dim", 0);
  rope_.truncate = keys_.Bool("truncate", true);
  rope_.attention_factor = keys_.Number("attention_factor", 1e-6, kMaxFactor);
  if (rope_.beta_fast < rope_.beta_slow)
    keys_.Error("beta_fast", fmt::format("{}", rope_.beta_fast),
                fmt::format("at least beta_slow = {}", rope_.beta_slow), "correct one of the two");
}

void RopeReader::ReadLongRope() {
  const auto count = static_cast<size_t>(parts_.config.rotary_dim / 2);
  for (std::string_view key : {"short_factor", "long_factor"}) {
    const json *list = keys_.Find(key);
    auto is_factor = [](const json &value) {
      return value.is_number() && value.get<double>() >= 1e-3 && value.get<double>() <= kMaxFactor;
    };
    if (!list || !list->is_array() || list->size() != count || !std::all_of(list->begin(), list->end(), is_factor))
      keys_.Error(key,
                  !list              ? "no such key"
                  : list->is_array() ? fmt::format("{} entries", list->size())
                                     : Describe(*list),
                  fmt::format("{} numbers from 0.001 to {:g}", count, kMaxFactor), "correct the value");
    else
      (key == "short_factor" ? rope_.short_factors : rope_.long_factors) = list->get<std::vector<double>>();
  }
  rope_.attention_factor = keys_.Number("attention_factor", 1e-6, kMaxFactor);
  // One boundary for all layers keeps the choice a property of the sequence.
  const auto original = static_cast<int64_t>(rope_.original_length);
  if (parts_.config.max_model_len <= original)
    return;
  if (int64_t &length = parts_.config.short_rope_len; length == 0 || length == original)
    length = original;
  else
    keys_.Error("original_max_position_embeddings", std::to_string(original),
                fmt::format("{}, as in other layers", length), "layers that differ are not supported with longrope");
}

void RopeReader::LimitDynamic() {
  constexpr int64_t kMostFrequencies = 1 << 24; // 128 MiB of the bundle's plan
  ModelConfig &config = parts_.config;
  const int64_t trained = parts_.max_position_embeddings;
  const int64_t beyond = config.max_model_len - trained;
  if (beyond <= 0)
    return;
  config.max_prompt_len = trained;
  if (int64_t half = config.rotary_dim / 2; beyond > kMostFrequencies / half)
    parts_.problems.Add({"--max-model-len", "", std::to_string(config.max_model_len),
                         fmt::format("at most {} with dynamic rope", trained + kMostFrequencies / half),
                         "each position beyond the trained ones has frequencies of its own"});
  else
    parts_.problems.Add({"--max-model-len", "", std::to_string(config.max_model_len),
                         fmt::format("at most max_position_embeddings = {} with dynamic rope", trained),
                         fmt::format("prompts of more than {} tokens are refused; texts may grow beyond", trained),
                         Severity::kWarning});
}

// The index of the frequencies among the distinct ones.
size_t AddRope(ModelConfig &config, RopeFrequencies rope) {
  auto it = std::find(config.ropes.begin(), config.ropes.end(), rope);
  if (it == config.ropes.end())
    it = config.ropes.insert(it, std::move(rope));
  return it - config.ropes.begin();
}

const json kNoParameters = json::object();

// The object of parameters and the name of its key: rope_scaling (transformers 4) goes before rope_parameters (5), as
// in transformers. Null where it is no object, which is reported.
std::pair<const json *, std::string> FindParameters(ConfigParts &parts) {
  const json *scaling = parts.keys.Find("rope_scaling");
  const json *parameters = parts.keys.Find("rope_parameters");
  std::string key = scaling ? "rope_scaling" : "rope_parameters";
  const json *object = scaling ? scaling : parameters ? parameters : &kNoParameters;
  if (!object->is_object()) {
    parts.keys.Error(key, Describe(*object), "an object", "correct the value");
    object = nullptr;
  }
  return {object, key};
}

// One set of parameters for each type of layer: `object` nests them, as transformers 5 does. The base outside of it is
// that of full_attention.
std::map<std::string_view, RopeParameters> ReadNested(ConfigParts &parts, const json &object, const std::string &key) {
  const Rope &rope = parts.config.family->rope;
  std::map<std::string_view, RopeParameters> by_type;
  for (std::string_view type : {kFullAttention, kSlidingAttention}) {
    if (std::find(parts.layer_types.begin(), parts.layer_types.end(), type) == parts.layer_types.end())
      continue;
    std::string prefix = fmt::format("{}.{}", key, type);
    auto it = object.find(type);
    const bool is_window = type == kSlidingAttention;
    const bool has_default = is_window && rope.window_theta > 0;
    const bool is_absent = it == object.end() || (has_default && it->is_null());
    if (is_absent ? !has_default : !it->is_object()) {
      parts.keys.Error(prefix, it == object.end() ? "no such key" : Describe(*it), "an object",
                       "each type of layer needs one");
      continue;
    }
    Base base = has_default ? Base{rope.window_theta_key, rope.window_theta} : Base{rope.theta_key, rope.theta};
    base.must_agree = !is_window;
    by_type[type] = RopeReader(parts, is_absent ? kNoParameters : *it, prefix + ".").Read(base);
  }
  return by_type;
}

} // namespace

void ReadRopes(ConfigParts &parts) {
  if (std::find(parts.rotates.begin(), parts.rotates.end(), true) == parts.rotates.end())
    return;
  const Rope &rope = parts.config.family->rope;
  auto [object, key] = FindParameters(parts);
  if (!object)
    return;
  std::map<std::string_view, RopeParameters> by_type;
  const bool is_nested = std::any_of(parts.layer_types.begin(), parts.layer_types.end(),
                                     [object = object](const std::string &type) { return object->contains(type); });
  if (is_nested) {
    by_type = ReadNested(parts, *object, key);
  } else if (rope.window_theta > 0 && object == parts.keys.Find("rope_parameters")) {
    parts.keys.Error(key, Describe(*object), "an object for each of full_attention, sliding_attention",
                     "transformers does not read one for both in this family");
  } else {
    by_type[kFullAttention] = RopeReader(parts, *object, key + ".").Read({rope.theta_key, rope.theta});
    by_type[kSlidingAttention] = by_type[kFullAttention];
    // transformers 4 scales the layers without a window alone.
    if (rope.window_theta > 0)
      by_type[kSlidingAttention] =
          RopeReader(parts, kNoParameters, "").Read({rope.window_theta_key, rope.window_theta});
  }
  if (parts.problems.HasErrors())
    return;
  ModelConfig &config = parts.config;
  for (size_t i = 0; i < parts.rotates.size(); ++i) {
    if (!parts.rotates[i])
      continue;
    const RopeParameters &parameters =
        by_type[parts.layer_types.empty() ? kFullAttention : std::string_view(parts.layer_types[i])];
    RopeFrequencies frequencies = ComputeRope(parameters, config.rotary_dim, config.max_model_len);
    config.layers[i].rope = config.layers[i].query_rope = AddRope(config, frequencies);
    const auto original = static_cast<int64_t>(parameters.original_length);
    if (parameters.query_beta != 0 && config.max_model_len > original) {
      frequencies.temperature_beta = parameters.query_beta;
      frequencies.temperature_length = original;
      config.layers[i].query_rope = AddRope(config, std::move(frequencies));
    }
  }
}

} // namespace inlay::hf
