// The pre-tokenizers and normalizers of model families split and change unusual texts as in the `tokenizers` library.
// The goldens are written by test/fixtures/make_pre_tokenizer_goldens.py.
#include "formats/tokenizer/pipeline.h"
#include "formats/tokenizer/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <string>
#include <vector>

namespace inlay::tokenizer {
namespace {

using Json = nlohmann::json;

Json Goldens() {
  std::ifstream file("test/fixtures/tokenizers/parts.json");
  EXPECT_TRUE(file.good());
  return Json::parse(file);
}

TokenizerDefinition DefinitionWith(const char *key, const Json &part) {
  Json file = {{"version", "1.0"}, {"model", {{"type", "BPE"}, {"vocab", {{"a", 0}}}, {"merges", Json::array()}}}};
  file[key] = part;
  absl::StatusOr<TokenizerDefinition> definition = ParseTokenizerJson(file.dump());
  EXPECT_TRUE(definition.ok()) << definition.status();
  return definition.ok() ? *std::move(definition) : TokenizerDefinition();
}

TEST(TokenizerPartsTest, PreTokenizers) {
  Json goldens = Goldens();
  ASSERT_GT(goldens["pre_tokenizers"].size(), 30u);
  for (const Json &golden : goldens["pre_tokenizers"]) {
    TokenizerDefinition definition = DefinitionWith("pre_tokenizer", golden["part"]);
    for (size_t i = 0; i < goldens["texts"].size(); ++i) {
      absl::StatusOr<std::vector<std::string>> words =
          PreTokenize(definition.pre_tokenizer, goldens["texts"][i], /*at_start=*/true);
      ASSERT_TRUE(words.ok()) << words.status();
      std::string joined;
      for (const std::string &word : *words)
        joined += (joined.empty() ? "" : "\x1f") + word;
      EXPECT_EQ(joined, golden["words"][i].get<std::string>()) << golden["name"] << ": " << goldens["texts"][i];
    }
  }
}

TEST(TokenizerPartsTest, Normalizers) {
  Json goldens = Goldens();
  ASSERT_GT(goldens["normalizers"].size(), 5u);
  for (const Json &golden : goldens["normalizers"]) {
    TokenizerDefinition definition = DefinitionWith("normalizer", golden["part"]);
    for (size_t i = 0; i < goldens["texts"].size(); ++i)
      EXPECT_EQ(Normalize(definition.normalizer, goldens["texts"][i]).value(), golden["texts"][i].get<std::string>())
          << golden["name"] << ": " << goldens["texts"][i];
  }
}

} // namespace
} // namespace inlay::tokenizer
