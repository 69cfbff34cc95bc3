// Quantization configurations as they are published: the scheme of each matrix, and what is refused.

#include "frontends/hf/Quantization.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "frontends/hf/Tensors.h"
#include "test/frontends/hf/ConfigTesting.h"

namespace inlay::hf {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

json Llama() {
  return json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256, "intermediate_size": 512,
    "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "vocab_size": 320, "head_dim": 64,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "torch_dtype": "bfloat16"})");
}

json With(const char *quantization) {
  json config = Llama();
  config["quantization_config"] = json::parse(quantization);
  return config;
}

// "codes; scales; zero points" of a matrix, each as its tensor with the shape; or its tensor alone.
std::string Tensors(const ModelConfig &config, const std::string &weight) {
  const std::vector<WeightSpec> weights = RequiredWeights(config);
  auto find = [&](const std::string &name) -> const WeightSpec & {
    return *std::find_if(weights.begin(), weights.end(), [&](const WeightSpec &spec) { return spec.name == name; });
  };
  auto shown = [](const WeightSpec &spec) {
    const TensorSpec &tensor = spec.source.tensor;
    return tensor.name.substr(tensor.name.rfind("proj") + 5) + " " + json(tensor.shape).dump();
  };
  const WeightSpec &matrix = find(weight);
  std::string text = shown(matrix);
  if (matrix.quantized) {
    text += "; " + shown(find(matrix.quantized->scales));
    if (!matrix.quantized->input_scale.empty())
      text += "; " + shown(find(matrix.quantized->input_scale));
    if (!matrix.quantized->zero_points.empty())
      text += "; " + shown(find(matrix.quantized->zero_points));
  }
  return text;
}

constexpr const char *kGate = "model.layers.1.mlp.gate_proj.weight"; // [512, 256]

constexpr const char *kPacked = R"({"quant_method": "compressed-tensors", "format": "pack-quantized",
  "quantization_status": "compressed", "ignore": ["lm_head"], "kv_cache_scheme": null, "config_groups": {"group_0": {
    "input_activations": null, "output_activations": null, "targets": ["Linear"],
    "weights": {"actorder": null, "block_structure": null, "dynamic": false, "group_size": 128, "num_bits": 4,
                "observer": "minmax", "observer_kwargs": {}, "strategy": "group", "symmetric": true, "type": "int"}}}})";

struct Published {
  const char *name, *quantization, *scheme, *tensors;
};

class PublishedConfigs : public ::testing::TestWithParam<Published> {};

TEST_P(PublishedConfigs, GiveTensors) {
  const ModelConfig config = Parse(With(GetParam().quantization));
  ASSERT_TRUE(config.quantization.has_value());
  const Scheme *scheme = config.quantization->SchemeOf("model.layers.1.mlp.gate_proj", false);
  ASSERT_NE(scheme, nullptr);
  EXPECT_EQ(scheme->ToString(), GetParam().scheme);
  EXPECT_EQ(config.quantization->SchemeOf("lm_head", true), nullptr);
  EXPECT_EQ(Tensors(config, kGate), GetParam().tensors);
}

INSTANTIATE_TEST_SUITE_P(
    Formats, PublishedConfigs,
    ::testing::Values(
        Published{"Fp8Block",
                  R"({"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                      "weight_block_size": [128, 128]})",
                  "fp8 e4m3, blocks of 128 x 128", "weight [512,256]; weight_scale_inv [4,2]"},
        Published{"Fp8Tensor",
                  R"({"activation_scheme": "static", "ignored_layers": ["lm_head"], "quant_method": "fp8"})",
                  "fp8 e4m3, one scale", "weight [512,256]; weight_scale [1]; input_scale [1]"},
        Published{"Fbgemm", R"({"activation_scale_ub": 1200.0, "modules_to_not_convert": ["model.layers.0"],
                                "quant_method": "fbgemm_fp8"})",
                  "fp8 e4m3, a scale for each row", "weight [512,256]; weight_scale [512,1]"},
        Published{"Fp8Dynamic",
                  R"({"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"],
                      "global_compression_ratio": 1.2, "quantization_status": "frozen", "config_groups": {"group_0": {
                        "input_activations": {"dynamic": true, "num_bits": 8, "strategy": "token", "type": "float"},
                        "output_activations": null, "targets": ["Linear"],
                        "weights": {"dynamic": false, "num_bits": 8, "strategy": "channel", "symmetric": true,
                                    "type": "float"}}}})",
                  "fp8 e4m3, a scale for each row", "weight [512,256]; weight_scale [512,1]"},
        Published{"W8A8",
                  R"({"quant_method": "compressed-tensors", "format": "int-quantized", "ignore": ["re:.*lm_head"],
                      "config_groups": {"group_0": {
                        "input_activations": {"dynamic": true, "num_bits": 8, "strategy": "token", "type": "int"},
                        "targets": ["re:.*proj"],
                        "weights": {"num_bits": 8, "strategy": "channel", "symmetric": true, "type": "int"}}}})",
                  "int8, a scale for each row", "weight [512,256]; weight_scale [512,1]"},
        Published{"W4A16", kPacked, "int4, groups of 128 columns", "weight_packed [512,32]; weight_scale [512,2]"},
        Published{"Mxfp4",
                  R"({"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized", "ignore": ["lm_head"],
                      "config_groups": {"group_0": {"input_activations": null, "targets": ["Linear"], "weights": {
                        "actorder": null, "block_structure": null, "dynamic": false, "group_size": 32, "num_bits": 4,
                        "observer": "minmax", "observer_kwargs": {}, "scale_dtype": "torch.uint8", "strategy": "group",
                        "symmetric": true, "type": "float", "zp_dtype": null}}}})",
                  "mxfp4, groups of 32 columns", "weight_packed [512,128]; weight_scale [512,8]"},
        Published{"ModelOpt",
                  R"({"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["lm_head", "*self_attn*"],
                      "producer": {"name": "modelopt"}, "kv_cache_scheme": {"dynamic": false, "num_bits": 8}})",
                  "fp8 e4m3, one scale", "weight [512,256]; weight_scale [1]; input_scale [1]"},
        Published{"Awq",
                  R"({"bits": 4, "group_size": 128, "modules_to_not_convert": null, "quant_method": "awq",
                      "version": "gemm", "zero_point": true})",
                  "int4, groups of 128 columns, zero points", "qweight [256,64]; scales [2,512]; qzeros [2,64]"},
        Published{"Gptq",
                  R"({"bits": 4, "checkpoint_format": "gptq", "damp_percent": 0.01, "desc_act": false,
                      "group_size": 128, "model_file_base_name": null, "quant_method": "gptq", "sym": true,
                      "true_sequential": true, "lm_head": false, "dynamic": null})",
                  "int4, groups of 128 columns, zero points", "qweight [32,512]; scales [2,512]; qzeros [2,64]"},
        Published{"Gptq8",
                  R"({"bits": 8, "group_size": -1, "quant_method": "gptq", "sym": true,
                      "modules_in_block_to_quantize": [["mlp.gate_proj"], ["mlp.up_proj"]]})",
                  "int8, a scale for each row, zero points", "qweight [64,512]; scales [1,512]; qzeros [1,128]"},
        Published{"Nf4",
                  R"({"_load_in_4bit": true, "_load_in_8bit": false, "bnb_4bit_compute_dtype": "bfloat16",
                      "bnb_4bit_quant_storage": "uint8", "bnb_4bit_quant_type": "nf4",
                      "bnb_4bit_use_double_quant": false, "llm_int8_enable_fp32_cpu_offload": false,
                      "llm_int8_has_fp16_weight": false, "llm_int8_skip_modules": ["lm_head"],
                      "llm_int8_threshold": 6.0, "load_in_4bit": true, "load_in_8bit": false,
                      "quant_method": "bitsandbytes"})",
                  "nf4, groups of 64 columns", "weight [65536,1]; weight.absmax [2048]"},
        Published{"Int8", R"({"load_in_4bit": false, "load_in_8bit": true, "quant_method": "bitsandbytes"})",
                  "int8, a scale for each row", "weight [512,256]; SCB [512,1]"}),
    [](const auto &info) { return info.param.name; });

TEST(Quantization, ListsSayWhichMatricesStayFloats) {
  json mixed = json::parse(kPacked);
  mixed["ignore"] = {"lm_head", "re:.*layers\\.1.*down_proj", "model.layers.0.self_attn.q_proj"};
  mixed["config_groups"]["group_0"]["targets"] = {"re:.*mlp.*"};
  mixed["config_groups"]["group_1"] = json::parse(R"({"targets": ["Linear"], "format": "float-quantized",
    "weights": {"num_bits": 8, "strategy": "block", "block_structure": [128, 128], "type": "float"}})");
  mixed["config_groups"]["group_0"]["format"] = "pack-quantized";
  mixed["format"] = "mixed-precision";
  const ModelConfig config = Parse(With(mixed.dump().c_str()));
  auto scheme = [&](const char *module) {
    const Scheme *found = config.quantization->SchemeOf(module, false);
    return found ? found->ToString() : "float";
  };
  EXPECT_EQ(scheme("model.layers.0.mlp.down_proj"), "int4, groups of 128 columns");
  EXPECT_EQ(scheme("model.layers.1.mlp.down_proj"), "float");
  EXPECT_EQ(scheme("model.layers.0.self_attn.q_proj"), "float");
  EXPECT_EQ(scheme("model.layers.0.self_attn.k_proj"), "fp8 e4m3, blocks of 128 x 128");

  // Components of a name, not a part of one: mlp.gate is the router of a mixture of experts.
  const ModelConfig paths =
      Parse(With(R"({"quant_method": "fp8", "modules_to_not_convert": ["mlp.gate", "layers.1"]})"));
  EXPECT_NE(paths.quantization->SchemeOf("model.layers.0.mlp.gate_proj", false), nullptr);
  EXPECT_EQ(paths.quantization->SchemeOf("model.layers.0.mlp.gate", false), nullptr);
  EXPECT_EQ(paths.quantization->SchemeOf("model.layers.1.mlp.up_proj", false), nullptr);
  EXPECT_NE(paths.quantization->SchemeOf("model.layers.11.mlp.up_proj", false), nullptr);

  const ModelConfig wildcards = Parse(With(R"({"quant_method": "modelopt", "quant_algo": "FP8",
                                               "exclude_modules": ["*self_attn*", "model.layers.?.mlp.up_proj"]})"));
  EXPECT_EQ(wildcards.quantization->SchemeOf("model.layers.0.self_attn.q_proj", false), nullptr);
  EXPECT_EQ(wildcards.quantization->SchemeOf("model.layers.0.mlp.up_proj", false), nullptr);
  EXPECT_NE(wildcards.quantization->SchemeOf("model.layers.0.mlp.down_proj", false), nullptr);
  EXPECT_NE(wildcards.quantization->SchemeOf("lm_head", true), nullptr);

  const ModelConfig dynamic = Parse(With(R"({"quant_method": "gptq", "bits": 4, "group_size": 128, "lm_head": true,
                                             "dynamic": {"-:.*\\.0\\..*up_proj": {}}})"));
  EXPECT_EQ(dynamic.quantization->SchemeOf("model.layers.0.mlp.up_proj", false), nullptr);
  EXPECT_NE(dynamic.quantization->SchemeOf("model.layers.1.mlp.up_proj", false), nullptr);
  EXPECT_NE(dynamic.quantization->SchemeOf("lm_head", true), nullptr);
}

// The way of compressed-tensors to describe 8 bits: weights of a type and a strategy, and activations.
std::string GroupOf(const char *format, const char *weights, const char *activations) {
  return fmt::format(R"({{"quant_method": "compressed-tensors", "format": "{}", "config_groups": {{"a": {{
      "targets": ["Linear"], "weights": {{{}}}, "input_activations": {}}}}}}})",
                     format, weights, activations);
}

constexpr const char *kFp8 = R"("num_bits": 8, "type": "float", "strategy": "channel")";
constexpr const char *kInt8 = R"("num_bits": 8, "type": "int", "strategy": "channel")";
constexpr const char *kInt4 = R"("num_bits": 4, "type": "int", "strategy": "channel")";

struct Unsupported {
  const char *name;
  std::string quantization;
  const char *obstacle;
};

class UnsupportedActivations : public ::testing::TestWithParam<Unsupported> {};

TEST_P(UnsupportedActivations, StayFloatsForAReason) {
  const ModelConfig config = Parse(With(GetParam().quantization.c_str()));
  const Scheme *scheme = config.quantization->SchemeOf("model.layers.1.mlp.gate_proj", false);
  ASSERT_NE(scheme, nullptr);
  EXPECT_EQ(scheme->activations, ActivationScheme::kOther);
  EXPECT_EQ(scheme->activation_obstacle, GetParam().obstacle);
  EXPECT_EQ(config.quantization->DescribeActivations(),
            fmt::format("weights are quantized, activations are not: products are computed with activations as floats "
                        "({})",
                        GetParam().obstacle));
}

INSTANTIATE_TEST_SUITE_P(
    Formats, UnsupportedActivations,
    ::testing::Values(
        Unsupported{"UpperBound", R"({"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0})",
                    "its scales of tokens have an upper bound (activation_scale_ub)"},
        Unsupported{"Outliers", R"({"quant_method": "bitsandbytes", "load_in_8bit": true})",
                    "its columns with outliers stay floats (LLM.int8())"},
        Unsupported{"ZeroPoints",
                    GroupOf("int-quantized", kInt8, R"({"num_bits": 8, "dynamic": true, "symmetric": false})"),
                    "its format has activations with zero points"},
        Unsupported{"FourBits", GroupOf("int-quantized", kInt8, R"({"num_bits": 4, "dynamic": true})"),
                    "its format has activations of 4 bits, expected 8"},
        Unsupported{"OtherType",
                    GroupOf("float-quantized", kFp8, R"({"type": "int", "dynamic": true, "strategy": "token"})"),
                    "its format has activations of the type \"int\", expected \"float\" as its weight"},
        Unsupported{"Weights", GroupOf("pack-quantized", kInt4, R"({"dynamic": true, "strategy": "token"})"),
                    "its weight is int4, a scale for each row; expected fp8 or int8 without zero points"},
        Unsupported{"DynamicTensors", GroupOf("float-quantized", kFp8, R"({"dynamic": true, "strategy": "tensor"})"),
                    "its format has dynamic scales of activations with the strategy \"tensor\", expected dynamic ones "
                    "of tokens or groups of 128, or static ones of tensors"},
        Unsupported{"OtherGroups",
                    GroupOf("float-quantized", kFp8, R"({"dynamic": true, "strategy": "group", "group_size": 64})"),
                    "its format has dynamic scales of activations with the strategy \"group\" of 64 columns, expected "
                    "dynamic ones of tokens or groups of 128, or static ones of tensors"},
        Unsupported{"LocalScales", GroupOf("float-quantized", kFp8, R"({"dynamic": "local", "strategy": "token"})"),
                    "its format has activations with dynamic \"local\", expected true or false"}),
    [](const auto &info) { return info.param.name; });

// --activation-quantization dynamic is for all targets, what a checkpoint says is for GPUs.
TEST(ActivationQuantizationTest, SaysOnWhichTargets) {
  ModelConfig config = Parse(With(R"({"quant_method": "fp8"})"));
  EXPECT_THAT(config.quantization->DescribeActivations(),
              HasSubstr("for each token in steps with prompts on GPUs, and"));
  config.quantization->SetActivations(ActivationQuantization::kDynamic);
  EXPECT_THAT(config.quantization->DescribeActivations(), HasSubstr("for each token in steps with prompts, and"));
}

// --activation-quantization dynamic asks for codes where there are none.
TEST(ActivationQuantizationTest, RefusesOtherCodes) {
  ModelConfig config = Parse(With(kPacked));
  config.quantization->SetActivations(ActivationQuantization::kDynamic);
  EXPECT_THAT(config.quantization->DescribeActivations(),
              HasSubstr("(its weight is int4, groups of 128 columns; expected fp8 or int8 without zero points)"));
  config.quantization->SetActivations(ActivationQuantization::kNone);
  EXPECT_EQ(config.quantization->DescribeActivations(), "");
}

struct Refusal {
  const char *name, *quantization, *message;
};

class RefusedConfigs : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusedConfigs, AreNamedByKeyAndValue) {
  EXPECT_THAT(ProblemsOf(With(GetParam().quantization).dump()),
              ElementsAre(HasSubstr(std::string("config.json: quantization_config.") + GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Formats, RefusedConfigs,
    ::testing::Values(
        Refusal{"NoMethod", R"({"bits": 4})",
                "quant_method: found no such key, expected one of fp8, fbgemm_fp8, compressed-tensors, awq, gptq, "
                "bitsandbytes, modelopt; use a checkpoint in another format, or the unquantized one"},
        Refusal{"Mxfp4", R"({"quant_method": "mxfp4"})", "quant_method: found \"mxfp4\", expected one of fp8"},
        Refusal{
            "UnknownKey", R"({"quant_method": "fp8", "rotation": 1})",
            "rotation: found 1, expected a key of the format fp8; remove the key if it does not change the weights"},
        Refusal{"Fp8Format", R"({"quant_method": "fp8", "fmt": "e5m2"})", "fmt: found \"e5m2\", expected \"e4m3\""},
        Refusal{"Fp8Block", R"({"quant_method": "fp8", "weight_block_size": [64, 64]})",
                "weight_block_size: found [64,64], expected [128,128]"},
        Refusal{"AwqGemv", R"({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemv"})",
                "version: found \"gemv\", expected \"gemm\""},
        Refusal{"AwqBits", R"({"quant_method": "awq", "w_bit": 3, "q_group_size": 128})", "w_bit: found 3, expected 4"},
        Refusal{"AwqSymmetric", R"({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": false})",
                "zero_point: found false, expected true"},
        Refusal{"GptqBits", R"({"quant_method": "gptq", "bits": 3, "group_size": 128})",
                "bits: found 3, expected 4 or 8"},
        Refusal{"GptqPlanar", R"({"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_p"})",
                "checkpoint_format: found \"gptq_p\", expected \"gptq\" or \"gptq_v2\""},
        Refusal{"GptqGroup", R"({"quant_method": "gptq", "bits": 4, "group_size": 24})",
                "group_size: found 24, expected -1 or a multiple of 16"},
        Refusal{"GptqDynamic", R"({"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*down": {"bits": 8}}})",
                "dynamic: found {\"+:.*down\":{\"bits\":8}}, expected only modules that are left out (\"-:\")"},
        Refusal{"GptqPattern", R"({"quant_method": "gptq", "bits": 4, "dynamic": {"-:(": {}}})",
                "dynamic: found \"(\", expected a valid regular expression"},
        Refusal{"Fp4", R"({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "fp4"})",
                "bnb_4bit_quant_type: found \"fp4\", expected \"nf4\""},
        Refusal{"Nvfp4", R"({"quant_method": "modelopt", "quant_algo": "NVFP4"})",
                "quant_algo: found \"NVFP4\", expected one of FP8, FP8_PER_CHANNEL_PER_TOKEN"},
        Refusal{"GroupFormat",
                R"({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized",
                    "config_groups": {"a": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "float"}}}})",
                "format: found \"nvfp4-pack-quantized\", expected one of float-quantized, naive-quantized, "
                "int-quantized, pack-quantized, mxfp4-pack-quantized or mixed-precision"},
        Refusal{"Mxfp4Group",
                R"({"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized", "config_groups": {"a": {
                    "targets": ["Linear"], "weights": {"num_bits": 4, "type": "float", "strategy": "group",
                    "group_size": 16}}}})",
                "config_groups.a.weights.group_size: found 16, expected 32"},
        Refusal{"Mxfp4Order",
                R"({"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized", "config_groups": {"a": {
                    "targets": ["Linear"], "weights": {"num_bits": 4, "type": "float", "strategy": "group",
                    "actorder": "group"}}}})",
                "config_groups.a.weights.actorder: found \"group\", expected one of weight, static"},
        Refusal{"GroupBits",
                R"({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"a": {
                    "targets": ["Linear"], "weights": {"num_bits": 3, "type": "int", "strategy": "channel"}}}})",
                "config_groups.a.weights.num_bits: found 3, expected 4 or 8"},
        Refusal{"GroupStrategy",
                R"({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"a": {
                    "targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "token"}}}})",
                "config_groups.a.weights.strategy: found \"token\", expected tensor, channel or block"},
        Refusal{"GroupKey",
                R"({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"a": {
                    "targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "tensor",
                    "zero": 1}}}})",
                "config_groups.a.weights.zero: found 1, expected a key of the format compressed-tensors"},
        Refusal{"Sparse",
                R"({"quant_method": "compressed-tensors", "format": "float-quantized",
                    "sparsity_config": {"format": "sparse-24-bitmask"}, "config_groups": {"a": {
                    "targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "tensor"}}}})",
                "sparsity_config: found {\"format\":\"sparse-24-bitmask\"}, expected no such key"}),
    [](const auto &info) { return info.param.name; });

} // namespace
} // namespace inlay::hf
