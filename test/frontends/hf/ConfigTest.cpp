// Reading config.json: what transformers writes is understood, each kind of rope
// has transformers' frequencies, and everything wrong is listed with its key.

#include "frontends/hf/Config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

namespace inlay::hf {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

json Llama() {
  return json::parse(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 256,
      "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
      "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "torch_dtype": "bfloat16"})");
}

json Qwen(const char *model_type = "qwen2", const char *architecture = "Qwen2ForCausalLM") {
  json config = Llama();
  config["model_type"] = model_type;
  config["architectures"] = {architecture};
  return config;
}

json With(json config, const char *changes) {
  config.update(json::parse(changes));
  return config;
}

// The lines of all problems, warnings included.
std::vector<std::string> ProblemsOf(const std::string &text, const ModelOptions &options = {}) {
  Problems problems;
  std::optional<ModelConfig> config = ParseConfig(text, "config.json", options, problems);
  EXPECT_EQ(config.has_value(), !problems.HasErrors());
  std::vector<std::string> lines;
  for (const Problem &problem : problems.items())
    lines.push_back(problem.ToString());
  return lines;
}

ModelConfig Parse(const json &config, const ModelOptions &options = {}) {
  Problems problems;
  std::optional<ModelConfig> parsed = ParseConfig(config.dump(), "config.json", options, problems);
  EXPECT_EQ(problems.ToStatus(), absl::OkStatus());
  return parsed.value_or(ModelConfig());
}

std::vector<int64_t> Windows(const ModelConfig &config) {
  std::vector<int64_t> windows;
  for (const LayerConfig &layer : config.layers)
    windows.push_back(layer.window.value_or(0));
  return windows;
}

TEST(Config, ReadsSizes) {
  ModelConfig config = Parse(Llama());
  EXPECT_EQ(config.family->model_type, "llama");
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.layers.size(), 2u);
  EXPECT_EQ(config.max_model_len, 128);
  EXPECT_EQ(config.dtype, DType::kBFloat16);
  EXPECT_EQ(config.bos, 1);
  EXPECT_THAT(config.eos, ElementsAre(2));
  EXPECT_FALSE(config.tie_word_embeddings);
}

TEST(Config, TakesDefaultsOfTheFamily) {
  EXPECT_EQ(Parse(With(Llama(), R"({"num_key_value_heads": null})")).kv_heads, 4);
  EXPECT_EQ(Parse(With(Qwen("qwen3", "Qwen3ForCausalLM"), R"({"head_dim": null})")).head_dim, 128);
  EXPECT_TRUE(Parse(Qwen()).qkv_bias);
  EXPECT_FALSE(Parse(Qwen()).output_bias);
  EXPECT_TRUE(Parse(With(Llama(), R"({"attention_bias": true})")).output_bias);
}

TEST(Config, OptionsGoBeforeTheFile) {
  ModelConfig config = Parse(Llama(), {.dtype = DType::kFloat32, .max_model_len = 32});
  EXPECT_EQ(config.dtype, DType::kFloat32);
  EXPECT_EQ(config.max_model_len, 32);
}

TEST(Config, ReadsTypeAsBothVersionsWriteIt) {
  EXPECT_EQ(Parse(With(Llama(), R"({"torch_dtype": "float16"})")).dtype, DType::kFloat16);
  EXPECT_EQ(Parse(With(Llama(), R"({"torch_dtype": null, "dtype": "float16"})")).dtype, DType::kFloat16);
}

TEST(Config, ReadsSeveralEndTokens) {
  EXPECT_THAT(Parse(With(Llama(), R"({"eos_token_id": [5, 6]})")).eos, ElementsAre(5, 6));
  EXPECT_THAT(Parse(With(Llama(), R"({"eos_token_id": null})")).eos, IsEmpty());
}

TEST(Windows, OfMistralAreInEveryLayer) {
  json mistral = With(Llama(), R"({"model_type": "mistral", "architectures": ["MistralForCausalLM"]})");
  EXPECT_THAT(Windows(Parse(With(mistral, R"({"sliding_window": 16})"))), ElementsAre(16, 16));
  EXPECT_THAT(Windows(Parse(With(mistral, R"({"sliding_window": null})"))), ElementsAre(0, 0));
}

TEST(Windows, OfQwenStartAtALayer) {
  json qwen = With(Qwen(), R"({"sliding_window": 16, "max_window_layers": 1})");
  EXPECT_THAT(Windows(Parse(With(qwen, R"({"use_sliding_window": true})"))), ElementsAre(0, 16));
  EXPECT_THAT(Windows(Parse(With(qwen, R"({"use_sliding_window": false})"))), ElementsAre(0, 0));
}

TEST(Windows, FollowLayerTypes) {
  json qwen = With(Qwen(), R"({"sliding_window": 16, "use_sliding_window": true,
                               "layer_types": ["sliding_attention", "full_attention"]})");
  EXPECT_THAT(Windows(Parse(qwen)), ElementsAre(16, 0));
}

TEST(Windows, WiderThanTheModelAreNone) {
  json qwen = With(Qwen(), R"({"sliding_window": 128, "use_sliding_window": true, "max_window_layers": 0})");
  EXPECT_THAT(Windows(Parse(qwen)), ElementsAre(0, 0));
  EXPECT_THAT(Windows(Parse(qwen, {.dtype = {}, .max_model_len = 256})), ElementsAre(128, 128));
}

// What transformers computes, in rope.json (make_rope_goldens.py).
class RopeTest : public ::testing::TestWithParam<std::string> {};

TEST_P(RopeTest, AgreesWithTransformers) {
  json golden = json::parse(std::ifstream("test/fixtures/rope.json")).at(GetParam());
  ModelOptions options;
  if (golden.contains("max_model_len"))
    options.max_model_len = golden["max_model_len"].get<int64_t>();
  ModelConfig config = Parse(golden["config"], options);
  ASSERT_EQ(config.ropes.size(), 1u);
  EXPECT_NEAR(config.ropes[0].attention_factor, golden["attention_factor"].get<double>(), 1e-14);
  auto expected = golden["inv_freq"].get<std::vector<double>>();
  ASSERT_EQ(config.ropes[0].inv_freq.size(), expected.size());
  constexpr double kUlps = 3 * 0x1p-24; // Of single precision, in which transformers computes.
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(config.ropes[0].inv_freq[i], expected[i], kUlps * expected[i]) << "frequency " << i;
}

INSTANTIATE_TEST_SUITE_P(Kinds, RopeTest,
                         ::testing::Values("default", "default_theta_absent", "default_large_theta", "linear",
                                           "dynamic_trained_length", "dynamic_twice_the_length", "llama3_1", "llama3_2",
                                           "yarn_qwen", "yarn_mscale", "yarn_attention_factor"),
                         [](const auto &info) { return info.param; });

TEST(Rope, MayDifferByTypeOfLayer) {
  json qwen = With(Qwen(), R"({"sliding_window": 16, "use_sliding_window": true,
      "layer_types": ["sliding_attention", "full_attention"],
      "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
                          "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}})");
  ModelConfig config = Parse(qwen);
  ASSERT_EQ(config.ropes.size(), 2u);
  EXPECT_GT(config.ropes[config.layers[0].rope].inv_freq[1], config.ropes[config.layers[1].rope].inv_freq[1]);
}

TEST(Tensors, AreThoseOfTheModel) {
  auto names = [](const ModelConfig &config) {
    std::vector<std::string> names;
    for (const TensorSpec &tensor : RequiredTensors(config))
      names.push_back(tensor.name);
    return names;
  };
  json one_layer = With(Llama(), R"({"num_hidden_layers": 1, "tie_word_embeddings": true})");
  EXPECT_THAT(names(Parse(one_layer)),
              ElementsAre("model.embed_tokens.weight", "model.layers.0.input_layernorm.weight",
                          "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight",
                          "model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.o_proj.weight",
                          "model.layers.0.post_attention_layernorm.weight", "model.layers.0.mlp.gate_proj.weight",
                          "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight",
                          "model.norm.weight"));
  EXPECT_EQ(names(Parse(Llama())).back(), "lm_head.weight");
}

// A configuration and the lines that it is answered with.
struct Case {
  const char *name;
  std::string text;
  std::vector<std::string> lines;
};

class ConfigErrors : public ::testing::TestWithParam<Case> {};

TEST_P(ConfigErrors, AreListed) { EXPECT_EQ(ProblemsOf(GetParam().text), GetParam().lines); }

std::string Changed(const char *changes) { return With(Llama(), changes).dump(); }

INSTANTIATE_TEST_SUITE_P(
    Hostile, ConfigErrors,
    ::testing::Values(
        Case{"Empty",
             "",
             {"config.json: found invalid JSON (parse error at line 1, column 1: syntax error while parsing value - "
              "unexpected end of input; expected '[', '{', or a literal), expected a JSON object; copy the file from "
              "the model's repository again"}},
        Case{"NotAnObject",
             "[1]",
             {"config.json: found [1], expected a JSON object; copy the file from the model's repository again"}},
        Case{"Deep",
             std::string(100000, '['),
             {"config.json: found JSON nested 100000 deep, expected at most 32; copy the file from the model's "
              "repository again"}},
        Case{"Large",
             std::string(5 << 20, ' '),
             {"config.json: found 5242880 bytes, expected at most 4194304; copy the file from the model's repository "
              "again"}},
        Case{"Duplicate",
             R"({"vocab_size": 1, "vocab_size": 2})",
             {"config.json: vocab_size: found the key twice in one object, expected each key once; remove one of the "
              "two"}},
        Case{"UnknownFamily",
             Changed(R"({"model_type": "mamba"})"),
             {"config.json: model_type: found \"mamba\", expected one of llama, mistral, qwen2, qwen3; this family is "
              "not supported yet"}},
        Case{"NoFamily",
             "{}",
             {"config.json: model_type: found no such key, expected one of llama, mistral, qwen2, qwen3; add the key"}},
        Case{"Classifier",
             Changed(R"({"architectures": ["LlamaForSequenceClassification"]})"),
             {"config.json: architectures: found [\"LlamaForSequenceClassification\"], expected "
              "[\"LlamaForCausalLM\"]; only causal language models are supported"}},
        Case{"Negative",
             Changed(R"({"hidden_size": -64})"),
             {"config.json: hidden_size: found -64, expected an integer from 1 to 1048576; correct the value"}},
        Case{"Huge",
             Changed(R"({"num_hidden_layers": 18446744073709551615})"),
             {"config.json: num_hidden_layers: found 18446744073709551615, expected an integer from 1 to 4096; correct "
              "the value"}},
        Case{"Text",
             Changed(R"({"vocab_size": "256"})"),
             {"config.json: vocab_size: found \"256\", expected an integer from 1 to 16777216; correct the value"}},
        Case{"Heads",
             Changed(R"({"num_key_value_heads": 3})"),
             {"config.json: num_key_value_heads: found 3, expected a divisor of num_attention_heads = 4; correct one "
              "of the two"}},
        Case{"HeadDim",
             Changed(R"({"head_dim": 33})"),
             {"config.json: head_dim: found 33, expected an even number from 4 to 1024; rope rotates the two halves of "
              "a head"}},
        Case{
            "NaN",
            R"({"model_type": "llama", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 8, "rope_theta": NaN})",
            {"config.json: rope_theta: found \"NaN\", expected a number from 1 to 1e+15; correct the value"}},
        Case{"RopeFactor",
             Changed(R"({"rope_scaling": {"type": "linear", "factor": -2.0}})"),
             {"config.json: rope_scaling.factor: found -2.0, expected a number from 1 to 1e+06; correct the value"}},
        Case{"RopeKind",
             Changed(R"({"rope_scaling": {"type": "longrope"}})"),
             {"config.json: rope_scaling.rope_type: found \"longrope\", expected one of default, linear, dynamic, "
              "llama3, yarn; this kind of rope scaling is not supported"}},
        Case{"RopeNotAnObject",
             Changed(R"({"rope_scaling": 4})"),
             {"config.json: rope_scaling: found 4, expected an object; correct the value"}},
        Case{"PartialRotary",
             Changed(R"({"partial_rotary_factor": 0.5})"),
             {"config.json: partial_rotary_factor: found 0.5, expected 1; rotating a part of a head is not supported"}},
        Case{"Type",
             Changed(R"({"torch_dtype": "float64"})"),
             {"config.json: torch_dtype: found \"float64\", expected one of bfloat16, float16, float32; other types "
              "are not supported"}},
        Case{"Activation",
             Changed(R"({"hidden_act": "relu2"})"),
             {"config.json: hidden_act: found \"relu2\", expected one of silu, swish, gelu, gelu_new, "
              "gelu_pytorch_tanh; other activations are not supported"}},
        Case{"Quantized",
             Changed(R"({"quantization_config": {"bits": 4}})"),
             {"config.json: quantization_config: found {\"bits\":4}, expected no quantization; use the unquantized "
              "checkpoint of the model"}},
        Case{"EndToken",
             Changed(R"({"eos_token_id": [1, 256]})"),
             {"config.json: eos_token_id: found [1,256], expected integers from 0 to 255; correct the value"}},
        Case{"UnknownKey",
             Changed(R"({"logit_scale": 2.0})"),
             {"config.json: logit_scale: found 2.0, expected a key of llama; it is not used, neither by transformers"}},
        Case{"LayerTypes",
             With(Qwen(), R"({"layer_types": ["full_attention", "chunked_attention"]})").dump(),
             {"config.json: layer_types[1]: found \"chunked_attention\", expected full_attention or sliding_attention; "
              "other kinds are not supported"}},
        Case{"LayerTypesCount",
             With(Qwen(), R"({"layer_types": []})").dump(),
             {"config.json: layer_types: found 0 entries, expected 2 entries, one for each layer; correct the value"}},
        Case{"All",
             Changed(R"({"vocab_size": 0, "hidden_act": "relu", "rope_scaling": {"type": "su"}})"),
             {"config.json: vocab_size: found 0, expected an integer from 1 to 16777216; correct the value",
              "config.json: rope_scaling.rope_type: found \"su\", expected one of default, linear, dynamic, llama3, "
              "yarn; this kind of rope scaling is not supported",
              "config.json: hidden_act: found \"relu\", expected one of silu, swish, gelu, gelu_new, "
              "gelu_pytorch_tanh; other activations are not supported"}}),
    [](const auto &info) { return info.param.name; });

TEST(Config, RefusesAMaxModelLenThatIsNone) {
  EXPECT_THAT(ProblemsOf(Llama().dump(), {.dtype = {}, .max_model_len = -1}),
              ElementsAre("--max-model-len: found -1, expected an integer from 1 to 16777216; correct the option"));
}

} // namespace
} // namespace inlay::hf
