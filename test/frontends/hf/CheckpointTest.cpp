// Opening a model directory: every tensor that is missing, misshapen or of a
// type that is not read is listed at once, with the file that holds it.

#include "frontends/hf/Tensors.h"
#include "test/frontends/hf/CheckpointTesting.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

namespace inlay::hf {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const fs::path kModels = "test/fixtures/models", kQuantized = "test/fixtures/quantized";

class CheckpointTest : public DirectoryTest {
protected:
  void Copy(const std::string &model) { DirectoryTest::Copy(kModels / model); }
  void Write(const std::string &name, const std::string &text) {
    std::ofstream(directory_ / name, std::ios::binary) << text;
  }
  json ReadConfig() { return json::parse(std::ifstream(directory_ / "config.json")); }

  std::vector<std::string> Open(const CheckpointOptions &options = {}) { return OpenDirectory(options); }
};

TEST_F(CheckpointTest, EveryFixtureIsWithoutProblems) {
  size_t models = 0;
  for (const fs::path &directory : {kModels, kQuantized})
    for (const auto &entry : fs::directory_iterator(directory)) {
      ++models;
      Problems problems;
      EXPECT_TRUE(OpenCheckpoint(entry.path().string(), {}, problems)) << problems.ToStatus();
      EXPECT_THAT(problems.items(), IsEmpty()) << entry.path();
    }
  EXPECT_GE(models, 20u);
}

TEST_F(CheckpointTest, ShardsAreReadThroughTheIndex) {
  absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint((kModels / "llama-sharded").string(), CheckpointOptions());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->weights.files.size(), 4u);
}

TEST_F(CheckpointTest, AConfigurationIsEnoughForDummyWeights) {
  fs::copy(kModels / "qwen3" / "config.json", directory_);
  CheckpointOptions options;
  options.dummy_weights = true;
  EXPECT_THAT(Open(options), IsEmpty());
  EXPECT_THAT(Open(), ElementsAre(directory_.string() +
                                  ": found no model.safetensors and no model.safetensors.index.json, expected "
                                  "weights; add them, or compile with --dummy-weights"));
}

TEST_F(CheckpointTest, MissingAndMisshapenTensorsAreListedTogether) {
  Copy("llama-mqa");
  json config = ReadConfig();
  config["vocab_size"] = 300;
  config["attention_bias"] = true;
  config["num_hidden_layers"] = 1;
  Write("config.json", config.dump());
  std::vector<std::string> lines = Open();
  EXPECT_THAT(lines, ::testing::Contains("model.safetensors: model.embed_tokens.weight: found shape [256, 64], "
                                         "expected shape [300, 64]; config.json and the weights are not of the same "
                                         "model"));
  EXPECT_THAT(lines,
              ::testing::Contains("safetensors: model.layers.0.self_attn.q_proj.bias: found no such tensor, "
                                  "expected shape [128]; config.json and the weights are not of the same model"));
  EXPECT_THAT(lines, ::testing::Contains("model.safetensors: model.layers.1.input_layernorm.weight: found a tensor "
                                         "that the model does not use, expected only tensors of the model; it is left "
                                         "out"));
  EXPECT_EQ(lines.size(), 2u + 4u + 9u); // Two shapes, four biases, the nine tensors of the second layer.
}

TEST_F(CheckpointTest, AMissingShardIsNamed) {
  Copy("llama-sharded");
  fs::remove(directory_ / "model-00002-of-00004.safetensors");
  EXPECT_THAT(Open(), ElementsAre("model-00002-of-00004.safetensors: found no such file, expected a safetensors file; "
                                  "copy the file from the model's repository again"));
}

TEST_F(CheckpointTest, AShardOutsideTheDirectoryIsRefused) {
  Copy("llama-sharded");
  for (const char *shard : {"../model.safetensors", "/etc/passwd", "..", "a\\b"}) {
    json index = {{"weight_map", {{"lm_head.weight", shard}}}};
    Write("model.safetensors.index.json", index.dump());
    EXPECT_THAT(Open(), ElementsAre(HasSubstr("expected the name of a file in the directory of the index"))) << shard;
  }
}

TEST_F(CheckpointTest, SymlinkedFilesAreFollowed) {
  for (const char *name : {"config.json", "model.safetensors"})
    fs::create_symlink(fs::absolute(kModels / "qwen3" / name), directory_ / name);
  EXPECT_THAT(Open(), IsEmpty());
}

// `name` of the family as `rename` says, in the header of model.safetensors.
void RenameTensors(const fs::path &path, const std::function<std::string(const std::string &)> &rename) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  const std::string data = text.str();
  uint64_t length = 0;
  std::memcpy(&length, data.data(), sizeof(length));
  json renamed = json::object();
  const json tensors = json::parse(data.substr(sizeof(length), length));
  for (const auto &[name, tensor] : tensors.items())
    renamed[name == "__metadata__" ? name : rename(name)] = tensor;
  std::string header = renamed.dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');
  uint64_t size = header.size();
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char *>(&size), sizeof(size));
  out << header << data.substr(sizeof(length) + length);
}

// transformers 4 and 5 write the text part of a model with a vision part so.
TEST_F(CheckpointTest, TheTextPartOfAVisionModelIsRead) {
  json text = json::parse(std::ifstream(kModels / "gemma3" / "config.json"));
  text.erase("architectures");
  json config = {{"model_type", "gemma3"},
                 {"architectures", {"Gemma3ForConditionalGeneration"}},
                 {"vision_config", json::object()},
                 {"text_config", text}};
  for (const std::string prefix : {"language_model.", ""}) {
    Copy("gemma3");
    Write("config.json", config.dump());
    RenameTensors(directory_ / "model.safetensors", [&](const std::string &name) {
      return prefix.empty() ? "model.language_model." + name.substr(6) : prefix + name;
    });
    Problems problems;
    auto checkpoint = OpenCheckpoint(directory_.string(), {}, problems);
    ASSERT_TRUE(checkpoint) << problems.ToStatus();
    EXPECT_THAT(problems.items(), IsEmpty());
    EXPECT_THAT(problems.notes(),
                ::testing::Contains("config.json: only the text part of gemma3 is read: vision_config "
                                    "are ignored"));
    const std::string embedding =
        prefix.empty() ? "model.language_model.embed_tokens.weight" : "language_model.model.embed_tokens.weight";
    EXPECT_EQ(RequiredWeights(checkpoint->config)[0].source.tensor.name, embedding);
    EXPECT_EQ(RequiredWeights(checkpoint->config)[0].name, "model.embed_tokens.weight");
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
}

// openai-community/gpt2 has no "transformer." before its names, (model.safetensors of 2023).
TEST_F(CheckpointTest, TheNameOfTheBaseModelMayBeAbsent) {
  Copy("gpt2");
  RenameTensors(directory_ / "model.safetensors", [](const std::string &name) { return name.substr(12); });
  EXPECT_THAT(Open(), IsEmpty());
}

// One header and the part of the message that says what is wrong with it.
struct HeaderCase {
  const char *name;
  std::string json;
  std::string message;
};

class SafetensorsHeader : public ::testing::TestWithParam<HeaderCase> {};

TEST_P(SafetensorsHeader, IsRefused) {
  auto tensors = ParseSafetensorsHeader(GetParam().json, 8, 16, "f");
  ASSERT_FALSE(tensors.ok());
  EXPECT_EQ(tensors.status().message(),
            "f: " + GetParam().message + "; copy the file from the model's repository again");
}

std::string Tensor(const std::string &name, const std::string &dtype, const std::string &shape,
                   const std::string &offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}
std::string Header(const std::string &tensors) { return "{" + tensors + "}"; }

INSTANTIATE_TEST_SUITE_P(
    Hostile, SafetensorsHeader,
    ::testing::Values(
        HeaderCase{"Empty", "", "header: found invalid JSON (Empty: no JSON found), expected an object"},
        HeaderCase{"Deep", "{\"a\":" + std::string(1000, '[') + std::string(1000, ']') + "}",
                   "header: found invalid JSON (The JSON document was too deep (too many nested objects and arrays)), "
                   "expected an object"},
        HeaderCase{"Twice", Header(Tensor("a", "F32", "[2]", "[0,8]") + "," + Tensor("a", "F32", "[2]", "[8,16]")),
                   "a: found the name twice, expected each tensor once"},
        HeaderCase{"Overlap", Header(Tensor("a", "F32", "[3]", "[0,12]") + "," + Tensor("b", "F32", "[2]", "[8,16]")),
                   "b: found data at byte 8, expected 12, where the previous tensor ends"},
        HeaderCase{"Hole", Header(Tensor("a", "F32", "[1]", "[0,4]") + "," + Tensor("b", "F32", "[2]", "[8,16]")),
                   "b: found data at byte 8, expected 4, where the previous tensor ends"},
        HeaderCase{"Rest", Header(Tensor("a", "F32", "[1]", "[0,4]")),
                   "found 16 bytes of data, expected 4, the sum of the tensors"},
        HeaderCase{"Negative", Header(Tensor("a", "F32", "[-4]", "[0,16]")),
                   "a: found shape with -4, expected integers from 0 to 2^63-1"},
        HeaderCase{"Backwards", Header(Tensor("a", "F32", "[4]", "[16,0]")),
                   "a: found data_offsets [16, 0], expected a range within the file's 16 bytes of data"},
        HeaderCase{"PastTheEnd", Header(Tensor("a", "F32", "[5]", "[0,20]")),
                   "a: found data_offsets [0, 20], expected a range within the file's 16 bytes of data"},
        HeaderCase{"Overflow", Header(Tensor("a", "F32", "[4294967296,4294967296]", "[0,16]")),
                   "a: found a shape whose size overflows, expected at most 2^63-1 bytes"},
        HeaderCase{"Size", Header(Tensor("a", "BF16", "[2,2]", "[0,16]")),
                   "a: found 16 bytes of data, expected 8 for BF16 of shape [2, 2]"},
        HeaderCase{"DType", Header(Tensor("a", "F12", "[4]", "[0,16]")),
                   "a: found dtype F12, expected a dtype of the format"},
        HeaderCase{"NoOffsets", R"({"a":{"dtype":"F32","shape":[4]}})",
                   "a: found no data_offsets, expected dtype, shape and data_offsets"}),
    [](const auto &info) { return info.param.name; });

TEST_F(CheckpointTest, FilesThatAreNoSafetensorsAreRefused) {
  Copy("qwen3");
  auto message = [&](const std::string &bytes) {
    Write("model.safetensors", bytes);
    std::vector<std::string> lines = Open();
    return lines.empty() ? "" : lines[0];
  };
  EXPECT_THAT(message(""), HasSubstr("model.safetensors: found 0 bytes, expected at least 8"));
  EXPECT_THAT(message(std::string(8, '\xff')),
              HasSubstr("model.safetensors: header: found 18446744073709551615 bytes, expected at most 0"));
  EXPECT_THAT(message(std::string("\x03\0\0\0\0\0\0\0{}", 10)),
              HasSubstr("model.safetensors: header: found 3 bytes, expected at most 2"));
  EXPECT_THAT(message(std::string("\x02\0\0\0\0\0\0\0{}", 10)),
              HasSubstr("model.embed_tokens.weight: found no such tensor"));
}

TEST_F(CheckpointTest, TheQuantizerNeedsGroupsThatDivideTheColumns) {
  Copy("llama-gqa");
  json config = ReadConfig();
  config["intermediate_size"] = 100;
  Write("config.json", config.dump());
  CheckpointOptions options;
  options.dummy_weights = true;
  options.quantizer.layers = Codes::kU4;
  EXPECT_THAT(Open(options), ElementsAre(HasSubstr("--quantization int4: found model.layers.0.mlp.down_proj of 100 "
                                                   "columns, which groups of 128, 64 or 32 do not divide"),
                                         HasSubstr("model.layers.1.mlp.down_proj")));
  options.quantizer.layers = Codes::kI8;
  EXPECT_THAT(Open(options), IsEmpty());
}

TEST_F(CheckpointTest, QuantizedActivationsNeedQuantizedWeights) {
  fs::copy(kModels / "llama-gqa" / "config.json", directory_);
  CheckpointOptions options;
  options.dummy_weights = true;
  options.activations = ActivationQuantization::kDynamic;
  constexpr std::string_view kError =
      "config.json: quantization_config: found no quantized weights of layers, expected those of fp8 or int8 with "
      "--activation-quantization dynamic; add --quantization fp8 or int8, or drop the option";
  EXPECT_THAT(Open(options), ElementsAre(kError));
  options.quantizer.fp8_head = true;
  EXPECT_THAT(Open(options), ElementsAre(kError));
  options.quantizer.layers = Codes::kI8;
  EXPECT_THAT(Open(options), IsEmpty());
  options.quantizer = {};
  options.activations = ActivationQuantization::kNone;
  EXPECT_THAT(Open(options), IsEmpty());
}

} // namespace
} // namespace inlay::hf
