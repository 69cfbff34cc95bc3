// tokenizer_config.json, special_tokens_map.json and added_tokens.json have the same effect as in transformers. The
// goldens are written by test/fixtures/make_tokenizer_config_goldens.py.
#include "formats/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace inlay::tokenizer {
namespace {

using Json = nlohmann::ordered_json;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

TokenizerFiles FilesOf(const Json &tokenizer, const Json &others) {
  TokenizerFiles files;
  files.tokenizer_json = tokenizer.dump();
  std::pair<const char *, std::optional<std::string> *> names[] = {
      {"tokenizer_config.json", &files.tokenizer_config},
      {"special_tokens_map.json", &files.special_tokens_map},
      {"added_tokens.json", &files.added_tokens}};
  for (auto [name, text] : names)
    if (others.contains(name))
      *text = others[name].dump();
  return files;
}

TEST(TokenizerConfigTest, HasTheEffectOfTransformers) {
  std::ifstream file("test/fixtures/tokenizers/config.json");
  ASSERT_TRUE(file.good());
  Json goldens = Json::parse(file);
  ASSERT_GT(goldens["cases"].size(), 40u);
  for (const Json &golden : goldens["cases"]) {
    auto tokenizer = Tokenizer::FromFiles(FilesOf(goldens["tokenizer.json"], golden["files"]));
    ASSERT_EQ(tokenizer.ok(), !golden.contains("error")) << golden << tokenizer.status();
    if (!tokenizer.ok())
      continue;
    std::vector<std::pair<std::string, std::string>> special;
    for (const auto &[name, content] : golden["special_tokens"].items())
      special.emplace_back(name, content.get<std::string>());
    EXPECT_EQ((*tokenizer)->special_tokens(), special) << golden;
    std::vector<AddedToken> added = (*tokenizer)->added_tokens();
    std::sort(added.begin(), added.end(), [](const auto &a, const auto &b) { return a.id < b.id; });
    Json shown = Json::array();
    for (const AddedToken &token : added)
      shown.push_back({token.id, token.content, token.lstrip, token.rstrip, token.normalized});
    EXPECT_EQ(shown, golden["added"]) << golden;
    std::vector<int32_t> ids = (*tokenizer)->Encode(goldens["text"].get<std::string>()).value();
    EXPECT_EQ(ids, golden["ids"].get<std::vector<int32_t>>()) << golden;
    EXPECT_EQ((*tokenizer)->Decode(ids, false).value(), golden["all"].get<std::string>()) << golden;
    EXPECT_EQ((*tokenizer)->Decode(ids, true).value(), golden["text"].get<std::string>()) << golden;
  }
}

const Json kTokenizer = Json::parse(R"({"model": {"type": "BPE", "vocab": {"x": 0}, "merges": []}})");

std::vector<std::string> NotesOf(const Json &files) {
  auto tokenizer = Tokenizer::FromFiles(FilesOf(kTokenizer, files));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? (*tokenizer)->notes() : std::vector<std::string>();
}

TEST(TokenizerConfigTest, NamesWhatItIgnores) {
  EXPECT_THAT(NotesOf({}), ElementsAre());
  EXPECT_THAT(
      NotesOf({{"tokenizer_config.json", {{"model_max_length", 8}, {"chat_template", "x"}, {"foo", 1}}}}),
      ElementsAre("tokenizer_config.json: model_max_length: ignored: prompts are neither truncated nor padded; "
                  "--max-model-len is the limit",
                  "tokenizer_config.json: foo: ignored: transformers' fast tokenizers do not act on a key of this "
                  "name"));
  EXPECT_THAT(
      NotesOf({{"tokenizer_config.json", {{"add_bos_token", true}}}}),
      ElementsAre(HasSubstr("add_bos_token: ignored: transformers ignores it too if there is a tokenizer.json")));
  EXPECT_THAT(
      NotesOf({{"tokenizer_config.json", {{"pad_token", "<p>"}}}}),
      ElementsAre("tokenizer_config.json: pad_token: adds the token '<p>', which is not in tokenizer.json, with the "
                  "id 1"));
  EXPECT_THAT(NotesOf({{"tokenizer_config.json", {{"added_tokens_decoder", Json::object()}}},
                       {"added_tokens.json", {{"<p>", 1}}}}),
              ElementsAre(HasSubstr("added_tokens.json: ignored: transformers does not read it if")));
  EXPECT_THAT(NotesOf({{"added_tokens.json", {{"<p>", 7}}}}),
              Contains("added_tokens.json: '<p>': the id 7 is ignored: the tokenizers library gives '<p>' the id 1"));
}

std::string ErrorOf(const Json &files) {
  auto tokenizer = Tokenizer::FromFiles(FilesOf(kTokenizer, files));
  EXPECT_FALSE(tokenizer.ok()) << files;
  return std::string(tokenizer.status().message());
}

// The `tokenizers` library numbers added tokens from the end of the vocabulary, whatever ids the file has.
TEST(TokenizerConfigTest, NumbersAddedTokensInTheirOrder) {
  Json json = kTokenizer;
  json["added_tokens"] = {
      {{"id", 5}, {"content", "<a>"}}, {{"id", 0}, {"content", "x"}}, {{"id", 7}, {"content", "<b>"}}};
  auto tokenizer = Tokenizer::FromJson(json.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT((*tokenizer)->Encode("x<a><b>").value(), ElementsAre(0, 1, 2));
  EXPECT_THAT(
      (*tokenizer)->notes(),
      Contains(
          "tokenizer.json: added_tokens[0].id: ignored: the tokenizers library gives '<a>' the id 1 instead of 5"));
}

TEST(TokenizerConfigTest, Refuses) {
  EXPECT_EQ(ErrorOf({{"tokenizer_config.json", {{"bos_token", 3}}}}),
            "tokenizer_config.json: bos_token: found '3', expected a token or an object with content");
  EXPECT_THAT(ErrorOf({{"tokenizer_config.json", {{"split_special_tokens", "yes"}}}}),
              HasSubstr("split_special_tokens: found 'yes', expected true or false"));
  EXPECT_THAT(ErrorOf({{"added_tokens.json", {{"<p>", "1"}}}}),
              HasSubstr("added_tokens.json: '<p>': found '1', expected an id"));
  EXPECT_THAT(ErrorOf({{"special_tokens_map.json", Json::array()}}),
              HasSubstr("special_tokens_map.json: found a list, expected an object"));
  EXPECT_THAT(ErrorOf({{"special_tokens_map.json", {{"pad_token", {{"content", "<p>"}, {"color", 1}}}}}}),
              HasSubstr("special_tokens_map.json: pad_token: found the key 'color'"));
  EXPECT_THAT(ErrorOf({{"tokenizer_config.json", {{"fix_mistral_regex", true}}}}), HasSubstr("supported: false"));
}

// As in a checkpoint that has only the files of a slow tokenizer.
TEST(TokenizerConfigTest, SaysWhatToDoWithoutTokenizerJson) {
  std::string directory = testing::TempDir() + "/inlay_slow_tokenizer";
  std::filesystem::create_directories(directory);
  std::ofstream(directory + "/vocab.json") << "{}";
  std::ofstream(directory + "/merges.txt") << "";
  std::string message(Tokenizer::Load(directory).status().message());
  EXPECT_THAT(
      message,
      HasSubstr("tokenizer.json: found no such file but vocab.json, merges.txt, so prompts can only be token ids"));
  EXPECT_THAT(message, HasSubstr("AutoTokenizer.from_pretrained('" + directory + "').save_pretrained("));
}

} // namespace
} // namespace inlay::tokenizer
