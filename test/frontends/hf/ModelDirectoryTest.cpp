// Every file of a model directory is used, named as ignored with the reason, or refused; and what check-model says of a
// directory is what opening it says.

#include "frontends/hf/CheckModel.h"
#include "frontends/hf/Checkpoint.h"
#include "frontends/hf/Tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace inlay::hf {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class ModelDirectoryTest : public ::testing::Test {
protected:
  void SetUp() override {
    directory_ = fs::path(::testing::TempDir()) /
                 ("model_directory_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  void Copy(const fs::path &model) {
    for (const auto &entry : fs::directory_iterator(model))
      if (entry.is_regular_file())
        fs::copy(entry.path(), directory_);
  }
  // The example model: a tokenizer, no chat template.
  void CopyExample() {
    Copy("examples/stdlib_model/model");
    fs::remove(directory_ / "README.md");
  }
  void Write(const std::string &name, const std::string &text) {
    fs::create_directories((directory_ / name).parent_path());
    std::ofstream(directory_ / name, std::ios::binary) << text;
  }
  void Change(const std::string &name, const char *changes) {
    json config = json::parse(std::ifstream(directory_ / name));
    config.update(json::parse(changes));
    Write(name, config.dump());
  }
  // Adds lm_head.weight with the values of the embedding, the last byte changed by `change`.
  void AddHead(char change) {
    std::ifstream in(directory_ / "model.safetensors", std::ios::binary);
    std::string file((std::istreambuf_iterator<char>(in)), {});
    uint64_t size = 0;
    std::memcpy(&size, file.data(), sizeof(size));
    json header = json::parse(file.substr(8, size));
    std::string data = file.substr(8 + size);
    json head = header["model.embed_tokens.weight"];
    auto begin = head["data_offsets"][0].get<uint64_t>(), end = head["data_offsets"][1].get<uint64_t>();
    head["data_offsets"] = {data.size(), data.size() + end - begin};
    data += data.substr(begin, end - begin);
    data.back() = static_cast<char>(data.back() ^ change);
    header["lm_head.weight"] = head;
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    size = text.size();
    Write("model.safetensors", std::string(reinterpret_cast<const char *>(&size), sizeof(size)) + text + data);
  }

  std::optional<Checkpoint> Open() {
    problems_ = Problems();
    std::optional<Checkpoint> checkpoint = OpenCheckpoint(directory_.string(), {}, problems_);
    Report report = CheckModel(directory_.string(), {}, /*json=*/false);
    EXPECT_EQ(report.supported, checkpoint.has_value());
    for (const Problem &problem : problems_.items())
      EXPECT_THAT(report.text, HasSubstr(problem.ToString()));
    for (const std::string &note : problems_.notes())
      EXPECT_THAT(report.text, HasSubstr(note));
    return checkpoint;
  }
  std::vector<std::string> Lines() {
    std::vector<std::string> lines;
    for (const Problem &problem : problems_.items())
      lines.push_back(problem.ToString());
    return lines;
  }

  fs::path directory_;
  Problems problems_;
};

const fs::path kModels = "test/fixtures/models";

// transformers 5 keeps both where they differ: huggingface/transformers pull request 42612.
TEST_F(ModelDirectoryTest, AnOutputEmbeddingOfItsOwnIsUsedThoughTied) {
  Copy(kModels / "llama-tied");
  AddHead(1);
  std::optional<Checkpoint> checkpoint = Open();
  ASSERT_TRUE(checkpoint) << problems_.ToStatus();
  EXPECT_FALSE(checkpoint->config.tie_word_embeddings);
  EXPECT_EQ(RequiredTensors(checkpoint->config).back().name, "lm_head.weight");
  EXPECT_THAT(Lines(),
              ElementsAre("model.safetensors: lm_head.weight: found other values than "
                          "model.embed_tokens.weight, expected the same, as tie_word_embeddings of config.json "
                          "is true; it is used, as by transformers 5; set tie_word_embeddings to false to say "
                          "so"));
}

// Qwen1.5-0.5B-Chat was published with such a copy: vllm-project/vllm pull request 3344.
TEST_F(ModelDirectoryTest, ACopyOfTheEmbeddingIsNamed) {
  Copy(kModels / "llama-tied");
  AddHead(0);
  std::optional<Checkpoint> checkpoint = Open();
  ASSERT_TRUE(checkpoint) << problems_.ToStatus();
  EXPECT_TRUE(checkpoint->config.tie_word_embeddings);
  EXPECT_THAT(Lines(), IsEmpty());
  EXPECT_THAT(problems_.notes(), Contains("model.safetensors: lm_head.weight: ignored: it holds the values of "
                                          "model.embed_tokens.weight"));
}

TEST_F(ModelDirectoryTest, WithoutAnOutputEmbeddingTheModelMustBeTied) {
  Copy(kModels / "llama-tied");
  Change("config.json", R"({"tie_word_embeddings": false})");
  EXPECT_FALSE(Open());
  EXPECT_THAT(Lines(), ElementsAre("safetensors: lm_head.weight: found no such tensor, expected shape [256, 64]; set "
                                   "tie_word_embeddings to true if the model has none of its own"));
}

// The tokenizer's eos_token ends texts too, as in vLLM: Blaizzy/mlx-vlm pull request 2112 is of a model whose
// generation_config.json lists another token alone.
TEST_F(ModelDirectoryTest, EndTokensAreThoseOfTheGenerationConfigAndTheTokenizer) {
  CopyExample();
  Change("config.json", R"({"eos_token_id": 5})");
  Write("generation_config.json", "{}");
  std::optional<Checkpoint> checkpoint = Open();
  ASSERT_TRUE(checkpoint) << problems_.ToStatus();
  ASSERT_TRUE(checkpoint->text.eos.has_value());
  const int64_t eos = *checkpoint->text.eos;
  EXPECT_THAT(checkpoint->config.eos, ElementsAre(5, eos));
  Write("generation_config.json", R"({"eos_token_id": [7, 8]})");
  EXPECT_THAT(Open()->config.eos, ElementsAre(7, 8, eos));
  Write("generation_config.json", R"({"eos_token_id": -1})");
  EXPECT_THAT(Open()->config.eos, ElementsAre(eos));
}

TEST_F(ModelDirectoryTest, ABrokenGenerationConfigIsAnError) {
  CopyExample();
  Write("generation_config.json", R"({"temperature": 0.7, })");
  EXPECT_FALSE(Open());
  EXPECT_THAT(Lines(), ElementsAre(StartsWith("generation_config.json: found invalid JSON")));
}

TEST_F(ModelDirectoryTest, RendersChatTemplates) {
  CopyExample();
  Write("chat_template.jinja", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}");
  std::optional<Checkpoint> checkpoint = Open();
  ASSERT_TRUE(checkpoint) << problems_.ToStatus();
  EXPECT_THAT(Lines(), IsEmpty());
  EXPECT_THAT(checkpoint->text.templates, ElementsAre("default"));
  EXPECT_THAT(checkpoint->text.conversations,
              ElementsAre("user", "user, without a generation prompt", "system and user", "several turns"));
}

TEST_F(ModelDirectoryTest, ATemplateBeyondTheLanguageIsAnError) {
  CopyExample();
  Write("chat_template.jinja", "{% include 'x' %}");
  EXPECT_FALSE(Open());
  EXPECT_THAT(Lines(), ElementsAre(StartsWith("chat_template.jinja: line 1: found the statement 'include'")));
}

TEST_F(ModelDirectoryTest, ATemplateThatRendersNothingIsAnError) {
  CopyExample();
  Write("chat_template.jinja", "{{ messages[0].content.nothing.at_all }}");
  EXPECT_FALSE(Open());
  EXPECT_THAT(Lines(), ElementsAre(HasSubstr("or remove it to take prompts only")));
}

// Templates without a system role refuse it themselves (Mistral 7B Instruct v0.1, Gemma).
TEST_F(ModelDirectoryTest, WhatATemplateRefusesIsANote) {
  CopyExample();
  Write("chat_template.jinja", "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
                               "{{ messages[0].content }}");
  ASSERT_TRUE(Open()) << problems_.ToStatus();
  EXPECT_THAT(Lines(), IsEmpty());
  EXPECT_THAT(problems_.notes(),
              Contains("the conversation 'system and user': chat_template.jinja: line 1: the template "
                       "refuses the chat: no system role"));
}

TEST_F(ModelDirectoryTest, ATemplateThatOnlyToolsBreakIsAWarning) {
  CopyExample();
  Write("chat_template.jinja", "{% if tools %}{{ tools[0].nothing.at_all }}{% endif %}{{ messages[0].content }}");
  std::optional<Checkpoint> checkpoint = Open();
  ASSERT_TRUE(checkpoint) << problems_.ToStatus();
  EXPECT_EQ(problems_.items().size(), 2u);
  EXPECT_THAT(Lines(), Contains(HasSubstr("the conversation 'tools'")));
}

// trl and peft leave directories with an adapter alone: huggingface/transformers issue 28688.
TEST_F(ModelDirectoryTest, AnAdapterIsRefusedByName) {
  Write("adapter_config.json", "{}");
  Write("adapter_model.safetensors", "");
  EXPECT_FALSE(Open());
  EXPECT_THAT(Lines(),
              Contains(HasSubstr("found an adapter (adapter_config.json, adapter_model.safetensors), expected a "
                                 "whole model; merge it into its base model")));
}

TEST_F(ModelDirectoryTest, WeightsInOtherFormatsAreNamed) {
  fs::copy(kModels / "llama-mqa" / "config.json", directory_);
  Write("pytorch_model.bin", "");
  EXPECT_FALSE(Open());
  EXPECT_THAT(Lines(), ElementsAre(HasSubstr("found no model.safetensors and no model.safetensors.index.json, but "
                                             "pytorch_model.bin, expected weights; convert them")));
}

TEST_F(ModelDirectoryTest, EveryOtherFileIsNamedWithTheReason) {
  Copy(kModels / "llama-mqa");
  for (const char *name : {"pytorch_model.bin", "consolidated.safetensors", "model-q4.gguf", "modeling_llama.py",
                           "preprocessor_config.json", "params.json", "README.md", "LICENSE", "original/x.pth"})
    Write(name, "");
  Write("quantize_config.json", "{}");
  ASSERT_TRUE(Open()) << problems_.ToStatus();
  EXPECT_THAT(Lines(), ElementsAre("quantize_config.json: found the description of a quantization, expected no "
                                   "quantization; it is ignored, and weights are read as they are stored"));
  std::vector<std::string> notes = problems_.notes();
  EXPECT_THAT(notes, Contains("consolidated.safetensors: ignored: weights come from model.safetensors"));
  EXPECT_THAT(notes, Contains("model-q4.gguf: ignored: weights come from model.safetensors"));
  EXPECT_THAT(notes, Contains("modeling_llama.py: ignored: code of the checkpoint is not run"));
  EXPECT_THAT(notes, Contains("params.json: ignored: config.json describes the model"));
  EXPECT_THAT(notes, Contains("preprocessor_config.json: ignored: images, sound and video are not supported"));
  EXPECT_THAT(notes, Contains("pytorch_model.bin: ignored: weights come from model.safetensors"));
  EXPECT_THAT(notes, Contains("LICENSE, README.md, original/: ignored: no part of the model"));
}

TEST_F(ModelDirectoryTest, WithoutATokenizerTheModelTakesIds) {
  Copy(kModels / "llama-mqa");
  Write("chat_template.jinja", "x");
  ASSERT_TRUE(Open());
  EXPECT_THAT(Lines(), IsEmpty());
  EXPECT_THAT(problems_.notes(), Contains("tokenizer.json: no such file: the model takes token ids only"));
  EXPECT_THAT(problems_.notes(), Contains("chat_template.jinja: ignored: there is no tokenizer.json"));
  Write("vocab.json", "{}");
  Write("merges.txt", "");
  ASSERT_TRUE(Open());
  EXPECT_THAT(Lines(),
              ElementsAre(HasSubstr("tokenizer.json: found no such file, only merges.txt, vocab.json, expected")));
}

TEST_F(ModelDirectoryTest, OlderFormsOfATokenizerAreNamed) {
  CopyExample();
  Write("tokenizer.model", "");
  ASSERT_TRUE(Open());
  EXPECT_THAT(problems_.notes(), Contains("tokenizer.model: ignored: tokenizer.json holds the tokenizer"));
}

TEST_F(ModelDirectoryTest, NamesCannotBreakLines) {
  Copy(kModels / "llama-mqa");
  Write("a\nb.gguf", "");
  ASSERT_TRUE(Open());
  EXPECT_THAT(problems_.notes(), Contains("a?b.gguf: ignored: weights come from model.safetensors"));
}

} // namespace
} // namespace inlay::hf
