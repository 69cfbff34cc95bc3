// For broken or malicious tokenizer.json files, the error is one line with the key, what was found and what was
// expected.
#include "formats/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace inlay::tokenizer {
namespace {

using testing::HasSubstr;

std::string File(const std::string &vocab, const std::string &merges, const std::string &rest = "") {
  return R"({"version": "1.0", "model": {"type": "BPE", "vocab": )" + vocab + R"(, "merges": )" + merges + "}" + rest +
         "}";
}

std::string ErrorOf(const std::string &json) {
  auto tokenizer = Tokenizer::FromJson(json);
  EXPECT_FALSE(tokenizer.ok()) << json;
  std::string message(tokenizer.status().message());
  EXPECT_EQ(message.find('\n'), message.npos) << message;
  return message;
}

TEST(TokenizerErrorTest, NoJson) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("tokenizer.json: found 0 bytes that are not JSON"));
  EXPECT_THAT(ErrorOf("{\"model\": "), HasSubstr("not JSON"));
  EXPECT_THAT(ErrorOf("[]"), HasSubstr("found a list, expected an object"));
  EXPECT_THAT(ErrorOf(std::string(1'000'000, '[')), HasSubstr("nested deeper than 64"));
}

TEST(TokenizerErrorTest, AbsentTokenInMerge) {
  EXPECT_EQ(ErrorOf(File(R"({"a": 0, "b": 1})", R"(["a b"])")),
            "tokenizer.json: model.merges[0]: found the token 'ab', expected one of model.vocab; fix: add it there or "
            "remove the merge");
  EXPECT_THAT(ErrorOf(File(R"({"a": 0, "b": 1})", R"([["a", "c"]])")), HasSubstr("found the token 'c'"));
  EXPECT_THAT(ErrorOf(File(R"({"a": 0})", R"(["a"])")),
              HasSubstr("model.merges[0]: found 'a', expected two tokens separated by one space"));
}

TEST(TokenizerErrorTest, Ids) {
  EXPECT_EQ(ErrorOf(File(R"({"a": 0, "b": 0})", "[]")),
            "tokenizer.json: model.vocab['b']: found '0', expected a unique id: 'a' has it too");
  for (const char *id : {"-1", "4194304", "18446744073709551615", "1.5", "\"1\"", "null", "1e3"})
    EXPECT_THAT(ErrorOf(File(std::string("{\"a\": ") + id + "}", "[]")),
                HasSubstr("expected an integer from 0 to 4194303"))
        << id;
  EXPECT_EQ(ErrorOf(File(R"({"a": 0})", "[]", R"(, "added_tokens": [{"id": 0, "content": "<s>"}])")),
            "tokenizer.json: added_tokens[0].id: found '0', expected a unique id: 'a' has it too");
  EXPECT_THAT(ErrorOf(File(R"({"a": 0})", "[]", R"(, "added_tokens": [{"id": 7, "content": "a"}])")),
              HasSubstr("added_tokens[0].id: found '7', expected 0, which model.vocab gives 'a'"));
}

TEST(TokenizerErrorTest, Unigram) {
  auto error_of = [](const std::string &rest) { return ErrorOf(R"({"model": {"type": "Unigram", )" + rest + "}}"); };
  EXPECT_THAT(error_of(R"("vocab": {})"), HasSubstr("model.vocab: found an object, expected a list of at most"));
  EXPECT_EQ(error_of(R"("vocab": [])"), "tokenizer.json: model.vocab: found a list, expected at least one token");
  for (const char *entry : {"1", "[\"a\"]", "[1, \"a\"]", "[\"a\", null]", "[\"a\", 1, 2]"})
    EXPECT_THAT(error_of(std::string("\"vocab\": [[\"<unk>\", 0], ") + entry + "]"),
                HasSubstr("expected a token and its score"));
  EXPECT_EQ(error_of(R"("vocab": [["a", 0], ["a", -1]])"),
            "tokenizer.json: model.vocab[1]: found 'a', expected each token once");
  EXPECT_EQ(error_of(R"("vocab": [["a", 0]], "unk_id": null)"),
            "tokenizer.json: model.unk_id: found nothing, expected an integer from 0 to 0");
  EXPECT_THAT(error_of(R"("vocab": [["a", 0]], "unk_id": 1)"), HasSubstr("model.unk_id: found '1'"));
  EXPECT_THAT(error_of(R"("vocab": [["a", 0]], "unk_id": 0, "merges": [])"), HasSubstr("found the key 'merges'"));
  auto cleaned = Tokenizer::FromJson(R"({"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 0}})",
                                     R"({"clean_up_tokenization_spaces": true})");
  EXPECT_THAT(cleaned.status().message(), HasSubstr("clean_up_tokenization_spaces: found true beside a Unigram model"));
}

TEST(TokenizerErrorTest, UnknownParts) {
  EXPECT_EQ(ErrorOf(R"({"model": {"type": "WordPiece"}})"),
            "tokenizer.json: model.type: found 'WordPiece', supported: BPE, Unigram");
  EXPECT_EQ(ErrorOf(File("{}", "[]", R"(, "normalizer": {"type": "Sequence", "normalizers": [{"type": "Nmt"}]})")),
            "tokenizer.json: normalizer.normalizers[0].type: found 'Nmt', supported: NFC, NFD, NFKC, NFKD, Lowercase, "
            "Precompiled, Prepend, Replace, Strip, Sequence");
  EXPECT_THAT(
      ErrorOf(File("{}", "[]", R"(, "pre_tokenizer": {"type": "Bert"})")),
      HasSubstr("pre_tokenizer.type: found 'Bert', supported: Split, ByteLevel, Metaspace, Digits, Punctuation, "
                "Whitespace, WhitespaceSplit, Sequence"));
  EXPECT_THAT(ErrorOf(File("{}", "[]", R"(, "pre_tokenizer": {"type": "UnicodeScripts"})")),
              HasSubstr("pre_tokenizer.type: found 'UnicodeScripts', supported: Split"));
  EXPECT_THAT(ErrorOf(File("{}", "[]", R"(, "post_processor": {"type": "RobertaProcessing"})")),
              HasSubstr("post_processor.type: found 'RobertaProcessing', supported: TemplateProcessing"));
  EXPECT_THAT(ErrorOf(File("{}", "[]", R"(, "decoder": {"type": "CTC"})")), HasSubstr("decoder.type: found 'CTC'"));
  EXPECT_THAT(ErrorOf(File("{}", "[]", R"(, "surprise": 1)")), HasSubstr("found the key 'surprise'"));
}

TEST(TokenizerErrorTest, WrongTypes) {
  EXPECT_THAT(ErrorOf(File("[]", "[]")), HasSubstr("model.vocab: found a list, expected an object from tokens to ids"));
  EXPECT_THAT(ErrorOf(File("{}", "{}")), HasSubstr("model.merges: found an object, expected a list of merges"));
  EXPECT_THAT(ErrorOf(File("{}", "[]", R"(, "normalizer": 3)")),
              HasSubstr("normalizer: found '3', expected an object"));
  EXPECT_THAT(ErrorOf(File("{}", "[]", R"(, "added_tokens": [3])")), HasSubstr("added_tokens[0].id: found nothing"));
}

TEST(TokenizerErrorTest, CharacterMaps) {
  auto error_of = [](const std::string &charsmap) {
    return ErrorOf(
        File("{}", "[]", R"(, "normalizer": {"type": "Precompiled", "precompiled_charsmap": )" + charsmap + "}"));
  };
  const std::string key = "tokenizer.json: normalizer.precompiled_charsmap: ";
  EXPECT_EQ(error_of("null"), key + "found nothing, expected a string");
  EXPECT_EQ(error_of(R"("*")"), key + "found '*', expected base64 text");
  EXPECT_EQ(error_of(R"("AAA=")"), key + "found 2 bytes, expected a trie and its size");
  EXPECT_EQ(error_of(R"("CAAAAAAAAAA=")"),
            key + "found a trie of 8 bytes, expected a multiple of 4 and at most the 4 bytes that follow");
  EXPECT_EQ(error_of(R"("BAAAAAAAAAD/")"), key + "found replacements that are not UTF-8");
}

// A trie of one node, whose children are past its end.
TEST(TokenizerErrorTest, LookupsThatLeaveACharacterMap) {
  auto tokenizer = Tokenizer::FromJson(
      File(R"({"a": 0})", "[]", R"(, "normalizer": {"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAAA="})"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Encode("a").status().message(),
            "the tokenizer's Precompiled normalizer is damaged: a lookup leaves its trie");
}

std::string SplitOn(const std::string &regex) {
  return File(R"({"a": 0})", "[]",
              R"(, "pre_tokenizer": {"type": "Split", "behavior": "Isolated", "pattern": {"Regex": ")" + regex +
                  "\"}}");
}

TEST(TokenizerErrorTest, BadRegex) {
  EXPECT_THAT(ErrorOf(SplitOn("(a")),
              HasSubstr("pre_tokenizer.pattern.Regex: found '(a', expected a regular expression"));
}

TEST(TokenizerErrorTest, CatastrophicRegexEnds) {
  auto tokenizer = Tokenizer::FromJson(SplitOn("^(a|a)*$"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  auto ids = (*tokenizer)->Encode(std::string(64, 'a') + "b");
  ASSERT_FALSE(ids.ok());
  EXPECT_THAT(std::string(ids.status().message()),
              HasSubstr("pre_tokenizer.pattern.Regex: matching the pattern '^(a|a)*$' was stopped"));
}

TEST(TokenizerErrorTest, UnknownIds) {
  auto tokenizer = Tokenizer::FromJson(File(R"({"a": 0, "b": 5})", "[]"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (int32_t id : {-1, 3, 6, 2147483647})
    EXPECT_FALSE((*tokenizer)->Decode(std::vector<int32_t>{id}).ok()) << id;
}

TEST(TokenizerErrorTest, MissingFile) {
  auto tokenizer = Tokenizer::Load("test/fixtures/no-such-directory");
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("tokenizer.json: found no such file"));
}

// A word of a megabyte must not take quadratic time.
TEST(TokenizerTest, LongWord) {
  auto tokenizer = Tokenizer::FromJson(File(R"({"a": 0, "aa": 1, "aaaa": 2})", R"(["a a", "aa aa"])"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Encode(std::string(1 << 20, 'a'))->size(), size_t{1} << 18);
}

} // namespace
} // namespace inlay::tokenizer
