// Character classes and normalization of every code point are the same as in the `tokenizers` library. The goldens are
// written by test/fixtures/make_unicode_tables.py.
#include "formats/tokenizer/pipeline.h"
#include "formats/tokenizer/regex.h"
#include "formats/tokenizer/tokenizer_json.h"
#include "formats/tokenizer/unicode.h"
#include "formats/tokenizer/unicode_properties.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

namespace inlay::tokenizer {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

constexpr uint32_t kCodePoints = 0x110000;

bool IsSurrogate(uint32_t c) { return c >= 0xD800 && c <= 0xDFFF; }

const Json &Goldens() {
  static const Json goldens = [] {
    std::ifstream file("test/fixtures/unicode/properties.json");
    EXPECT_TRUE(file.good());
    return Json::parse(file);
  }();
  return goldens;
}

// All code points in order, and the offset of each.
struct AllText {
  std::string text;
  std::vector<uint32_t> at; // code point of each byte
  AllText() {
    for (uint32_t c = 0; c < kCodePoints; ++c) {
      if (IsSurrogate(c))
        continue;
      AppendUtf8(c, text);
      at.resize(text.size(), c);
    }
  }
};
const AllText &All() {
  static const AllText all;
  return all;
}

// Whether each code point is in a set: a byte 0 or 1. Bytes are filled and compared by memset and memcmp. Test code is
// compiled without optimization, and there loops over a vector<bool> take most of the time of this test.
using Membership = std::vector<char>;

// Adds the code points first to last, except surrogates.
void Add(Membership &set, uint32_t first, uint32_t last) {
  std::fill(set.begin() + first, set.begin() + last + 1, 1);
  if (first <= 0xDFFF && last >= 0xD800)
    std::fill(set.begin() + 0xD800, set.begin() + 0xDFFF + 1, 0);
}

// From the alternating lengths of runs outside and inside the set.
Membership Members(const Json &run_lengths) {
  Membership out;
  for (size_t i = 0; i < run_lengths.size(); ++i)
    out.resize(out.size() + run_lengths[i].get<size_t>(), i % 2 == 1);
  out.resize(kCodePoints, 0);
  return out;
}

Membership Members(const CodePointSet &set) {
  Membership out(kCodePoints, 0);
  for (CodePointRange range : set)
    Add(out, range.first, range.last);
  return out;
}

// A description of the first differences.
std::string Differences(const Membership &found, const Membership &expected) {
  std::string out;
  if (found == expected)
    return out;
  for (uint32_t c = 0; c < kCodePoints && out.size() < 300; ++c)
    if (found[c] != expected[c])
      out += fmt::format(" U+{:04X} is {}", c, found[c] ? "in" : "out");
  return out;
}

TEST(UnicodeTest, Patterns) {
  ASSERT_GT(Goldens()["patterns"].size(), 60u);
  for (const auto &[pattern, golden] : Goldens()["patterns"].items()) {
    absl::StatusOr<Regex> regex = Regex::Compile(pattern, "test");
    ASSERT_TRUE(regex.ok()) << regex.status();
    absl::StatusOr<std::vector<TextRange>> matches = regex->FindAll(All().text);
    ASSERT_TRUE(matches.ok()) << matches.status();
    Membership found(kCodePoints, 0);
    const uint32_t *at = All().at.data();
    for (TextRange match : *matches)
      if (match.begin < match.end)
        Add(found, at[match.begin], at[match.end - 1]);
    EXPECT_EQ(Differences(found, Members(golden)), "") << pattern;
  }
}

TEST(UnicodeTest, Scripts) {
  ASSERT_GT(Goldens()["scripts"].size(), 160u);
  for (const auto &[name, golden] : Goldens()["scripts"].items()) {
    std::optional<CodePointSet> found = FindProperty(name);
    ASSERT_TRUE(found.has_value()) << name;
    EXPECT_EQ(Differences(Members(*found), Members(golden)), "") << name;
  }
  EXPECT_EQ(FindProperty("hani"), FindProperty("Han"));
}

TEST(UnicodeTest, PreTokenizers) {
  for (const auto &[type, golden] : Goldens()["pre_tokenizers"].items()) {
    std::string prefix = type == "ByteLevel" ? R"(, "add_prefix_space": false)"
                         : type == "Digits"  ? R"(, "individual_digits": true)"
                                             : "";
    absl::StatusOr<TokenizerDefinition> definition =
        ParseTokenizerJson(R"({"model": {"type": "BPE", "vocab": {}, "merges": []}, "pre_tokenizer": {"type": ")" +
                           type + "\"" + prefix + "}}");
    ASSERT_TRUE(definition.ok()) << definition.status();
    Membership found(kCodePoints, 0);
    for (uint32_t c = 0; c < kCodePoints; ++c) {
      std::string text = "a";
      AppendUtf8(IsSurrogate(c) ? 'a' : c, text);
      found[c] = c != 'a' && PreTokenize(definition->pre_tokenizer, text + "a", true)->size() > 1;
    }
    EXPECT_EQ(Differences(found, Members(golden)), "") << type;
  }
}

TEST(UnicodeTest, WordsAroundAddedTokens) {
  Membership found(kCodePoints, 0);
  for (uint32_t c = 0; c < kCodePoints; ++c)
    found[c] = !IsSurrogate(c) && IsWordCharacter(c);
  EXPECT_EQ(Differences(found, Members(Goldens()["single_word"])), "");
}

// Each code point is placed between a letter and two marks, to test combining classes and compositions.
TEST(UnicodeTest, Normalizers) {
  for (const auto &[type, blocks] : Goldens()["normalizers"].items()) {
    absl::StatusOr<TokenizerDefinition> definition = ParseTokenizerJson(
        R"({"model": {"type": "BPE", "vocab": {}, "merges": []}, "normalizer": {"type": ")" + type + "\"}}");
    ASSERT_TRUE(definition.ok()) << definition.status();
    for (const auto &[begin, golden] : blocks.items()) {
      uint64_t hash = 0xCBF29CE484222325;
      auto add = [&](std::string_view text) {
        for (char c : text)
          hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
      };
      uint32_t first = static_cast<uint32_t>(std::stoul(begin, nullptr, 16));
      bool separate = false;
      for (uint32_t c = first; c < first + 4096; ++c) {
        if (IsSurrogate(c))
          continue;
        std::string text = "a";
        AppendUtf8(c, text);
        if (std::exchange(separate, true))
          add("\n");
        add(Normalize(definition->normalizer, text + "\u0301\u0323").value());
      }
      EXPECT_EQ(fmt::format("{:016x}", hash), golden.get<std::string>()) << type << " from U+" << begin;
    }
  }
}

std::string ErrorOf(std::string_view pattern) {
  absl::StatusOr<Regex> regex = Regex::Compile(pattern, "tokenizer.json: pre_tokenizer");
  EXPECT_FALSE(regex.ok()) << pattern;
  return std::string(regex.status().message());
}

TEST(UnicodeTest, RefusesWhatItCannotWriteOut) {
  EXPECT_THAT(
      ErrorOf(R"(\p{Age=15.0})"),
      HasSubstr(R"(tokenizer.json: pre_tokenizer: found the property 'Age=15.0' in the pattern '\p{Age=15.0}', )"
                "supported: general categories, scripts"));
  EXPECT_THAT(ErrorOf(R"(a\X)"), HasSubstr("found the escape \\X"));
  EXPECT_THAT(ErrorOf(R"([\c[])"), HasSubstr("found the escape \\c"));
  EXPECT_THAT(ErrorOf(R"((?a)\w)"), HasSubstr("found the option 'a'"));
  EXPECT_THAT(ErrorOf(R"((?i)[\p{Lu}])"), HasSubstr("found the property 'Lu' in brackets with the option i"));
  EXPECT_THAT(ErrorOf("(?i)\u019b"), HasSubstr("found U+019B with the option i"));
  EXPECT_THAT(ErrorOf("(?i)[a-\uffff]"), HasSubstr("found U+019B with the option i"));
  EXPECT_THAT(ErrorOf("(*FAIL)"), HasSubstr("found a callout"));
  EXPECT_THAT(ErrorOf(R"(\p{L)"), HasSubstr("found no '}' after \\p{"));
  std::string many;
  for (int i = 0; i < 1000; ++i)
    many += R"(\p{L})";
  EXPECT_THAT(ErrorOf(many), HasSubstr("found a pattern with too many Unicode sets"));
  EXPECT_FALSE(Regex::Compile(std::string(5000, '['), "test").ok());
  EXPECT_FALSE(Regex::Compile(std::string(5000, '('), "test").ok());
}

} // namespace
} // namespace inlay::tokenizer
