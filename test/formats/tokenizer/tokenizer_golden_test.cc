// Ids and texts equal those of the `tokenizers` library. The goldens are written by
// test/fixtures/make_tokenizer_goldens.py.
#include "formats/tokenizer/tokenizer.h"
#include "formats/tokenizer/unicode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <string>
#include <vector>

namespace inlay::tokenizer {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

std::string FromHex(const std::string &hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

std::string Input(const Json &golden) {
  return golden.contains("hex") ? FromHex(golden["hex"]) : golden["in"].get<std::string>();
}

class GoldenTest : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    std::string directory = std::string("test/fixtures/tokenizers/") + GetParam();
    auto loaded = Tokenizer::Load(directory);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
    std::ifstream file(directory + "/goldens.json");
    ASSERT_TRUE(file.good());
    goldens_ = Json::parse(file);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  Json goldens_;
};

TEST_P(GoldenTest, EncodesToTheSameIds) {
  ASSERT_GT(goldens_["encode"].size(), 50u);
  for (const Json &golden : goldens_["encode"]) {
    auto plain = tokenizer_->Encode(Input(golden), /*add_special_tokens=*/false);
    ASSERT_TRUE(plain.ok()) << plain.status();
    EXPECT_EQ(*plain, golden["ids"].get<Ids>()) << golden;
    auto full = tokenizer_->Encode(Input(golden), /*add_special_tokens=*/true);
    ASSERT_TRUE(full.ok()) << full.status();
    EXPECT_EQ(*full, golden["full"].get<Ids>()) << golden;
  }
}

TEST_P(GoldenTest, DecodesToTheSameText) {
  for (const Json &golden : goldens_["encode"]) {
    Ids ids = golden["full"];
    EXPECT_EQ(tokenizer_->Decode(ids, /*skip_special_tokens=*/true).value(), golden["text"].get<std::string>())
        << golden;
    EXPECT_EQ(tokenizer_->Decode(ids, /*skip_special_tokens=*/false).value(), golden["all"].get<std::string>())
        << golden;
  }
  for (const Json &golden : goldens_["decode"])
    EXPECT_EQ(tokenizer_->Decode(golden["ids"].get<Ids>()).value(), golden["text"].get<std::string>()) << golden;
}

TEST_P(GoldenTest, StreamsWholeCharacters) {
  for (const Json &golden : goldens_["encode"]) {
    DetokenizeStream stream(*tokenizer_);
    std::string text;
    for (int32_t id : golden["full"].get<Ids>()) {
      std::string piece = stream.Push(id).value();
      EXPECT_TRUE(IsValidUtf8(piece)) << golden;
      text += piece;
    }
    text += stream.Flush().value();
    EXPECT_EQ(text, golden["text"].get<std::string>()) << golden;
  }
  for (const Json &golden : goldens_["decode"]) {
    DetokenizeStream stream(*tokenizer_);
    for (int32_t id : golden["ids"].get<Ids>())
      EXPECT_TRUE(IsValidUtf8(stream.Push(id).value())) << golden;
  }
}

TEST_P(GoldenTest, KnowsItsTokens) {
  EXPECT_EQ(tokenizer_->vocab_size(), goldens_["vocab_size"].get<int32_t>());
  for (int32_t id = 0; id < tokenizer_->vocab_size(); ++id) {
    auto token = tokenizer_->IdToToken(id);
    ASSERT_TRUE(token.has_value()) << id;
    EXPECT_EQ(tokenizer_->TokenToId(*token), id) << *token;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenTest,
                         testing::Values("llama3", "qwen2", "gpt2", "llama2", "mistral", "metaspace", "unigram",
                                         "unigram_bytes"),
                         [](const auto &info) { return std::string(info.param); });

} // namespace
} // namespace inlay::tokenizer
