// Chat templates print the same text as in transformers (goldens written by
// test/fixtures/make_chat_template_goldens.py) and stop at their limits.
#include "formats/tokenizer/chat_renderer.h"
#include "formats/tokenizer/chat_template.h"
#include "formats/tokenizer/chat_template_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>

namespace inlay::tokenizer {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(ChatTemplateTest, PrintsWhatTransformersPrints) {
  std::ifstream file("test/fixtures/chat_templates/goldens.json");
  ASSERT_TRUE(file.good());
  auto goldens = nlohmann::ordered_json::parse(file);
  ASSERT_GT(goldens.size(), 70u);
  for (const auto &golden : goldens) {
    std::string source = golden["template"];
    auto chat_template = ChatTemplate::FromSource(source);
    ASSERT_TRUE(chat_template.ok()) << chat_template.status() << "\n" << source;
    ChatOptions options{golden["prompt"].get<bool>(), "<s>", "</s>", {}, golden["variables"].dump()};
    auto text = (*chat_template)->RenderJson(golden["messages"].dump(), options);
    if (golden.contains("fails")) {
      EXPECT_FALSE(text.ok()) << source << "\n" << *text;
      continue;
    }
    ASSERT_TRUE(text.ok()) << text.status() << "\n" << source;
    EXPECT_EQ(*text, golden["text"].get<std::string>()) << source << "\n" << golden["messages"];
  }
}

TEST(ChatTemplateTest, RendersPlainMessages) {
  auto chat_template = ChatTemplate::FromSource(
      "{{ bos_token }}{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}{{ date }}");
  ASSERT_TRUE(chat_template.ok());
  ChatOptions options;
  options.bos_token = "<s>";
  options.variables["date"] = "today";
  EXPECT_EQ(*(*chat_template)->Render({{"user", "a"}, {"assistant", "b\xff"}}, options),
            "<s>[user: a][assistant: b\xEF\xBF\xBD]today");
}

std::string Error(const std::string &source, TemplateLimits limits = {}) {
  auto chat_template = ChatTemplate::FromSource(source, "chat_template.jinja");
  if (!chat_template.ok())
    return std::string(chat_template.status().message());
  auto text = (*chat_template)->Render({{"user", "a"}}, {}, limits);
  EXPECT_FALSE(text.ok()) << source;
  return std::string(text.status().message());
}

TEST(ChatTemplateErrorTest, NamesTheConstructAndTheLine) {
  EXPECT_THAT(Error("\n\n{% include 'x' %}"),
              HasSubstr("chat_template.jinja: line 3: found the statement 'include', supported: if, for, set"));
  EXPECT_THAT(Error("\n{{ 1|pprint }}"),
              HasSubstr("chat_template.jinja: line 2: found the filter 'pprint', supported: abs"));
  EXPECT_THAT(Error("{{ 1 is prime }}"), HasSubstr("line 1: found the test 'prime', supported: !=, <"));
  EXPECT_EQ(Error("{{ a.b }}"), "chat_template.jinja: line 1: 'a' is undefined");
  EXPECT_EQ(Error("{% if true %}\n\nx"),
            "chat_template.jinja: line 2: found the end of the template, expected 'endif'");
  EXPECT_EQ(Error("{{ (1 }}"), "chat_template.jinja: line 1: found '}' without an opening bracket");
  EXPECT_EQ(Error("{{ 1 1 }}"), "chat_template.jinja: line 1: found '1', expected '}}'");
  EXPECT_EQ(Error("{{ 'a }}"), "chat_template.jinja: line 1: found a string without its closing quote");
  EXPECT_EQ(Error("{{ $ }}"), "chat_template.jinja: line 1: found '$', expected an expression");
  EXPECT_EQ(Error("a\n{{ raise_exception('bad\\nchat') }}"),
            "chat_template.jinja: line 2: the template refuses the chat: bad chat");
}

TEST(ChatTemplateErrorTest, EndsWithinItsLimits) {
  EXPECT_THAT(Error("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"),
              HasSubstr("found more than 2000000 steps"));
  EXPECT_THAT(Error("{{ 'abcdefgh' * 100000000 }}"), HasSubstr("found more than 16777216 bytes of text"));
  EXPECT_THAT(Error("{% for i in range(100) %}aaaaaaaaaa{% endfor %}", {1'000'000, 500}),
              HasSubstr("found more than 500 bytes of text"));
  EXPECT_THAT(
      Error("{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(90) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"),
      HasSubstr("bytes of text"));
  EXPECT_THAT(Error("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), HasSubstr("nested deeper than 400"));
  EXPECT_THAT(
      Error("{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}"),
      HasSubstr("nested too deep to print"));
  EXPECT_THAT(Error("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}"),
              HasSubstr("nesting deeper than 128"));
  EXPECT_THAT(Error("{{ " + std::string(100000, '[') + std::string(100000, ']') + " }}"),
              HasSubstr("nesting deeper than 128"));
  std::string chain = "{{ 1";
  for (int i = 0; i < 10000; ++i)
    chain += " + 1";
  EXPECT_THAT(Error(chain + " }}"), HasSubstr("an expression deeper than 128"));
  std::string blocks;
  for (int i = 0; i < 10000; ++i)
    blocks += "{% if true %}";
  EXPECT_THAT(Error(blocks), HasSubstr("nesting deeper than 128"));
  EXPECT_THAT(Error("{{ 9223372036854775807 + 1 }}"), HasSubstr("expected a result of 64 bits"));
  EXPECT_THAT(Error("{{ 9223372036854775808 }}"), HasSubstr("expected a number of 64 bits"));
}

TEST(ChatTemplateErrorTest, LimitsHoldForWidthsAndCounts) {
  constexpr const char *kTooLong = "bytes of text";
  EXPECT_THAT(Error("{{ 'a'|center(999999999) }}"), HasSubstr(kTooLong));
  EXPECT_THAT(Error("{{ 'a'.ljust(999999999, 'é') }}"), HasSubstr(kTooLong));
  EXPECT_THAT(Error("{{ '1'.zfill(999999999) }}"), HasSubstr(kTooLong));
  EXPECT_THAT(Error("{{ 'a\t'.expandtabs(999999999) }}"), HasSubstr(kTooLong));
  EXPECT_THAT(Error("{{ 'a\nb'|indent(999999999) }}"), HasSubstr(kTooLong));
  EXPECT_THAT(Error("{{ [1]|tojson(indent=999999999) }}"), HasSubstr(kTooLong));
  EXPECT_THAT(Error("{{ '%999999999d' % 1 }}"), HasSubstr(kTooLong));
  EXPECT_THAT(Error("{{ '%*d' % (999999999, 1) }}"), HasSubstr(kTooLong));
  EXPECT_THAT(Error("{{ '{:999999999}'.format(1) }}"), HasSubstr(kTooLong));
  EXPECT_THAT(Error("{{ ('a' * 9000000).replace('a', 'bb') }}"), HasSubstr(kTooLong));
  EXPECT_THAT(Error("{{ '%.999999f' % 1 }}"), HasSubstr("precision of 999999, expected at most 1000"));
  EXPECT_THAT(Error("{{ [0] * 999999999 }}"), HasSubstr("more than 2000000 steps"));
  EXPECT_THAT(Error("{{ [0, 1] * 9223372036854775807 }}"), HasSubstr("more than 2147483647 items"));
  EXPECT_THAT(Error("{{ [0]|batch(999999999, 1)|list }}"), HasSubstr("more than 2000000 steps"));
  EXPECT_THAT(Error("{{ [0]|slice(999999999)|list }}"), HasSubstr("more than 2000000 steps"));
  EXPECT_THAT(Error("{{ range(100001) }}"), HasSubstr("range: found more than 100000 numbers"));
}

// Generators are lazy, and a template may nest them to any depth.
TEST(ChatTemplateErrorTest, LimitsHoldForGenerators) {
  EXPECT_THAT(
      Error("{% set ns = namespace(g=[1]) %}{% for i in range(5000) %}{% set ns.g = ns.g|map('string') %}{% endfor %}"
            "{{ ns.g|list }}"),
      HasSubstr("nested deeper than 400"));
  EXPECT_THAT(Error("{{ [1]|map('string') }}"), HasSubstr("found a generator to print, expected a value"));
  EXPECT_THAT(Error("{% for i in range(3) recursive %}{{ loop([i]) }}{% endfor %}"),
              HasSubstr("nested deeper than 400"));
}

TEST(ChatTemplateErrorTest, NamesWhatIsRefused) {
  EXPECT_THAT(Error("{% if false %}{{ [1]|random }}{% endif %}"),
              HasSubstr("found the filter 'random', supported: abs"));
  EXPECT_THAT(Error("{{ 'a'.encode('utf-8') }}"), HasSubstr("found the method 'encode'"));
  EXPECT_THAT(Error("{{ lipsum() }}"), HasSubstr("found 'lipsum', which is not supported"));
  EXPECT_THAT(Error("{% extends 'x' %}"),
              HasSubstr("found the statement 'extends', supported: if, for, set, macro, call"));
  EXPECT_THAT(Error("{% break %}"), HasSubstr("found 'break' outside of a loop"));
  EXPECT_THAT(Error("{{ 'a'|center(wide=3) }}"), HasSubstr("center: found a named argument that it does not have"));
  EXPECT_THAT(Error("{{ messages.append(1) }}"), HasSubstr("'list.append' is undefined"));
}

TEST(ChatTemplateTest, NamespaceMayHoldItself) {
  auto chat_template =
      ChatTemplate::FromSource("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns.me.me is defined }}");
  EXPECT_EQ(*(*chat_template)->Render({}, {}), "True");
}

std::string RenderJson(std::string_view source, std::string_view messages, std::string_view variables = "") {
  ChatOptions options;
  options.variables_json = variables;
  auto text = (*ChatTemplate::FromSource(source))->RenderJson(messages, options);
  return text.ok() ? *text : std::string(text.status().message());
}

// Rust clients send schemas of unsigned numbers with "maximum": 18446744073709551615 (the format uint64 of schemars).
TEST(ChatTemplateTest, IntegersOf64BitsAreExact) {
  constexpr std::string_view kVariables = R"({"a": 18446744073709551615, "b": -9223372036854775808, "c": 1e300})";
  EXPECT_EQ(
      RenderJson("{{ a }} {{ [a]|tojson }} {{ b }} {{ a|int }} {{ a is integer }} {{ a is float }} {{ a is number "
                 "}} {{ a == a }} {{ a == b }} {{ '%s' % a }} {{ c }}",
                 "[]", kVariables),
      "18446744073709551615 [18446744073709551615] -9223372036854775808 18446744073709551615 True False True True "
      "False 18446744073709551615 1e+300");
  EXPECT_THAT(RenderJson("{{ a + 1 }}", "[]", kVariables), HasSubstr("found int of more than 64 bits + int"));
  EXPECT_THAT(RenderJson("{{ a < 1 }}", "[]", kVariables), HasSubstr("found int of more than 64 bits < int"));
}

TEST(ChatTemplateTest, IntegersOfMoreThan64BitsAreRefused) {
  EXPECT_EQ(
      RenderJson("", "[]",
                 R"({"a": "18446744073709551616", "b": 18446744073709551616.0, "c": [18446744073709551616]})"),
      "the template's variables: found the integer 18446744073709551616, expected one of 64 bits; fix: write it as a "
      "string");
  EXPECT_THAT(RenderJson("", R"([{"role": "user", "content": -9223372036854775809}])"),
              HasSubstr("-9223372036854775809"));
  EXPECT_EQ(RenderJson("{{ a }}", "[]", R"({"a": "\\", "b\"": 1E99})"), "\\");
}

// transformers formats datetime.now(), which has microseconds and no time zone.
TEST(ChatTemplateTest, FormatsTheTimeAsPython) {
  auto today = [] {
    std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    char text[64];
    return std::string(text, std::strftime(text, sizeof(text), "%d %B %Y", &local));
  };
  const std::string before = today(), found = RenderJson("{{ strftime_now('%d %B %Y') }}", "[]"), after = today();
  EXPECT_THAT(found, AnyOf(before, after));
  EXPECT_EQ(RenderJson("{{ strftime_now('[%z|%Z|%%z|%%f|%]') }}{{ strftime_now('') }}", "[]"), "[||%z|%f|%]");
  EXPECT_EQ(RenderJson("{% set f = strftime_now('%f') %}{{ f|length }} {{ f.isdigit() }}", "[]"), "6 True");
  EXPECT_THAT(RenderJson("{{ strftime_now('%999d') }}", "[]"), HasSubstr("format of more than 511 bytes"));
  EXPECT_THAT(RenderJson("{{ strftime_now('a\\x00b') }}", "[]"), HasSubstr("found a zero byte in the format"));
}

// transformers 5, _normalize_chat_messages, and huggingface/transformers pull request 45422: OpenAI's client sends
// content, tool_calls and refusal as null.
TEST(ChatTemplateTest, KeysOfMessagesThatAreNullAreLeftOut) {
  EXPECT_EQ(RenderJson("{% for m in messages %}{{ m|tojson }}{{ m.content is defined }}{% endfor %}",
                       R"([{"role": "assistant", "content": null, "tool_calls": null, "x": [null]}])"),
            R"({"role": "assistant", "x": [null]}False)");
}

// transformers 5, _alias_reasoning_fields: gpt-oss's template reads `thinking`.
TEST(ChatTemplateTest, ReasoningHasAllItsNames) {
  constexpr std::string_view kPrint = "{{ messages[0]|tojson }}";
  EXPECT_EQ(RenderJson(kPrint, R"([{"role": "a", "reasoning": "r"}])"),
            R"({"thinking": "r", "role": "a", "reasoning": "r", "reasoning_content": "r"})");
  EXPECT_EQ(RenderJson(kPrint, R"([{"role": "a", "reasoning": "r", "thinking": "t"}])"),
            R"({"role": "a", "reasoning": "r", "thinking": "t", "reasoning_content": "t"})");
  EXPECT_EQ(RenderJson(kPrint, R"([{"reasoning_content": "c", "thinking": null}])"),
            R"({"thinking": "c", "reasoning_content": "c"})");
}

// vllm-project/vllm issue 42407: some templates raise an error for the role; sgl-project/sglang issue 40082: others
// drop the message; ggml-org/llama.cpp pull request 20079.
TEST(ChatTemplateTest, DeveloperIsSystemWhereTheTemplateDoesNotNameIt) {
  constexpr std::string_view kMessages = R"([{"role": "developer", "content": "d"}, 1, {"content": "developer"}])";
  EXPECT_EQ(RenderJson("{{ messages[0].role }}", kMessages), "system");
  EXPECT_EQ(RenderJson("{{ messages[0].role }}{{ messages[0].role in ['system', 'developer'] }}", kMessages),
            "developerTrue");
  EXPECT_EQ(RenderJson("the developer {{ messages[0].role }}", kMessages), "the developer system");
}

class ChatTemplateLoadTest : public testing::Test {
protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "chat_template_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void Write(const std::string &file, const std::string &text) {
    std::filesystem::create_directories(std::filesystem::path(directory_ + "/" + file).parent_path());
    std::ofstream(directory_ + "/" + file) << text;
  }
  std::string Loaded(std::string_view name = "default") {
    auto chat_template = ChatTemplate::Load(directory_, name);
    return chat_template.ok() ? *(*chat_template)->Render({}, {}) : std::string(chat_template.status().message());
  }
  std::string directory_;
};

TEST_F(ChatTemplateLoadTest, FromTheConfiguration) {
  Write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(Loaded(), "one");
}

TEST_F(ChatTemplateLoadTest, FromNamedTemplates) {
  Write("tokenizer_config.json",
        R"({"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]})");
  EXPECT_EQ(Loaded(), "d");
  EXPECT_EQ(Loaded("tool_use"), "t");
  EXPECT_THAT(Loaded("rag"), HasSubstr("found the chat templates 'default, tool_use', expected 'rag'"));
  Write("tokenizer_config.json", R"({"chat_template": {"default": "d", "rag": "r"}})");
  EXPECT_EQ(Loaded("rag"), "r");
}

// save_pretrained writes this file since transformers 4.50: huggingface/text-generation-inference issue 3247.
TEST_F(ChatTemplateLoadTest, TheFileComesFirst) {
  Write("tokenizer_config.json", R"({"chat_template": "one"})");
  Write("chat_template.jinja", "two");
  EXPECT_EQ(Loaded(), "two");
  EXPECT_THAT(FindChatTemplates(directory_)->ignored,
              ElementsAre("tokenizer_config.json: chat_template: ignored: chat_template.jinja takes precedence"));
}

// Both kinds of files: ggml-org/llama.cpp pull request 14508.
TEST_F(ChatTemplateLoadTest, MoreFilesAddNames) {
  Write("chat_template.jinja", "d");
  Write("additional_chat_templates/tool_use.jinja", "t");
  Write("additional_chat_templates/rag.jinja", "r");
  Write("additional_chat_templates/README.md", "x");
  Write("additional_chat_templates/\xff.jinja", "x");
  EXPECT_EQ(Loaded(), "d");
  EXPECT_EQ(Loaded("tool_use"), "t");
  EXPECT_EQ(Loaded("rag"), "r");
  EXPECT_THAT(ListChatTemplateFiles(directory_),
              ElementsAre("chat_template.jinja", "additional_chat_templates/rag.jinja",
                          "additional_chat_templates/tool_use.jinja"));
  EXPECT_THAT(
      FindChatTemplates(directory_)->ignored,
      ElementsAre(HasSubstr("README.md: ignored: only files whose names are UTF-8 and end with .jinja are templates"),
                  HasSubstr("\xef\xbf\xbd.jinja: ignored: only files whose names are UTF-8")));
}

// As in transformers, they replace the template of tokenizer_config.json even if none of them is the default.
TEST_F(ChatTemplateLoadTest, MoreFilesAloneHaveNoDefault) {
  Write("additional_chat_templates/tool_use.jinja", "t");
  Write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_THAT(Loaded(), HasSubstr("found the chat templates 'tool_use', expected 'default'"));
  EXPECT_THAT(FindChatTemplates(directory_)->ignored,
              ElementsAre("tokenizer_config.json: chat_template: ignored: additional_chat_templates takes precedence"));
}

// Processors of transformers before 4.50 wrote this file.
TEST_F(ChatTemplateLoadTest, TheProcessorsFileIsTheLastOne) {
  Write("chat_template.json", R"({"chat_template": "three"})");
  EXPECT_EQ(Loaded(), "three");
  Write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(Loaded(), "one");
  EXPECT_THAT(FindChatTemplates(directory_)->ignored,
              ElementsAre("chat_template.json: ignored: tokenizer_config.json takes precedence"));
}

TEST_F(ChatTemplateLoadTest, NoTemplate) {
  Write("tokenizer_config.json", "{}");
  EXPECT_THAT(Loaded(), HasSubstr("found no chat template, expected chat_template.jinja or chat_template in "
                                  "tokenizer_config.json"));
}

TEST_F(ChatTemplateLoadTest, WrongFilesAreNamed) {
  for (auto [text, message] :
       {std::pair{R"({"chat_template": 4})", "chat_template: found number, expected"},
        {R"({"chat_template": [{"name": "x"}]})",
         "chat_template: found an entry without the strings name and template, expected"},
        {R"({"chat_template": {"default": 1}})", "found a value for 'default' that is not a string"},
        {R"({"chat_template": "x",})", "found text that is not a JSON object"},
        {"[]", "found text that is not a JSON object"}})
    for (const char *file : {"tokenizer_config.json", "chat_template.json"})
      EXPECT_THAT(std::string(ParseChatTemplates(text, file).status().message()),
                  AllOf(testing::StartsWith(file), HasSubstr(message)));
}

class ChatRendererTest : public ChatTemplateLoadTest {
protected:
  std::string Render(const char *variables, std::string_view name = {}) {
    absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load("examples/stdlib_model/model");
    absl::StatusOr<std::unique_ptr<ChatRenderer>> renderer = ChatRenderer::Load(directory_, **tokenizer);
    if (!renderer.ok())
      return std::string(renderer.status().message());
    auto text = (*renderer)->Render(R"([{"role": "user", "content": "hi"}])", variables, true, name);
    return text.ok() ? *text : std::string(text.status().message());
  }
};

TEST_F(ChatRendererTest, TakesTheTemplateForToolsWhereToolsAreGiven) {
  Write("tokenizer_config.json", R"({"chat_template": [
      {"name": "default", "template": "{{ bos_token }}{{ messages[0].content }}"},
      {"name": "tool_use", "template": "{{ messages[0].content }} with {{ tools|length }} tools"}]})");
  EXPECT_EQ(Render(""), "<|begin_of_text|>hi");
  EXPECT_EQ(Render(R"({"tools": null})"), "<|begin_of_text|>hi");
  EXPECT_EQ(Render(R"({"tools": []})"), "hi with 0 tools"); // transformers tests `tools is not None`.
  EXPECT_EQ(Render(R"({"tools": [{"name": "clock"}]})"), "hi with 1 tools");
  EXPECT_EQ(Render(R"({"tools": [{"name": "clock"}]})", "default"), "<|begin_of_text|>hi");
  EXPECT_THAT(Render("["), HasSubstr("the template's variables"));
  EXPECT_THAT(Render("", "rag"), HasSubstr("found the chat templates default, tool_use, expected 'rag'"));
}

TEST_F(ChatRendererTest, WithoutADefaultTemplateOnlyToolsRender) {
  Write("additional_chat_templates/tool_use.jinja", "t");
  EXPECT_EQ(Render(R"({"tools": [{"name": "clock"}]})"), "t");
  EXPECT_THAT(Render(""), HasSubstr("found the chat templates tool_use, expected 'default'"));
}

} // namespace
} // namespace inlay::tokenizer
