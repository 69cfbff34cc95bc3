#include "runtime/guided/guided.h"

#include "runtime/guided/ebnf.h"
#include "runtime/guided/json_schema.h"
#include "runtime/guided/regex.h"
#include "test/runtime/guided/recogniser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <random>

namespace inlay::guided {
namespace {

using testing::HasSubstr;

// All bytes, and tokens that span several elements of a grammar.
std::shared_ptr<const Vocabulary> SmallVocabulary() {
  std::vector<std::string> tokens{""}; // 0 ends the text
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back(std::string(1, static_cast<char>(byte)));
  for (const char *token : {"\":",          "{\"",      "\"}",
                            "\",",          ", ",       "true",
                            "tr",           "false",    "null",
                            "12",           "123",      "0.5",
                            "-1",           "ab",       "abc",
                            "aaaa",         "foo",      "name",
                            "\"name\":",    "[[",       "]]",
                            "],",           "\xC3\xA9", "\xE2\x82",
                            "\xE2\x82\xAC", "\n  ",     "}}",
                            "2024-",        "\\u00",    "\\n",
                            "()",           "a+b",      "\xF0\x9F\x98\x80",
                            "\xA9x"})
    tokens.push_back(token);
  return *Vocabulary::Create(std::move(tokens), {0}, 320);
}

bool Matches(const absl::StatusOr<Grammar::Pointer> &grammar, std::string_view text) {
  EXPECT_TRUE(grammar.ok()) << grammar.status();
  if (!grammar.ok())
    return false;
  Matcher matcher = *Matcher::Create(*grammar);
  return *matcher.AcceptBytes(text) && matcher.CanEnd();
}

std::string Error(const absl::StatusOr<Grammar::Pointer> &grammar) {
  return grammar.ok() ? "accepted" : std::string(grammar.status().message());
}

auto Regex(std::string_view text) { return Grammar::FromRegex(text, SmallVocabulary(), {}); }
auto Ebnf(std::string_view text) { return Grammar::FromEbnf(text, SmallVocabulary(), {}); }
auto Schema(std::string_view text) { return Grammar::FromJsonSchema(text, SmallVocabulary(), {}); }

struct Case {
  const char *source;
  std::vector<const char *> in, out;
};

TEST(GuidedRegex, MatchesWholeTexts) {
  for (const Case &c : std::vector<Case>{
           {"abc", {"abc"}, {"", "ab", "abcd"}},
           {"a|bc|", {"a", "bc", ""}, {"ab", "b"}},
           {"(ab)*c+d?", {"c", "ababccd"}, {"abac", "ab"}},
           {"[a-c\\d_-]{2,3}", {"a1", "_-c"}, {"a", "a1b2", "dd"}},
           {"[^\"\\n]", {"\xC3\xA9", "\xF0\x9F\x98\x80", "x"}, {"\"", "\n", "\xC3", "\xED\xA0\x80"}},
           {"\\w+@\\w+\\.com", {"a@b.com"}, {"a@b_com"}},
           {"^x{3}$", {"xxx"}, {"xx", "xxxx"}},
           {"a{0}b", {"b"}, {"ab"}},
           {"(a*)*b", {"b", "aaab"}, {"a"}},
           {"(a?){3}", {"", "a", "aaa"}, {"aaaa"}},
           {"(?:a|aa){2,}", {"aa", "aaa", "aaaaaaa"}, {"a"}},
           {"(ab|cd){100,200}x", {}, {"abx"}},
           {"\\u20ac.\\x41",
            {"\xE2\x82\xAC\xC3\xA9"
             "A"},
            {"\xE2\x82\xAC\nA"}},
           {"[\\u0000-\\U0010ffff]",
            {"\x7F", "\xDF\xBF", "\xE0\xA0\x80", "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF"},
            {"\x80", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80"}},
       }) {
    for (const char *text : c.in)
      EXPECT_TRUE(Matches(Regex(c.source), text)) << c.source << " " << text;
    for (const char *text : c.out)
      EXPECT_FALSE(Matches(Regex(c.source), text)) << c.source << " " << text;
  }
}

TEST(GuidedRegex, CountsLongRepetitions) {
  auto grammar = Regex("(ab|cd){100,1000000}");
  std::string text;
  for (int i = 0; i < 99; ++i)
    text += i % 2 ? "ab" : "cd";
  EXPECT_FALSE(Matches(grammar, text));
  EXPECT_TRUE(Matches(grammar, text + "ab"));
  auto exact = Regex("a{5000}");
  EXPECT_TRUE(Matches(exact, std::string(5000, 'a')));
  EXPECT_FALSE(Matches(exact, std::string(4999, 'a')));
  EXPECT_FALSE(Matches(exact, std::string(5001, 'a')));
}

TEST(GuidedRegex, RefusesByName) {
  for (auto [source, message] : std::vector<std::pair<const char *, const char *>>{
           {"(?=a)b", "look-ahead"},
           {"(?<!a)b", "look-behind"},
           {"(a)\\1", "back-reference"},
           {"a\\b", "assertion '\\b'"},
           {"a^b", "anchor '^'"},
           {"\\p{L}", "Unicode property"},
           {"a**", "quantifier after a quantifier"},
           {"a*+", "possessive"},
           {"*a", "nothing before it"},
           {"(a", "'(' without ')'"},
           {"a)", "')' without '('"},
           {"[a", "'[' without ']'"},
           {"[z-a]", "broken range"},
           {"a{3,1}", "{3,1}"},
           {"a{9999999}", "max_repetitions"},
           {"a{99999999999}", "2147483647"},
           {"(a*){65}", "may be empty"},
           {"^a|b", "one alternative"},
           {"[[:alpha:]]", "POSIX"},
           {"\xFF", "UTF-8"},
           {"\\ud800", "U+D800"},
           {"[^\\s\\S]", "matches no text"},
       })
    EXPECT_THAT(Error(Regex(source)), HasSubstr(message)) << source;
  EXPECT_THAT(Error(Regex(std::string(200, '(') + std::string(200, ')'))), HasSubstr("max_source_depth"));
  EXPECT_THAT(Error(Regex(std::string(5'000'000, 'a'))), HasSubstr("max_source_bytes"));
  std::string nested = "a";
  for (int i = 0; i < 12; ++i)
    nested.insert(0, "(").append("b?){60}");
  EXPECT_THAT(Error(Regex(nested)), HasSubstr("accepted"));
}

TEST(GuidedEbnf, Matches) {
  auto arithmetic = Ebnf(R"x(
    # sums and products
    root ::= sum
    sum ::= product (("+" | "-") product)*
    product ::= atom
      | atom "*" product
    atom ::= [0-9]+ | "(" sum ")"
  )x");
  EXPECT_TRUE(Matches(arithmetic, "1+2*(3-4)"));
  EXPECT_FALSE(Matches(arithmetic, "1+2*(3-4"));
  EXPECT_FALSE(Matches(arithmetic, "1+*2"));
  EXPECT_TRUE(Matches(Ebnf("root ::= \"a\\n\" [^x-z]{2} .?"), "a\nab\xC3\xA9"));
  EXPECT_FALSE(Matches(Ebnf("root ::= \"a\\n\" [^x-z]{2} .?"), "a\nax"));
}

TEST(GuidedEbnf, RefusesByName) {
  for (auto [source, message] : std::vector<std::pair<const char *, const char *>>{
           {"", "no rule 'root'"},
           {"root ::= x", "no rule 'x'"},
           {"root ::= root \"a\" | \"b\"", "'root' is left-recursive"},
           {"root ::= a\na ::= \"b\"? root | \"c\"", "left-recursive"},
           {"root ::= \"a\" root", "matches no text of finite length"},
           {"root ::= \"a", "closing quote"},
           {"root ::= (\"a\"", "'(' without ')'"},
           {"root = \"a\"", "'::='"},
           {"root ::= \"a\"\nroot ::= \"b\"", "second time"},
           {"root ::= \"\\q\"", "escape"},
       })
    EXPECT_THAT(Error(Ebnf(source)), HasSubstr(message)) << source;
}

TEST(GuidedEbnf, DeepNestingMeetsTheLimit) {
  Limits limits;
  limits.max_stack_depth = 20;
  auto grammar = Grammar::FromEbnf("root ::= \"x\" | \"(\" root \")\"", SmallVocabulary(), limits);
  Matcher matcher = *Matcher::Create(*grammar);
  EXPECT_TRUE(*matcher.AcceptBytes(std::string(20, '(')));
  EXPECT_FALSE(*matcher.AcceptBytes("(("));
}

TEST(GuidedSchema, Matches) {
  struct SchemaCase {
    const char *source;
    std::vector<const char *> in, out;
  };
  for (const SchemaCase &c : std::vector<SchemaCase>{
           {"{}",
            {"1", "{\"a\": [1, {\"b\":null}]}", "\"x\\u00e9\\n\""},
            {"", "{", "01", "\"\\ud800\"", "{\"a\":}", "[1,]"}},
           {R"({"type":"object"})", {"{}", "{\"a\":1}"}, {"1", "[]"}},
           {R"({"type":["integer","null"]})", {"0", "-12", "null"}, {"1.5", "-0", "\"1\""}},
           {R"({"type":"string","nullable":true})", {"null", "\"\""}, {"1"}},
           {R"({"type":"integer","minimum":-12,"maximum":305})",
            {"-12", "-9", "0", "9", "10", "99", "100", "299", "300", "305"},
            {"-13", "306", "1000", "00", "-0", "-20"}},
           {R"({"type":"integer","exclusiveMinimum":5})", {"6", "10", "123456"}, {"5", "-6", "0"}},
           {R"({"type":"string","minLength":2,"maxLength":3})",
            {"\"ab\"", "\"\xC3\xA9\\n\\u0041\""},
            {"\"a\"", "\"abcd\""}},
           {R"({"type":"string","pattern":"^[a-z\"]+$"})", {"\"ab\"", "\"\\\"\""}, {"\"\"", "\"A\"", "\"\"\""}},
           {R"({"type":"string","pattern":"b"})", {"\"abc\"", "\"b\""}, {"\"ac\""}},
           {R"({"type":"string","format":"date"})",
            {"\"2024-02-29\"", "\"2023-12-31\""},
            {"\"2023-02-29\"", "\"2023-13-01\"", "\"2100-02-29\""}},
           {R"({"type":"string","format":"ipv4"})", {"\"10.0.255.1\""}, {"\"256.0.0.1\"", "\"1.2.3\""}},
           {R"({"enum":["a",1,null,{"x":[1]}]})", {"\"a\"", "1", "null", "{\"x\":[1]}"}, {"2", "\"b\""}},
           {R"({"const":"x\"y"})", {"\"x\\\"y\""}, {"\"xy\""}},
           {R"({"type":"array","items":{"type":"boolean"},"minItems":1,"maxItems":3})",
            {"[true]", "[true, false,true]"},
            {"[]", "[true,true,true,true]", "[1]"}},
           {R"({"type":"array","prefixItems":[{"const":1},{"const":2}],"items":{"const":3},"minItems":1})",
            {"[1]", "[1,2]", "[1,2,3,3]"},
            {"[]", "[2]", "[1,3]"}},
           {R"({"type":"object","properties":{"a":{"const":1},"b":{"const":2},"c":{"const":3}},"required":["b"]})",
            {"{\"b\":2}", "{\"a\":1,\"b\":2}", "{\"a\": 1, \"b\": 2, \"c\": 3}", "{\n  \"b\": 2\n}"},
            {"{}", "{\"a\":1}", "{\"b\":2,\"a\":1}", "{\"b\":2,\"d\":1}", "{\"a\":1,}"}},
           {R"({"type":"object","properties":{"a":{"const":1}},"additionalProperties":{"const":2}})",
            {"{}", "{\"b\":2}", "{\"a\":1,\"aa\":2}", "{\"\":2}"},
            {"{\"a\":2}", "{\"b\":1}", "{\"a\":1,\"a\":2}"}},
           {R"({"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","properties":{"left":{"$ref":"#/$defs/tree"},
               "value":{"const":0}},"required":["value"]}}})",
            {"{\"value\":0}", "{\"left\":{\"left\":{\"value\":0},\"value\":0},\"value\":0}"},
            {"{}", "{\"left\":{},\"value\":0}"}},
           {R"({"anyOf":[{"type":"integer"},{"type":"null"}]})", {"3", "null"}, {"true"}},
           {R"({"oneOf":[{"type":"object","properties":{"t":{"const":"a"}},"required":["t"]},
                         {"type":"object","properties":{"t":{"const":"b"}},"required":["t"]}]})",
            {"{\"t\":\"a\"}", "{\"t\":\"b\"}"},
            {"{\"t\":\"c\"}"}},
       }) {
    for (const char *text : c.in) {
      EXPECT_TRUE(Matches(Schema(c.source), text)) << c.source << " " << text;
      EXPECT_TRUE(nlohmann::json::accept(text)) << text;
    }
    for (const char *text : c.out)
      EXPECT_FALSE(Matches(Schema(c.source), text)) << c.source << " " << text;
  }
}

// The items of a list are compared by value, whatever their text and their split into tokens.
TEST(GuidedSchema, ItemsDiffer) {
  auto integers = Schema(R"({"type":"array","items":{"type":"integer"},"uniqueItems":true,"maxItems":3})");
  EXPECT_TRUE(Matches(integers, "[1, 12, 2]"));
  EXPECT_TRUE(Matches(integers, "[]"));
  EXPECT_FALSE(Matches(integers, "[1, 1]"));
  EXPECT_FALSE(Matches(integers, "[1,2,1]"));
  EXPECT_FALSE(Matches(integers, "[1,2,3,4]"));
  auto values = Schema(R"({"type":"array","items":{"type":["object","array","string","number"]},"uniqueItems":true})");
  EXPECT_TRUE(Matches(values, R"([1, "1", [1], {"a":1}, {"a":2}, [[1]], "],", ","])"));
  EXPECT_FALSE(Matches(values, "[1, 1.0]"));
  EXPECT_FALSE(Matches(values, R"(["a", "\u0061"])"));
  EXPECT_FALSE(Matches(values, R"([{"a":1,"b":2}, {"b": 2, "a": 1}])"));
  auto nested = Schema(R"({"type":"array","uniqueItems":true,"items":{"type":"array","uniqueItems":true,
                           "items":{"type":"integer"}}})");
  EXPECT_TRUE(Matches(nested, "[[1],[1,2],[]]"));
  EXPECT_FALSE(Matches(nested, "[[1],[2,2]]"));
  EXPECT_FALSE(Matches(nested, "[[1],[1]]"));
  auto listed = Schema(R"({"type":"array","uniqueItems":true,"items":{"enum":["a","b","c"]},"minItems":2})");
  EXPECT_TRUE(Matches(listed, R"(["a","c"])"));
  EXPECT_FALSE(Matches(listed, R"(["a"])"));
  EXPECT_FALSE(Matches(listed, R"(["a","a"])"));

  // Masks exclude tokens that would complete a repeated item, and a rollback forgets items.
  auto vocabulary = SmallVocabulary();
  Matcher matcher = *Matcher::Create(integers.value());
  std::vector<uint32_t> mask(vocabulary->mask_words());
  auto allows = [&](char byte) {
    EXPECT_TRUE(matcher.FillMask(mask).ok());
    int32_t id = 1 + static_cast<uint8_t>(byte);
    return (mask[id / 32] >> (id % 32) & 1) != 0;
  };
  ASSERT_TRUE(*matcher.AcceptBytes("[1,1"));
  EXPECT_FALSE(allows(']'));
  EXPECT_FALSE(allows(','));
  EXPECT_TRUE(allows('2'));
  ASSERT_TRUE(*matcher.AcceptBytes("2"));
  EXPECT_TRUE(allows(']'));
  ASSERT_TRUE(matcher.Rollback(2).ok());
  ASSERT_TRUE(*matcher.AcceptBytes("[1"));
  EXPECT_TRUE(allows(']'));
}

TEST(GuidedSchema, TakesManyValuesAndProperties) {
  nlohmann::ordered_json words = nlohmann::ordered_json::array();
  for (int i = 0; i < 100'000; ++i)
    words.push_back("word" + std::to_string(i * 7919 % 1'000'003));
  auto listed = Schema(nlohmann::ordered_json({{"type", "string"}, {"enum", words}}).dump());
  EXPECT_TRUE(Matches(listed, words[99'999].dump()));
  EXPECT_FALSE(Matches(listed, "\"word\""));
  nlohmann::ordered_json properties;
  for (int i = 0; i < 1000; ++i)
    properties["property_" + std::to_string(i)] = {{"type", "integer"}};
  for (const char *bounds : {"", R"("minProperties":2,)", R"("maxProperties":3,)", R"("additionalProperties":true,)"}) {
    auto grammar = Schema(std::string("{") + bounds + R"("type":"object","properties":)" + properties.dump() + "}");
    EXPECT_TRUE(Matches(grammar, R"({"property_3": 1, "property_999": 2})")) << bounds;
    EXPECT_FALSE(Matches(grammar, R"({"property_999": 1, "property_3": 2})")) << bounds;
  }
}

TEST(GuidedSchema, RefusesWhatTakesTooLong) {
  std::string all;
  for (int i = 0; i < 40; ++i)
    all += (i ? "," : "") + std::string(R"({"anyOf":[{"required":["a)") + std::to_string(i) + R"("]},{"required":["b)" +
           std::to_string(i) + R"("]}]})";
  EXPECT_THAT(Error(Schema(R"({"allOf":[)" + all + "]}")), HasSubstr("max_alternatives"));
  EXPECT_THAT(Error(Schema(R"({"type":"string","pattern":"^(a|b)*a(a|b){20}$","maxLength":900})")),
              testing::AnyOf(HasSubstr("max_pattern_states"), HasSubstr("max_compile_time")));
}

// The check whether alternatives are disjoint works for schemas that refer to themselves.
TEST(GuidedSchema, TakesRecursiveAlternatives) {
  auto grammar = Schema(R"({"$ref":"#/$defs/n","$defs":{"n":{"oneOf":[
      {"type":"object","properties":{"not":{"$ref":"#/$defs/n"}},"required":["not"],"additionalProperties":false},
      {"type":"object","properties":{"or":{"type":"array","items":{"$ref":"#/$defs/n"}}},"required":["or"],
       "additionalProperties":false},
      {"type":"string"}]}}})");
  EXPECT_TRUE(Matches(grammar, R"({"not":{"or":["a",{"not":"b"}]}})"));
  EXPECT_FALSE(Matches(grammar, R"({"not":1})"));
  // For the properties of both alternatives, the check depends on its own result.
  std::string error = Error(Schema(R"({"$ref":"#/$defs/n","$defs":{"n":{"oneOf":[
      {"type":"object","properties":{"a":{"$ref":"#/$defs/n"}},"required":["a"]},
      {"type":"object","properties":{"a":{"$ref":"#/$defs/n"},"b":{"type":"null"}},"required":["a"]},
      {"type":"string"}]}}})"));
  EXPECT_THAT(error, testing::AnyOf(HasSubstr("accepted"), HasSubstr("fix:")));
}

TEST(GuidedSchema, RefusesByPointerAndName) {
  for (auto [source, message] : std::vector<std::pair<const char *, const char *>>{
           {"{", "not JSON"},
           {"3", "#: found 3, expected a schema"},
           {R"({"type":"object","properties":{"a/b":{"type":"string","minLength":"x"}}})",
            "/properties/a~1b/minLength: found \"x\", expected a whole number"},
           {R"({"type":"object","patternProperties":3})", "/patternProperties: found 3"},
           {R"({"type":"strin"})", "/type: found \"strin\""},
           {R"({"$ref":"#/$defs/x"})", "/$ref"},
           {R"({"$ref":"http://example.com"})", "/$ref: found \"http://example.com\""},
           {R"({"type":"array","unevaluatedItems":false})", "/unevaluatedItems"},
           {R"({"type":"array","contains":{"const":1},"maxContains":2})", "/maxContains"},
           {R"({"oneOf":[{"type":"string","format":"email"},{"type":"string","format":"uri"}]})", "/oneOf"},
           {R"({"type":"string","not":{"format":"email"}})", "/not/format"},
           {R"x({"type":"string","pattern":"a(?=a)"})x", "/pattern"},
           {R"({"type":"string","minLength":-1})", "/minLength"},
           {R"({"type":"string","minLength":1000000000})", "max_repetitions"},
           {R"({"type":"integer","minimum":3,"maximum":2})", "no value satisfies"},
           {R"({"type":"object","required":["a"],"properties":{},"additionalProperties":false})", "no value satisfies"},
           {R"({"allOf":[{"type":"string"},{"type":"null"}]})", "no value satisfies"},
           {R"({"$ref":"#"})", "refers to itself"},
           {R"({"anyOf":[{"type":"null"},{"$ref":"#"}]})", "left-recursive"},
           {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "matches no text"},
           {"false", "no value satisfies"},
       })
    EXPECT_THAT(Error(Schema(source)), HasSubstr(message)) << source;
  std::string deep;
  for (int i = 0; i < 300; ++i)
    deep += "{\"items\":";
  EXPECT_THAT(Error(Schema(deep + "{}" + std::string(300, '}'))), HasSubstr("max_source_depth"));
}

TEST(GuidedChoice, IsOneOfTheTexts) {
  std::vector<std::string> choices{"yes", "no", "yes, please"};
  auto grammar = Grammar::FromChoices(choices, SmallVocabulary(), {});
  for (const std::string &choice : choices)
    EXPECT_TRUE(Matches(grammar, choice));
  EXPECT_FALSE(Matches(grammar, "y"));
  // More texts than max_configurations, all with the same prefix.
  choices.clear();
  for (int i = 0; i < 10'000; ++i)
    choices.push_back("a common beginning, number " + std::to_string(i));
  auto many = Grammar::FromChoices(choices, SmallVocabulary(), {});
  EXPECT_TRUE(Matches(many, choices[1234]));
  EXPECT_FALSE(Matches(many, "a common beginning"));
  EXPECT_THAT(Error(Grammar::FromChoices({}, SmallVocabulary(), {})), HasSubstr("at least one"));
}

// Samples texts with the masks and compares each bit of each mask with the recogniser.
TEST(GuidedMask, AllowsExactlyWhatTheRecogniserDoes) {
  auto vocabulary = SmallVocabulary();
  Limits limits;
  struct Source {
    absl::StatusOr<Rules> rules;
    const char *text;
  };
  std::vector<Source> sources;
  for (const char *text :
       {"(ab|a)*b{2,4}", "[^a]{3}\\d+", "(foo|name)(, (foo|name)){0,3}", "a{20,40}", "(a|aa|abc){3,}\xC3\xA9?"})
    sources.push_back({ParseRegexRules(text, limits), text});
  for (const char *text :
       {"root ::= \"(\" root \")\" | \"a\" (\"+\" root)?", "root ::= \"[\" (root (\",\" root)*)? \"]\""})
    sources.push_back({ParseEbnf(text, limits), text});
  for (
      const char *text :
      {R"({"type":"object","properties":{"name":{"type":"string","maxLength":5},"foo":{"type":"boolean"}},"required":["foo"]})",
       R"({"type":"array","items":{"type":"integer","minimum":-12,"maximum":123},"maxItems":4})", "{}",
       R"({"type":"object","properties":{"name":{"type":"null"}},"additionalProperties":{"enum":[12,true]}})"})
    sources.push_back({ParseJsonSchema(text, limits), text});
  std::mt19937 random(7);
  for (const Source &source : sources) {
    ASSERT_TRUE(source.rules.ok()) << source.text << source.rules.status();
    auto grammar = Grammar::FromRules(*source.rules, vocabulary, limits);
    ASSERT_TRUE(grammar.ok()) << source.text << grammar.status();
    Matcher matcher = *Matcher::Create(*grammar);
    std::string text;
    std::vector<uint32_t> mask(vocabulary->mask_words());
    for (int step = 0; step < 12 && !matcher.ended(); ++step) {
      ASSERT_TRUE(matcher.FillMask(mask).ok()) << source.text;
      std::vector<int32_t> allowed;
      for (int32_t id = 0; id < vocabulary->size(); ++id) {
        bool is_set = mask[id / 32] >> (id % 32) & 1;
        if (is_set)
          allowed.push_back(id);
        bool expected = id == 0 ? Recogniser(*source.rules, text).Matches()
                                : !vocabulary->bytes(id).empty() &&
                                      Recogniser(*source.rules, text + vocabulary->bytes(id)).IsPrefix();
        ASSERT_EQ(is_set, expected) << source.text << " after '" << text << "' token '" << vocabulary->bytes(id) << "'";
      }
      ASSERT_FALSE(allowed.empty());
      // Prefer later tokens: they are longer, so the text grows faster.
      int32_t token = allowed[std::max(random() % allowed.size(), random() % allowed.size())];
      ASSERT_TRUE(*matcher.Accept(token));
      text += vocabulary->bytes(token);
    }
    if (matcher.ended()) {
      EXPECT_TRUE(Recogniser(*source.rules, text).Matches()) << source.text << " " << text;
    }
  }
}

TEST(GuidedMatcher, RollsBackAndClones) {
  auto vocabulary = SmallVocabulary();
  Matcher matcher = *Matcher::Create(*Grammar::FromRegex("ab|ac|\xC3\xA9", vocabulary, {}));
  std::vector<uint32_t> first(vocabulary->mask_words()), again = first;
  ASSERT_TRUE(matcher.FillMask(first).ok());
  ASSERT_TRUE(*matcher.Accept(1 + 'a'));
  Matcher clone = matcher.Clone();
  ASSERT_TRUE(*clone.Accept(1 + 'b'));
  EXPECT_TRUE(clone.CanEnd());
  EXPECT_FALSE(matcher.CanEnd());
  ASSERT_TRUE(*clone.Accept(0));
  EXPECT_TRUE(clone.ended());
  EXPECT_FALSE(*clone.Accept(1 + 'a'));
  ASSERT_TRUE(clone.Rollback(3).ok());
  ASSERT_TRUE(clone.FillMask(again).ok());
  EXPECT_EQ(first, again);
  EXPECT_FALSE(clone.Rollback(1).ok());
  EXPECT_FALSE(*matcher.Accept(0));
  EXPECT_FALSE(*matcher.Accept(-1));
  EXPECT_FALSE(*matcher.Accept(319));
}

// A full cache is replaced by a new one. Masks stay the same and memory stays limited.
TEST(GuidedMatcher, SurvivesSmallCaches) {
  auto vocabulary = SmallVocabulary();
  Limits small;
  small.max_cache_bytes = 512 * 1024;
  auto bounded = *Grammar::FromRegex("([a-z]{3,5000},)+", vocabulary, small);
  auto free = *Grammar::FromRegex("([a-z]{3,5000},)+", vocabulary, {});
  Matcher a = *Matcher::Create(bounded), b = *Matcher::Create(free);
  std::vector<uint32_t> mask(vocabulary->mask_words()), expected = mask;
  for (int i = 0; i < 6000; ++i) {
    ASSERT_TRUE(a.FillMask(mask).ok());
    ASSERT_TRUE(b.FillMask(expected).ok());
    ASSERT_EQ(mask, expected);
    bool comma = i % 4999 == 4998;
    ASSERT_TRUE(*a.Accept(1 + (comma ? ',' : 'x')));
    ASSERT_TRUE(*b.Accept(1 + (comma ? ',' : 'x')));
  }
}

TEST(GuidedVocabulary, TakesBytesFromTokenizers) {
  for (const char *name : {"llama3", "gpt2", "qwen2", "llama2", "mistral"}) {
    auto tokenizer = tokenizer::Tokenizer::Load(std::string("test/fixtures/tokenizers/") + name);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    std::string text = "{\"na\xC3\xAFve\": [1, 2.5, \"\xE2\x82\xAC \xF0\x9F\x98\x80\"]}\n";
    auto ids = (*tokenizer)->Encode(text, false);
    ASSERT_TRUE(ids.ok());
    std::string joined;
    for (int32_t id : *ids)
      joined += (*tokenizer)->TokenBytes(id);
    // SentencePiece adds a space before the text.
    EXPECT_TRUE(joined == text || joined == " " + text) << name << ": " << joined;
  }
}

} // namespace
} // namespace inlay::guided
