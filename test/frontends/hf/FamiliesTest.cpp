// What the keys of each family mean where they are absent, null or unusual, and
// which variants of a family are refused. The configurations are the fixtures'.

#include "frontends/hf/Families.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "frontends/hf/Tensors.h"
#include "test/frontends/hf/ConfigTesting.h"

namespace inlay::hf {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

json Fixture(const std::string &name) {
  return json::parse(std::ifstream("test/fixtures/models/" + name + "/config.json"));
}

std::vector<bool> Rotates(const ModelConfig &config) {
  std::vector<bool> rotates;
  for (const LayerConfig &layer : config.layers)
    rotates.push_back(layer.rope.has_value());
  return rotates;
}

TEST(Families, HaveDistinctNames) {
  for (const Family &family : AllFamilies()) {
    // A model type has several rows where its variants differ by more than flags.
    const Family *first = FindFamily(family.model_type);
    ASSERT_TRUE(first);
    EXPECT_TRUE(first == &family || first->when[0].key == family.when[0].key) << family.model_type;
    EXPECT_EQ(FindFamilyOfArchitecture(family.architecture), first);
  }
}

// Goldens hold the logits of transformers. test/e2e/golden_test.py compares with those of every fixture.
TEST(Families, HaveModelsWithGoldens) {
  std::set<const Family *> with_golden;
  for (const auto &entry : std::filesystem::directory_iterator("test/fixtures/models")) {
    EXPECT_TRUE(std::filesystem::exists(entry.path() / "golden/logits.safetensors")) << entry.path();
    with_golden.insert(Parse(Fixture(entry.path().filename())).family);
  }
  for (const Family &family : AllFamilies())
    EXPECT_TRUE(with_golden.contains(&family))
        << family.model_type << (family.when[0].key.empty() ? "" : " with another " + std::string(family.when[0].key))
        << ": found no model in test/fixtures/models; add one to test/fixtures/make_goldens.py";
}

TEST(SmolLm3, RotatesAllButEveryFourthLayerWithoutAList) {
  json config = With(Fixture("smollm3"), R"({"no_rope_layers": null})");
  EXPECT_THAT(Rotates(Parse(config)), ElementsAre(true, true, true, false));
  EXPECT_THAT(Rotates(Parse(With(config, R"({"no_rope_layer_interval": 2})"))), ElementsAre(true, false, true, false));
}

TEST(SmolLm3, HasWindowsWhereItDoesNotRotate) {
  json config = With(Fixture("smollm3"), R"({"layer_types": null, "use_sliding_window": true, "sliding_window": 8})");
  EXPECT_THAT(Windows(Parse(config)), ElementsAre(0, 0, 0, 8));
}

TEST(Exaone4, RotatesEverywhereWithoutAWindow) {
  json config = With(Fixture("exaone4"), R"({"layer_types": null, "sliding_window": null})");
  EXPECT_THAT(Rotates(Parse(config)), Each(true));
  EXPECT_THAT(Windows(Parse(config)), Each(0));
}

// LGAI-EXAONE/EXAONE-4.0-32B writes both.
TEST(Exaone4, APatternOfLettersIsForLayerTypes) {
  EXPECT_THAT(Windows(Parse(With(Fixture("exaone4"), R"({"sliding_window_pattern": "LLLG"})"))),
              ElementsAre(12, 12, 12, 0));
}

TEST(Gemma, GeluIsTheTanhForm) {
  EXPECT_EQ(Parse(With(Fixture("gemma"), R"({"hidden_act": "gelu"})")).activation, Activation::kGeluTanh);
  EXPECT_EQ(Parse(With(Fixture("gpt-neox"), R"({"hidden_act": "gelu"})")).activation, Activation::kGelu);
}

TEST(Gemma, RoundsTheScaleOfTheEmbedding) {
  json config = With(Fixture("gemma"), R"({"hidden_size": 3072})");
  EXPECT_EQ(Parse(config).embedding_scale, 55.5);
  EXPECT_EQ(Parse(config, {.dtype = DType::kFloat32, .max_model_len = {}}).embedding_scale,
            static_cast<float>(std::sqrt(3072.0)));
}

TEST(Gemma2, ASoftCapOfNullIsNone) {
  json absent = Fixture("gemma2"), null = With(absent, R"({"attn_logit_softcapping": null})");
  absent.erase("attn_logit_softcapping");
  EXPECT_EQ(Parse(absent).attention_softcap, 50.0);
  EXPECT_EQ(Parse(null).attention_softcap, std::nullopt);
}

// Scaling is for the layers without a window: ml-explore/mlx-vlm issue 1709, ggml-org/llama.cpp issue 14367.
TEST(Gemma3, ScalesLayersWithoutAWindowAlone) {
  ModelConfig config = Parse(Fixture("gemma3"));
  ASSERT_EQ(config.ropes.size(), 2u);
  EXPECT_EQ(config.ropes[*config.layers[0].rope].inv_freq[0], 1.0);
  EXPECT_EQ(config.ropes[*config.layers[2].rope].inv_freq[0], 0.125);
}

TEST(Gemma3, HasItsBasesWhereTheyAreAbsent) {
  json config = With(Fixture("gemma3"), R"({"rope_theta": null, "rope_local_base_freq": null, "rope_scaling": null})");
  ModelConfig parsed = Parse(config);
  EXPECT_NEAR(parsed.ropes[*parsed.layers[0].rope].inv_freq[1], std::pow(10000.0, -1.0 / 8), 1e-7);
  EXPECT_NEAR(parsed.ropes[*parsed.layers[2].rope].inv_freq[1], std::pow(1000000.0, -1.0 / 8), 1e-7);
}

// vllm-project/vllm issue 17364.
TEST(Gemma3, IsRefusedInFloat16) {
  EXPECT_THAT(
      ProblemsOf(Fixture("gemma3").dump(), {.dtype = DType::kFloat16, .max_model_len = {}}),
      ElementsAre("--dtype: found float16, expected bfloat16 or float32; the activations of gemma3_text overflow "
                  "in float16; give --dtype bfloat16"));
}

TEST(Gpt2, HasFourTimesTheWidthWithoutAnInnerSize) {
  EXPECT_EQ(Parse(Fixture("gpt2")).intermediate_size, 128);
  EXPECT_EQ(Parse(With(Fixture("gpt2"), R"({"n_inner": 48})")).intermediate_size, 48);
}

TEST(GptNeox, ReadsTheKeysOfTransformers4) {
  json config = With(Fixture("gpt-neox"), R"({"rope_parameters": null, "rotary_emb_base": 20000, "rotary_pct": 0.5})");
  ModelConfig parsed = Parse(config);
  EXPECT_EQ(parsed.rotary_dim, 8);
  EXPECT_NEAR(parsed.ropes[0].inv_freq[1], std::pow(20000.0, -1.0 / 4), 1e-7);
}

TEST(GptNeox, HasOneTensorForThreeWeights) {
  ModelConfig config = Parse(Fixture("gpt-neox"));
  std::vector<TensorSpec> tensors = RequiredTensors(config);
  auto is_qkv = [](const auto &spec) {
    return spec.name.find("layers.0.attention.query_key_value") != std::string::npos;
  };
  EXPECT_EQ(std::count_if(tensors.begin(), tensors.end(), is_qkv), 2); // Weight and bias.
  std::vector<WeightSpec> weights = RequiredWeights(config);
  EXPECT_EQ(std::count_if(weights.begin(), weights.end(), is_qkv), 6);
}

TEST(Hunyuan, AlphaStretchesTheBase) {
  const double base = 10000.0 * std::pow(8.0, 16.0 / 14.0);
  EXPECT_NEAR(Parse(Fixture("hunyuan")).ropes[0].inv_freq[1], std::pow(base, -1.0 / 8), 1e-7);
}

TEST(Phi3, LongRopeHasFactorsForShortAndForLongSequences) {
  ModelConfig config = Parse(Fixture("phi3-longrope"));
  EXPECT_EQ(config.max_model_len, 512);
  EXPECT_EQ(config.short_rope_len, 48);
  ASSERT_EQ(config.ropes.size(), 1u);
  const RopeFrequencies &rope = config.ropes[0];
  EXPECT_EQ(rope.short_length, 48);
  ASSERT_EQ(rope.inv_freq.size(), 12u);
  EXPECT_NEAR(rope.inv_freq[2], std::pow(10000.0, -2.0 / 6) / 1.5, 1e-7);
  EXPECT_NEAR(rope.inv_freq[6 + 2], std::pow(10000.0, -2.0 / 6) / 4.0, 1e-7);
  EXPECT_NEAR(rope.attention_factor, std::sqrt(1 + std::log(512.0 / 48) / std::log(48.0)), 1e-12);
}

TEST(Phi3, LongRopeOfShortSequencesHasOneSetOfFactors) {
  Problems problems;
  auto config =
      ParseConfig(Fixture("phi3-longrope").dump(), "config.json", {.dtype = {}, .max_model_len = 48}, problems);
  ASSERT_TRUE(config) << problems.ToStatus();
  EXPECT_EQ(config->short_rope_len, 0);
  EXPECT_EQ(config->ropes[0].short_length, 0);
  EXPECT_EQ(config->ropes[0].inv_freq.size(), 6u);
}

// A fixture, what is changed in it, and the lines that it is answered with.
struct Case {
  const char *name, *fixture, *changes;
  std::string line;
};

class FamilyErrors : public ::testing::TestWithParam<Case> {};

TEST_P(FamilyErrors, AreListed) {
  const Case &c = GetParam();
  EXPECT_THAT(ProblemsOf(With(Fixture(c.fixture), c.changes).dump()), ElementsAre("config.json: " + c.line));
}

INSTANTIATE_TEST_SUITE_P(
    Variants, FamilyErrors,
    ::testing::Values(
        Case{"NoRopeLayersCount", "smollm3", R"({"no_rope_layers": [1, 0]})",
             "no_rope_layers: found 2 entries, expected 4 entries, one for each layer; correct the value"},
        Case{"NoRopeLayersEntry", "smollm3", R"({"no_rope_layers": [1, 1, 1, 2]})",
             "no_rope_layers[3]: found 2, expected 1, or 0 for a layer without rope; correct the value"},
        Case{"WindowAbsent", "olmo3",
             R"({"sliding_window": null,
                 "layer_types": ["sliding_attention", "full_attention", "full_attention", "full_attention"]})",
             "layer_types[0]: found \"sliding_attention\", expected full_attention, as no sliding window is set; set "
             "sliding_window"},
        Case{
            "OneRopeForBoth", "gemma3",
            R"({"rope_theta": null, "rope_scaling": null, "rope_local_base_freq": null, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}})",
            "rope_parameters: found {\"rope_theta\":1000000.0,\"rope_type\":\"default\"}, expected an object for each "
            "of full_attention, sliding_attention; transformers does not read one for both in this family"},
        Case{"Bidirectional", "gemma2", R"({"use_bidirectional_attention": true})",
             "use_bidirectional_attention: found true, expected false; this variant of gemma2 is not supported"},
        Case{"NoSoftCap", "gemma2", R"({"final_logit_softcapping": 0})",
             "final_logit_softcapping: found 0, expected a number above 0 and at most 1e+06; correct the value"},
        Case{"Multiplier", "granite", R"({"logits_scaling": 0})",
             "logits_scaling: found 0, expected a number above 0 and at most 1e+06; correct the value"},
        Case{"OlmoClip", "olmo", R"({"clip_qkv": 8.0})",
             "clip_qkv: found 8.0, expected null; this variant of olmo is not supported"},
        Case{"BigCodeHeads", "gpt-bigcode", R"({"multi_query": false})",
             "multi_query: found false, expected true; this variant of gpt_bigcode is not supported"},
        Case{"GptJRotaryDim", "gptj", R"({"rotary_dim": 7})",
             "rotary_dim: found 7, expected an even number; rope rotates pairs of elements"},
        Case{"OptWithoutFinalNorm", "opt", R"({"_remove_final_layer_norm": true})",
             "_remove_final_layer_norm: found true, expected false; this variant of opt is not supported"},
        Case{"Fraction", "phi", R"({"partial_rotary_factor": 0.1})",
             "partial_rotary_factor: found 0.1 (1 of 16 elements of a head), expected an even number of at least 4 "
             "elements; rope rotates the two halves of them"},
        Case{"FractionTwice", "stablelm",
             R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}})",
             "rope_parameters.partial_rotary_factor: found 0.5, expected 0.25, as in partial_rotary_factor; remove the "
             "one that the model was not trained with"},
        Case{"FalconWithAlibi", "falcon-7b", R"({"alibi": true})",
             "alibi: found true, expected false; this variant of falcon is not supported"},
        Case{"FalconVariant", "falcon-7b", R"({"new_decoder_architecture": "yes"})",
             "new_decoder_architecture: found \"yes\", expected 1; this variant of falcon is not supported"},
        Case{"LongRopeFactors", "phi3-longrope",
             R"({"rope_scaling": {"type": "su", "short_factor": [1, 2], "long_factor": [1, 2, 3, 4, 5, 6]}})",
             "rope_scaling.short_factor: found 2 entries, expected 6 numbers from 0.001 to 1e+06; correct the value"}),
    [](const auto &info) { return info.param.name; });

TEST(Ministral3, QueriesHaveATemperatureBeyondTheOriginalLength) {
  ModelConfig config = Parse(Fixture("ministral3"));
  EXPECT_EQ(config.max_model_len, 512);
  ASSERT_EQ(config.ropes.size(), 2u);
  EXPECT_EQ(config.layers[0].rope, 0u);
  EXPECT_EQ(config.layers[0].query_rope, 1u);
  EXPECT_EQ(config.ropes[0].temperature_beta, 0.0);
  EXPECT_EQ(config.ropes[1].temperature_beta, 0.5);
  EXPECT_EQ(config.ropes[1].temperature_length, 16);
  EXPECT_EQ(config.ropes[1].inv_freq, config.ropes[0].inv_freq);

  json without = Fixture("ministral3");
  without["rope_parameters"].erase("llama_4_scaling_beta");
  EXPECT_EQ(Parse(without).ropes.size(), 1u);
  Problems problems;
  auto is_short =
      ParseConfig(Fixture("ministral3").dump(), "config.json", {.dtype = {}, .max_model_len = 16}, problems);
  ASSERT_TRUE(is_short) << problems.ToStatus();
  EXPECT_EQ(is_short->ropes.size(), 1u);
}

TEST(Falcon, VariantsDifferInNormsAndHeads) {
  ModelConfig two_norms = Parse(Fixture("falcon-40b")), multi_query = Parse(Fixture("falcon-7b"));
  EXPECT_EQ(two_norms.family->modules.attention_norm, "ln_attn");
  EXPECT_EQ(two_norms.kv_heads, 2);
  ModelConfig one_norm = Parse(With(Fixture("falcon-40b"), R"({"num_ln_in_parallel_attn": 1})"));
  EXPECT_EQ(one_norm.family->modules.attention_norm, "input_layernorm");
  EXPECT_TRUE(one_norm.family->parallel_shares_norm);
  EXPECT_EQ(one_norm.kv_heads, 2);
  EXPECT_EQ(multi_query.kv_heads, 1);
  EXPECT_EQ(Parse(With(Fixture("falcon-7b"), R"({"num_kv_heads": 3})")).kv_heads, 1);
}

TEST(GptJ, RotatesTheNumberOfElementsThatItIsGiven) {
  EXPECT_EQ(Parse(Fixture("gptj")).rotary_dim, 8);
  EXPECT_EQ(Parse(With(Fixture("gptj"), R"({"rotary_dim": null})")).rotary_dim, 16);
}

// The slopes of 3 heads: those of 2 and one before them.
TEST(Bloom, HasSlopesForAnyNumberOfHeads) {
  EXPECT_THAT(Parse(Fixture("bloom")).alibi, ElementsAre(0.0625, 0.00390625, 0.25));
}

TEST(Opt, HasNoPositionsBeyondItsTable) {
  EXPECT_THAT(ProblemsOf(Fixture("opt").dump(), {.dtype = {}, .max_model_len = 129}),
              ElementsAre("--max-model-len: found 129, expected at most max_position_embeddings = 128; the model has "
                          "learned no position beyond"));
}

json VisionModel() {
  json text = Fixture("gemma3");
  text.erase("architectures");
  return {{"model_type", "gemma3"}, {"torch_dtype", "float32"}, {"eos_token_id", {1, 106}}, {"text_config", text}};
}

TEST(TextConfig, InheritsWhatItDoesNotHave) {
  json vision = VisionModel();
  vision["text_config"].erase("eos_token_id");
  ModelConfig config = Parse(vision);
  EXPECT_TRUE(config.is_text_part);
  EXPECT_EQ(config.family->model_type, "gemma3_text");
  EXPECT_THAT(config.eos, ElementsAre(1, 106));
  EXPECT_EQ(config.dtype, DType::kBFloat16); // Its own goes first.
}

// google/gemma-3-4b-it leaves out what its class has.
TEST(TextConfig, HasTheSizesOfItsClass) {
  ModelConfig config =
      Parse(json::parse(R"({"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"],
      "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
                      "max_position_embeddings": 131072, "num_hidden_layers": 34,
                      "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}})"));
  EXPECT_EQ(config.vocab_size, 262208);
  EXPECT_EQ(config.heads, 8);
  EXPECT_EQ(config.kv_heads, 4);
  EXPECT_EQ(config.head_dim, 256);
}

TEST(TextConfig, ErrorsNameItsKeys) {
  EXPECT_THAT(
      ProblemsOf(With(VisionModel(), R"({"text_config": null})").dump()),
      ElementsAre("config.json: text_config: found no such key, expected an object; add the configuration of the "
                  "text"));
  json vision = VisionModel();
  vision["text_config"]["hidden_size"] = 0;
  EXPECT_THAT(ProblemsOf(vision.dump()),
              ElementsAre("config.json: text_config.hidden_size: found 0, expected an integer "
                          "from 1 to 1048576; correct the value"));
  vision = VisionModel();
  vision["text_config"]["rope_scaling"]["factor"] = 0;
  EXPECT_THAT(ProblemsOf(vision.dump()),
              ElementsAre("config.json: text_config.rope_scaling.factor: found 0, expected a "
                          "number from 1 to 1e+06; correct the value"));
  EXPECT_THAT(ProblemsOf(With(VisionModel(), R"({"architectures": ["Gemma3Model"]})").dump()),
              ElementsAre("config.json: architectures: found [\"Gemma3Model\"], expected "
                          "[\"Gemma3ForConditionalGeneration\"]; only the text part of this model is supported"));
}

// Published configurations, and the keys for which they are refused: none where the model is supported.
TEST(Configurations, OfPublishedModelsHaveTheirVerdict) {
  const json all = json::parse(std::ifstream("test/fixtures/configs.json"));
  EXPECT_GE(all.size(), 80u);
  for (const json &entry : all) {
    Problems problems;
    ParseConfig(entry["config"].dump(), "config.json", {}, problems);
    json keys = json::array();
    for (const Problem &problem : problems.items())
      if (problem.severity == Severity::kError)
        keys.push_back(problem.key);
    EXPECT_EQ(keys, entry["refused_for"]) << entry["name"] << ", " << entry["source"] << "\n" << problems.ToStatus();
  }
}

} // namespace
} // namespace inlay::hf
