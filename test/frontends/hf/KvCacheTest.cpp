// The type of cached keys and values, and the names under which checkpoints store their scales.

#include "frontends/hf/KvCache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "frontends/hf/Tensors.h"
#include "test/frontends/hf/ConfigTesting.h"

namespace inlay::hf {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ModelConfig CachingLlama(const char *changes = "{}") {
  return hf::Parse(hf::With(json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256, "intermediate_size": 512,
    "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "vocab_size": 320, "head_dim": 64,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "torch_dtype": "bfloat16"})"),
                            changes));
}

SafetensorsIndex Scales(std::vector<std::pair<std::string, std::vector<int64_t>>> tensors) {
  SafetensorsIndex index;
  for (auto &[name, shape] : tensors)
    index.tensors[name] = {.name = name, .dtype = "F32", .shape = shape};
  return index;
}

std::vector<std::string> Find(const SafetensorsIndex &index, ModelConfig &config) {
  Problems problems;
  config.fp8_cache = true;
  FindCacheScales(index, config, problems);
  std::vector<std::string> lines;
  for (const Problem &problem : problems.items())
    lines.push_back(problem.ToString());
  return lines;
}

TEST(KvCache, ScalesUnderAllNames) {
  const std::string layers[] = {"model.layers.0.self_attn.", "model.layers.1.self_attn."};
  const std::pair<const char *, const char *> names[] = {{"k_scale", "v_scale"},
                                                         {"k_proj.k_scale", "v_proj.v_scale"},
                                                         {"attn.k_scale", "attn.v_scale"},
                                                         {"k_proj.output_scale", "v_proj.output_scale"},
                                                         {"kv_scale", "kv_scale"}};
  for (const auto &[key, value] : names) {
    SafetensorsIndex index =
        Scales({{layers[0] + key, {1}}, {layers[1] + key, {}}, {layers[0] + value, {1}}, {layers[1] + value, {}}});
    ModelConfig config = CachingLlama();
    EXPECT_THAT(Find(index, config), IsEmpty()) << key;
    EXPECT_EQ(config.layers[1].key_scale.tensor, layers[1] + key);
    EXPECT_EQ(config.layers[0].value_scale.tensor, layers[0] + value);
    EXPECT_FALSE(config.layers[0].key_scale.per_head);
  }
}

TEST(KvCache, AScaleForEachHead) {
  ModelConfig config = CachingLlama();
  Find(Scales({{"model.layers.0.self_attn.k_scale", {2, 1, 1}}}), config);
  EXPECT_TRUE(config.layers[0].key_scale.per_head);
  std::vector<WeightSpec> weights = RequiredWeights(config);
  auto found = std::find_if(weights.begin(), weights.end(),
                            [](const WeightSpec &weight) { return weight.name == "model.layers.0.self_attn.k_scale"; });
  ASSERT_NE(found, weights.end());
  EXPECT_THAT(found->shape, ElementsAre(2));
  EXPECT_THAT(found->source.tensor.shape, ElementsAre(2, 1, 1));
  EXPECT_EQ(found->source.repeat, 0);
}

TEST(KvCache, LayersWithoutScales) {
  ModelConfig config = CachingLlama();
  EXPECT_THAT(Find(Scales({{"model.layers.0.self_attn.kv_scale", {}}}), config),
              ElementsAre(HasSubstr("found no scales of keys or values in 1 of 2 layers, expected scales for an fp8 "
                                    "cache; 1.0 is used, which clips what is larger than 448")));
  EXPECT_THAT(config.layers[1].key_scale.tensor, IsEmpty());
}

TEST(KvCache, AutoIsWhatTheCheckpointSays) {
  constexpr const char *kFp8 = R"({"quantization_config": {"quant_method": "fp8", "activation_scheme": "static",
    "kv_cache_scheme": {"dynamic": false, "num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": true}}})";
  constexpr const char *kInt8 = R"({"quantization_config": {"quant_method": "fp8", "activation_scheme": "static",
    "kv_cache_scheme": {"dynamic": false, "num_bits": 8, "type": "int", "strategy": "tensor", "symmetric": true}}})";
  auto choose = [](const char *changes, CacheType type, DType dtype = DType::kBFloat16) {
    ModelConfig config = CachingLlama(changes);
    config.dtype = dtype;
    Problems problems;
    ChooseCache(type, config, problems);
    EXPECT_FALSE(problems.HasErrors());
    return config.fp8_cache;
  };
  EXPECT_TRUE(choose(kFp8, CacheType::kAuto));
  EXPECT_FALSE(choose(kFp8, CacheType::kBFloat16));
  EXPECT_FALSE(choose(kFp8, CacheType::kAuto, DType::kFloat32));
  EXPECT_FALSE(choose(kInt8, CacheType::kAuto));
  EXPECT_FALSE(choose("{}", CacheType::kAuto));
  EXPECT_TRUE(choose("{}", CacheType::kFp8));
  EXPECT_TRUE(choose("{}", CacheType::kFp8, DType::kFloat16));
}

} // namespace
} // namespace inlay::hf
