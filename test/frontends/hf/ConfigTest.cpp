// Reading config.json: what transformers writes is understood, each kind of rope
// has transformers' frequencies, and everything wrong is listed with its key.

#include "frontends/hf/Config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "frontends/hf/Tensors.h"
#include "test/frontends/hf/ConfigTesting.h"

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
  config["rope_theta"] = 10000.0;
  return config;
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

TEST(Config, TheDefaultLengthMayBeCapped) {
  EXPECT_EQ(Parse(Llama(), {.dtype = {}, .max_model_len = {}, .default_max_model_len_cap = 64}).max_model_len, 64);
  EXPECT_EQ(Parse(Llama(), {.dtype = {}, .max_model_len = 100, .default_max_model_len_cap = 64}).max_model_len, 100);
}

// nvidia/Llama3-ChatQA-2-8B and decapoda-research/llama-7b-hf spell it so: ggml-org/llama.cpp pull request 9485,
// vllm-project/vllm pull request 251.
TEST(Config, ReadsArchitecturesInOldSpelling) {
  EXPECT_EQ(Parse(With(Llama(), R"({"architectures": ["LLaMAForCausalLM"]})")).family->model_type, "llama");
  EXPECT_EQ(Parse(With(Llama(), R"({"architectures": null})")).family->model_type, "llama");
}

TEST(Config, TakesTheFamilyFromArchitecturesWithoutAModelType) {
  EXPECT_THAT(ProblemsOf(With(Llama(), R"({"model_type": null})").dump()),
              ElementsAre("config.json: model_type: found no such key, expected \"llama\"; it is taken from "
                          "architectures"));
}

// decapoda-research/llama-7b-hf has max_sequence_length instead: mlc-ai/web-llm issue 61.
TEST(Config, TakesTheFamilysLengthWhereThereIsNone) {
  std::string text = With(Llama(), R"({"max_position_embeddings": null, "max_sequence_length": 2048})").dump();
  EXPECT_THAT(ProblemsOf(text),
              ElementsAre("config.json: max_position_embeddings: found null, expected the positions that the model was "
                          "trained on; 2048 are taken, the default of transformers for llama; add the key or give "
                          "--max-model-len",
                          "config.json: max_sequence_length: found 2048, expected a key of llama; it is not used, "
                          "neither by transformers"));
}

TEST(Config, NamesTypesThatDiffer) {
  std::string text = With(Llama(), R"({"dtype": "float16"})").dump();
  EXPECT_THAT(ProblemsOf(text), ElementsAre("config.json: torch_dtype: found \"bfloat16\", expected \"float16\", as in "
                                            "dtype; dtype is used"));
}

// transformers warns of it (generation/utils.py, _prepare_special_tokens) and never stops.
TEST(Config, NoTokenEndsATextAtMinusOne) {
  for (const char *ids : {R"({"eos_token_id": -1})", R"({"eos_token_id": [-1]})"}) {
    Problems problems;
    auto config = ParseConfig(With(Llama(), ids).dump(), "config.json", {}, problems);
    ASSERT_TRUE(config);
    EXPECT_THAT(config->eos, IsEmpty());
    ASSERT_EQ(problems.items().size(), 1u);
    EXPECT_THAT(problems.items()[0].ToString(),
                ::testing::EndsWith("expected ids from 0 to 255; -1 is no token and ends no text, as in transformers"));
  }
}

TEST(Config, ABeginTokenOutsideOfTheVocabularyIsNamed) {
  std::string text = With(Llama(), R"({"bos_token_id": 151643})").dump();
  EXPECT_THAT(ProblemsOf(text),
              ElementsAre("config.json: bos_token_id: found 151643, expected an integer from 0 to 255; "
                          "it is ignored: the tokenizer begins texts"));
}

TEST(Config, NamesKeysThatItIgnores) {
  Problems problems;
  ASSERT_TRUE(
      ParseConfig(With(Llama(), R"({"use_cache": true, "pretraining_tp": 1})").dump(), "config.json", {}, problems));
  EXPECT_THAT(problems.notes(), ElementsAre("config.json: pretraining_tp, use_cache: ignored: no part of the model's "
                                            "arithmetic"));
}

TEST(Config, ReadsSeveralEndTokens) {
  EXPECT_THAT(Parse(With(Llama(), R"({"eos_token_id": [5, 6]})")).eos, ElementsAre(5, 6));
  EXPECT_THAT(Parse(With(Llama(), R"({"eos_token_id": null})")).eos, IsEmpty());
}

TEST(Windows, OfMistralAreInEveryLayer) {
  json mistral = With(Llama(), R"({"model_type": "mistral", "architectures": ["MistralForCausalLM"],
                                  "rope_theta": 10000.0})");
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

// The file's configuration, and the frequencies of one row of the table.
void ExpectFrequencies(const json &golden, const ModelConfig &config, size_t set) {
  ASSERT_EQ(config.ropes.size(), 1u);
  EXPECT_NEAR(config.ropes[0].attention_factor, golden["attention_factor"].get<double>(), 1e-14);
  auto expected = golden["inv_freq"].get<std::vector<double>>();
  ASSERT_GE(config.ropes[0].inv_freq.size(), (set + 1) * expected.size());
  constexpr double kUlps = 3 * 0x1p-24; // Of single precision, in which transformers computes.
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(config.ropes[0].inv_freq[set * expected.size() + i], expected[i], kUlps * expected[i])
        << "frequency " << i;
}

json RopeGolden(const std::string &name) { return json::parse(std::ifstream("test/fixtures/rope.json")).at(name); }

TEST_P(RopeTest, AgreesWithTransformers) {
  json golden = RopeGolden(GetParam());
  ModelConfig config = Parse(golden["config"]);
  ExpectFrequencies(golden, config, 0);
  EXPECT_EQ(config.ropes[0].inv_freq.size(), golden["inv_freq"].size());
}

INSTANTIATE_TEST_SUITE_P(Kinds, RopeTest,
                         ::testing::Values("default", "default_theta_absent", "default_large_theta", "linear",
                                           "dynamic_trained_length", "llama3_1", "llama3_2", "yarn_qwen", "yarn_mscale",
                                           "yarn_attention_factor"),
                         [](const auto &info) { return info.param; });

// Within the trained length, what is computed does not depend on --max-model-len: vllm-project/vllm issue 3488. Beyond
// it, transformers takes the base of the length so far for each token that it generates.
TEST(Rope, DynamicScalingBeginsBeyondTheTrainedLength) {
  json trained = RopeGolden("dynamic_trained_length"), twice = RopeGolden("dynamic_twice_the_length");
  for (int64_t length : {64, 8192, 8193, 16384}) {
    Problems problems;
    ModelOptions options;
    options.max_model_len = length;
    auto config = ParseConfig(twice["config"].dump(), "config.json", options, problems);
    ASSERT_TRUE(config) << problems.ToStatus();
    size_t beyond = length > 8192 ? static_cast<size_t>(length - 8192) : 0;
    EXPECT_EQ(config->ropes[0].inv_freq.size(), 64 * (1 + beyond));
    ExpectFrequencies(trained, *config, 0);
    if (length == 16384)
      ExpectFrequencies(twice, *config, beyond);
    EXPECT_EQ(config->max_prompt_len, std::min<int64_t>(length, 8192));
    EXPECT_EQ(problems.items().size(), beyond > 0 ? 1u : 0u);
  }
}

TEST(Rope, DynamicScalingIsNamedAndBounded) {
  json dynamic = With(Llama(), R"({"rope_scaling": {"type": "dynamic", "factor": 2.0}})");
  EXPECT_THAT(
      ProblemsOf(dynamic.dump(), {.dtype = {}, .max_model_len = 256}),
      ElementsAre("--max-model-len: found 256, expected at most max_position_embeddings = 128 with dynamic rope; "
                  "prompts of more than 128 tokens are refused; texts may grow beyond"));
  EXPECT_THAT(ProblemsOf(dynamic.dump(), {.dtype = {}, .max_model_len = 1 << 23}),
              ElementsAre("--max-model-len: found 8388608, expected at most 2097280 with dynamic rope; each position "
                          "beyond the trained ones has frequencies of its own"));
}

// Checkpoints of Llama 1 and 2 have no such key.
TEST(Rope, OnlyLlamaHasABaseOfItsOwn) { EXPECT_NEAR(Parse(Llama()).ropes[0].inv_freq[1], 0.316227766, 1e-8); }

TEST(Rope, MayDifferByTypeOfLayer) {
  json qwen = With(Qwen(), R"({"sliding_window": 16, "use_sliding_window": true,
      "layer_types": ["sliding_attention", "full_attention"],
      "rope_theta": null,
      "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
                          "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}})");
  ModelConfig config = Parse(qwen);
  ASSERT_EQ(config.ropes.size(), 2u);
  EXPECT_GT(config.ropes[*config.layers[0].rope].inv_freq[1], config.ropes[*config.layers[1].rope].inv_freq[1]);
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

// "one of llama, mistral, ..."
std::string SupportedFamilies() {
  std::string names;
  std::string_view last;
  for (const Family &family : AllFamilies())
    if (family.model_type != std::exchange(last, family.model_type))
      names += (names.empty() ? "one of " : ", ") + std::string(family.model_type);
  return names;
}

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
             {"config.json: model_type: found \"mamba\", expected " + SupportedFamilies() +
              "; this family is not supported yet"}},
        Case{"NoFamily",
             "{}",
             {"config.json: model_type: found no such key, expected " + SupportedFamilies() + "; add the key"}},
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
             Changed(R"({"rope_scaling": {"type": "ntk"}})"),
             {"config.json: rope_scaling.rope_type: found \"ntk\", expected one of default, linear, dynamic, llama3, "
              "yarn, longrope; this kind of rope scaling is not supported"}},
        Case{"RopeNotAnObject",
             Changed(R"({"rope_scaling": 4})"),
             {"config.json: rope_scaling: found 4, expected an object; correct the value"}},
        Case{"RopeBaseAbsent",
             With(Qwen(), R"({"rope_theta": null})").dump(),
             {"config.json: rope_theta: found no such key, expected the base of the rotary embedding; add the base "
              "that the model was trained with"}},
        Case{"RopeBaseTwice",
             Changed(R"({"rope_theta": 10000.0, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}})"),
             {"config.json: rope_parameters.rope_theta: found 500000, expected 10000, as in rope_theta; remove the one "
              "that the model was not trained with"}},
        Case{"PartialRotary",
             Changed(R"({"partial_rotary_factor": 0.5})"),
             {"config.json: partial_rotary_factor: found 0.5, expected 1; rotating a part of a head is not supported"}},
        Case{"Type",
             Changed(R"({"torch_dtype": "float64"})"),
             {"config.json: torch_dtype: found \"float64\", expected one of bfloat16, float16, float32; other types "
              "are not supported"}},
        Case{"Activation",
             Changed(R"({"hidden_act": "quick_gelu"})"),
             {"config.json: hidden_act: found \"quick_gelu\", expected one of silu, swish, gelu, gelu_new, "
              "gelu_pytorch_tanh, gelu_fast, relu, relu2; other activations are not supported"}},
        Case{"Quantized",
             Changed(R"({"quantization_config": {}})"),
             {"config.json: quantization_config.quant_method: found no such key, expected one of fp8, fbgemm_fp8, "
              "compressed-tensors, awq, gptq, bitsandbytes, modelopt; use a checkpoint in another format, or the "
              "unquantized one"}},
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
             Changed(R"({"vocab_size": 0, "hidden_act": "quick_gelu", "rope_scaling": {"type": "su"}})"),
             {"config.json: vocab_size: found 0, expected an integer from 1 to 16777216; correct the value",
              "config.json: rope_scaling.rope_type: found \"su\", expected one of default, linear, dynamic, llama3, "
              "yarn, longrope; this kind of rope scaling is not supported",
              "config.json: hidden_act: found \"quick_gelu\", expected one of silu, swish, gelu, gelu_new, "
              "gelu_pytorch_tanh, gelu_fast, relu, relu2; other activations are not supported"}}),
    [](const auto &info) { return info.param.name; });

TEST(Config, RefusesAMaxModelLenThatIsNone) {
  EXPECT_THAT(ProblemsOf(Llama().dump(), {.dtype = {}, .max_model_len = -1}),
              ElementsAre("--max-model-len: found -1, expected an integer from 1 to 16777216; correct the option"));
}

} // namespace
} // namespace inlay::hf
