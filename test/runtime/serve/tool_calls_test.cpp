// Tool calls in generated text: each format, text that is not a call, and that streams give the same result as whole
// answers.
#include "tool_call_testing.h"

#include "gtest/gtest.h"

namespace inlay::serve {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kTools = R"([
  {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
  {"type": "function", "function": {"name": "g"}},
  {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}, "metric": {"type": "boolean"}, "share": {"type": "number"},
    "tags": {"type": "array"}, "place": {"type": "object"}, "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "limit": {"type": ["integer", "null"]}}}}}])";

AnswerFormat FormatNamed(std::string_view name) {
  AnswerFormat format;
  format.tool_calls = FindToolCallFormat(name);
  format.tools = ToolsOf(kTools);
  return format;
}

struct Row {
  std::string_view name, format, text, content;
  Calls calls = {};
  std::string_view source = {}; // the report that the row is based on
};

std::ostream &operator<<(std::ostream &out, const Row &row) { return out << row.name << ' ' << row.source; }

class ToolCallTest : public ::testing::TestWithParam<Row> {};

// The result must be the same for the whole text, single bytes and random pieces.
TEST_P(ToolCallTest, WholeAndStreamed) {
  const Row &row = GetParam();
  AnswerFormat format = FormatNamed(row.format);
  Parsed expected{.content = std::string(row.content), .reasoning = {}, .calls = row.calls};
  EXPECT_EQ(ParseWhole(format, {GeneratedText(row.text)}), expected);
  EXPECT_EQ(ParseWhole(format, Bytes(row.text)), expected);
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<GeneratedText> pieces;
    for (size_t at = 0, size = 0; at < row.text.size(); at += size) {
      size = std::min<size_t>(1 + random() % (1 + static_cast<unsigned>(round)), row.text.size() - at);
      pieces.emplace_back(row.text.substr(at, size));
    }
    int calls = 0;
    EXPECT_EQ(ParseStream(format, pieces, &calls), expected);
    EXPECT_EQ(static_cast<size_t>(calls), row.calls.size());
  }
}

std::string NameOf(const ::testing::TestParamInfo<Row> &row) {
  std::string name = std::string(row.param.format) + "_" + std::string(row.param.name);
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Hermes, ToolCallTest,
    ::testing::Values(
        Row{"Text", "hermes", "a < b <tool> c", "a < b <tool> c"},
        Row{"One",
            "hermes",
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>",
            "",
            {{"f", R"({"x": 1})"}}},
        Row{"Several",
            "hermes",
            "Let me see.<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>\n<tool_call>{\"arguments\": "
            "{\"a\": "
            "[1, {}]}, \"name\": \"g\"}</tool_call>\n",
            "Let me see.",
            {{"f", "{}"}, {"g", R"({"a": [1, {}]})"}}},
        Row{"TextAround",
            "hermes",
            "before <tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call> between "
            "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call> after",
            "before  between  after",
            {{"f", "{}"}, {"g", "{}"}}},
        Row{"TagInString",
            "hermes",
            R"(<tool_call>{"name": "f", "arguments": {"x": "</tool_call><tool_call>{\"name\": \"g\"}"}}</tool_call>)",
            "",
            {{"f", R"({"x": "</tool_call><tool_call>{\"name\": \"g\"}"})"}}},
        Row{"BracesInString",
            "hermes",
            R"(<tool_call>{"name": "f", "arguments": {"command": "mkdir -p test/{test1,test2"}}</tool_call>)",
            "",
            {{"f", R"({"command": "mkdir -p test/{test1,test2"})"}},
            "vllm-project/vllm#21544"},
        Row{"NestedObjects",
            "hermes",
            R"(<tool_call>{"name": "f", "arguments": {"request": {"query": "latest", "method": "rrf"}}}</tool_call>)",
            "",
            {{"f", R"({"request": {"query": "latest", "method": "rrf"}})"}},
            "vllm-project/vllm#20824"},
        Row{"NoParameters",
            "hermes",
            R"(<tool_call>{"name": "g", "arguments": {}}</tool_call>)",
            "",
            {{"g", "{}"}},
            "vllm-project/vllm#28806"},
        Row{"Boolean",
            "hermes",
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"trigger\": true}}\n</tool_call>",
            "",
            {{"f", R"({"trigger": true})"}},
            "vllm-project/vllm#19056"},
        Row{"UntilTheEnd",
            "hermes",
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"trigger\": true}}",
            "",
            {{"f", R"({"trigger": true})"}},
            "vllm tests/tool_parsers/test_hermes_tool_parser.py"},
        Row{"MissingBrace",
            "hermes",
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"trigger\": true}",
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"trigger\": true}",
            {},
            "vllm tests/tool_parsers/test_hermes_tool_parser.py"},
        Row{"ArgumentsInString",
            "hermes",
            R"(<tool_call>{"name": "f", "arguments": "{\"param\": \"max_connections\"}"}</tool_call>)",
            "",
            {{"f", R"({"param": "max_connections"})"}},
            "vllm tests/tool_parsers/test_hermes_tool_parser.py"},
        Row{"ArgumentsAreText", "hermes", R"(<tool_call>{"name": "f", "arguments": "hello"}</tool_call>)",
            R"(<tool_call>{"name": "f", "arguments": "hello"}</tool_call>)"},
        Row{"ArgumentsAreAList", "hermes", R"(<tool_call>{"name": "f", "arguments": [1]}</tool_call>)",
            R"(<tool_call>{"name": "f", "arguments": [1]}</tool_call>)"},
        Row{"NoArguments", "hermes", R"(<tool_call>{"name": "f"}</tool_call>)",
            R"(<tool_call>{"name": "f"}</tool_call>)"},
        Row{"ToolOfNoOne", "hermes", R"(<tool_call>{"name": "h", "arguments": {}}</tool_call>)",
            R"(<tool_call>{"name": "h", "arguments": {}}</tool_call>)"},
        Row{"ToolOfNoOneThenOne",
            "hermes",
            R"(<tool_call>{"name": "h", "arguments": {}}</tool_call><tool_call>{"name": "f", "arguments": {}}</tool_call>)",
            R"(<tool_call>{"name": "h", "arguments": {}}</tool_call>)",
            {{"f", "{}"}}},
        Row{"NoJson", "hermes", "<tool_call>no</tool_call>", "<tool_call>no</tool_call>"},
        Row{"BrokenArguments", "hermes", R"(<tool_call>{"name": "f", "arguments": {"x": oops}}</tool_call> and on)",
            R"(<tool_call>{"name": "f", "arguments": {"x": oops}}</tool_call> and on)"},
        Row{"OneBraceTooMany",
            "hermes",
            R"(<tool_call>{"name": "f", "arguments": {}}}</tool_call>)",
            "}",
            {{"f", "{}"}}},
        Row{"List",
            "hermes",
            R"(<tool_call>[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]</tool_call>)",
            "",
            {{"f", "{}"}, {"g", "{}"}}},
        Row{"SeveralInOneTag",
            "hermes",
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
            "",
            {{"f", "{}"}, {"g", "{}"}}},
        Row{"CutOff", "hermes", "ends in <tool_c", "ends in <tool_c"},
        Row{"Unicode",
            "hermes",
            R"(é <tool_call>{"name": "f", "arguments": {"q": "東京\ud83d\ude00"}}</tool_call>)",
            "é ",
            {{"f", R"({"q": "東京\ud83d\ude00"})"}}},
        Row{"BareObjectIsText", "hermes", R"({"name": "f", "arguments": {}})", R"({"name": "f", "arguments": {}})"}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Mistral, ToolCallTest,
    ::testing::Values(
        Row{"Arguments", "mistral", R"([TOOL_CALLS]f[ARGS]{"tea": "green"})", "", {{"f", R"({"tea": "green"})"}}},
        Row{"NoArgumentsMark",
            "mistral",
            R"([TOOL_CALLS]f{"a": 3.5, "b": 4}[TOOL_CALLS]g{"a": 3})",
            "",
            {{"f", R"({"a": 3.5, "b": 4})"}, {"g", R"({"a": 3})"}},
            "vllm tests/tool_parsers/test_mistral_tool_parser.py"},
        Row{"CallId", "mistral", R"([TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{})", "", {{"f", "{}"}}},
        Row{"MarksInStrings",
            "mistral",
            R"([TOOL_CALLS]f[ARGS]{"x": "[TOOL_CALLS]g[ARGS]{}"} done)",
            " done",
            {{"f", R"({"x": "[TOOL_CALLS]g[ARGS]{}"})"}}},
        Row{"List",
            "mistral",
            R"([TOOL_CALLS] [{"name": "f", "arguments": {"a": 3.5}}, {"arguments": {}, "name": "g"}])",
            "",
            {{"f", R"({"a": 3.5})"}, {"g", "{}"}},
            "vllm tests/tool_parsers/test_mistral_tool_parser.py"},
        Row{"NameInArguments",
            "mistral",
            R"([TOOL_CALLS] [{"arguments":{"name": "John Doe"}, "name": "f"}])",
            "",
            {{"f", R"({"name": "John Doe"})"}},
            "vllm tests/tool_parsers/test_mistral_tool_parser.py"},
        Row{"TextBefore",
            "mistral",
            R"(Hello[TOOL_CALLS] [{"name": "f", "arguments":{"a": 1, "b": 2}}])",
            "Hello",
            {{"f", R"({"a": 1, "b": 2})"}},
            "vllm-project/vllm#10333"},
        Row{"BraceBefore",
            "mistral",
            R"(In { we say [TOOL_CALLS]f{"a": 1})",
            "In { we say ",
            {{"f", R"({"a": 1})"}},
            "vllm-project/vllm#30724"},
        Row{"TextBehind",
            "mistral",
            "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\":{}}]\nextra trailing data",
            "\nextra trailing data",
            {{"f", "{}"}},
            "vllm tests/tool_parsers/test_mistral_tool_parser.py"},
        Row{"TextBehindArguments",
            "mistral",
            R"([TOOL_CALLS]f[ARGS]{"a": 1}Estimating...)",
            "Estimating...",
            {{"f", R"({"a": 1})"}},
            "vllm-project/vllm#48976"},
        Row{"TextBetween",
            "mistral",
            "[TOOL_CALLS]f[ARGS]{}\n\nLet me see.[TOOL_CALLS]g[ARGS]{}",
            "\n\nLet me see.",
            {{"f", "{}"}, {"g", "{}"}},
            "ml-explore/mlx-lm#1448"},
        Row{"SingleQuotes",
            "mistral",
            "[TOOL_CALLS][{'name': 'f', 'arguments': {}}]",
            "[TOOL_CALLS][{'name': 'f', 'arguments': {}}]",
            {},
            "vllm-project/vllm#5649"},
        Row{"NoJson", "mistral", "[TOOL_CALLS] not json at all", "[TOOL_CALLS] not json at all"},
        Row{"ToolOfNoOne", "mistral", "[TOOL_CALLS]h[ARGS]{}", "[TOOL_CALLS]h[ARGS]{}"},
        Row{"JunkThenCall", "mistral", "[TOOL_CALLS]junk[TOOL_CALLS]f{}", "[TOOL_CALLS]junk", {{"f", "{}"}}},
        Row{"CutOff", "mistral", R"([TOOL_CALLS]f[ARGS]{"a": )", R"([TOOL_CALLS]f[ARGS]{"a": )"},
        Row{"NoMark", "mistral", R"([{"name": "f", "arguments": {}}])", R"([{"name": "f", "arguments": {}}])"}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Llama3Json, ToolCallTest,
    ::testing::Values(
        Row{"One", "llama3_json", R"({"name": "f", "parameters": {"x": ";"}})", "", {{"f", R"({"x": ";"})"}}},
        Row{"ArgumentsKey", "llama3_json", R"({"name": "f", "arguments": {"q": "t"}})", "", {{"f", R"({"q": "t"})"}}},
        Row{"Several",
            "llama3_json",
            R"({"name": "f", "parameters": {"q": "1"}} ; {"name": "g", "parameters": {}};{"name": "f", "parameters": {}})",
            "",
            {{"f", R"({"q": "1"})"}, {"g", "{}"}, {"f", "{}"}},
            "ai-dynamo/dynamo#9536"},
        Row{"NewLines",
            "llama3_json",
            "{\"name\": \"f\", \"parameters\": {}}\n{\"name\": \"g\", \"parameters\": {}}",
            "",
            {{"f", "{}"}, {"g", "{}"}}},
        Row{"PythonTag",
            "llama3_json",
            R"(<|python_tag|>{"type": "function", "name": "f", "parameters": {"q": null}})",
            "",
            {{"f", R"({"q": null})"}}},
        Row{"List",
            "llama3_json",
            R"([{"name": "f", "parameters": {}}, {"name": "g", "parameters": {}}])",
            "",
            {{"f", "{}"}, {"g", "{}"}}},
        Row{"TextAround",
            "llama3_json",
            R"(Here: {"name": "f", "parameters": {}}; {"name": "g", "parameters": {}} More?)",
            "Here:  More?",
            {{"f", "{}"}, {"g", "{}"}},
            "vllm tests/tool_parsers/test_llama3_json_tool_parser.py"},
        Row{"BraceBehind",
            "llama3_json",
            R"({"name": "f", "parameters": {}} I used {f} for this.)",
            " I used {f} for this.",
            {{"f", "{}"}},
            "vllm tests/tool_parsers/test_llama3_json_tool_parser.py"},
        Row{"AnswerInJson", "llama3_json", R"({"name": "Earl Grey", "price": 5})",
            R"({"name": "Earl Grey", "price": 5})"},
        Row{"OnlyTheName", "llama3_json", R"({"name": "f"})", R"({"name": "f"})"},
        Row{"NoName", "llama3_json", R"({"parameters": {}})", R"({"parameters": {}})"},
        Row{"InsideAnAnswer", "llama3_json", R"({"result": {"name": "f", "parameters": {}}})",
            R"({"result": {"name": "f", "parameters": {}}})"},
        Row{"InvalidJson",
            "llama3_json",
            R"({"name": "f", "parameters": {invalid json})",
            R"({"name": "f", "parameters": {invalid json})",
            {},
            "vllm tests/tool_parsers/test_llama3_json_tool_parser.py"},
        Row{"InsideAnotherCall",
            "llama3_json",
            R"(<|python_tag|>foo.call(payload={"x": {"name":"f","parameters":{}})",
            R"(<|python_tag|>foo.call(payload={"x": )",
            {{"f", "{}"}}},
        Row{"Escapes",
            "llama3_json",
            R"({"name": "f", "parameters": {"text": "He said \"Hello {world}\""}})",
            "",
            {{"f", R"({"text": "He said \"Hello {world}\""})"}}},
        Row{"EscapedName", "llama3_json", R"({"n\u0061me": "\u0066", "parameters": {}})", "", {{"f", "{}"}}},
        Row{"Text", "llama3_json", "plain [1] {a}", "plain [1] {a}"}),
    NameOf);

// The first ten are based on vLLM's tests/tool_parsers/test_pythonic_tool_parser.py.
INSTANTIATE_TEST_SUITE_P(
    Pythonic, ToolCallTest,
    ::testing::Values(
        Row{"Text", "pythonic", "How can I help you today?", "How can I help you today?"},
        Row{"One",
            "pythonic",
            "[get_weather(city='San Francisco', metric='celsius')]",
            "",
            {{"get_weather", R"({"city": "San Francisco", "metric": "celsius"})"}}},
        Row{"Types",
            "pythonic",
            "[f(name='John Doe', age=37, address={'city': 'San Francisco', 'state': 'CA'}, role=None, passed=True, "
            "aliases=['John', 'Johnny'])]",
            "",
            {{"f",
              R"({"name": "John Doe", "age": 37, "address": {"city": "San Francisco", "state": "CA"}, "role": null, "passed": true, "aliases": ["John", "Johnny"]})"}}},
        Row{"NoParameters", "pythonic", "[g()]", "", {{"g", "{}"}}},
        Row{"EmptyObject", "pythonic", "[f(a={})]", "", {{"f", R"({"a": {}})"}}},
        Row{"EmptyList", "pythonic", "[f(a=[])]", "", {{"f", R"({"a": []})"}}},
        Row{"Escapes",
            "pythonic",
            R"([get_weather(city='Martha\'s Vineyard', metric='\"cool units\"')])",
            "",
            {{"get_weather", R"({"city": "Martha's Vineyard", "metric": "\"cool units\""})"}}},
        Row{"Several",
            "pythonic",
            "[f(a=1), g(b=\"x\"), g()]",
            "",
            {{"f", R"({"a": 1})"}, {"g", R"({"b": "x"})"}, {"g", "{}"}}},
        Row{"NonFinite", "pythonic", "[f(x=1e999)]", "[f(x=1e999)]"},
        Row{"BrokenQuote", "pythonic", "[g(), f(a='x 'y', b='z')]", ", f(a='x 'y', b='z')]", {{"g", "{}"}}},
        Row{"PythonTags", "pythonic", "<|python_start|>[f(a=-1.5)]<|python_end|>", "", {{"f", R"({"a": -1.5})"}}},
        Row{"BracketsInStrings",
            "pythonic",
            "[f(a='), g()]', b=\"\"\"two\n'lines'\"\"\", c='')]",
            "",
            {{"f", R"({"a": "), g()]", "b": "two\n'lines'", "c": ""})"}}},
        Row{"TextBefore", "pythonic", "Sure: [f(a=1)] done", "Sure:  done", {{"f", R"({"a": 1})"}}},
        Row{"ToolOfNoOne", "pythonic", "[h(a=1)]", "[h(a=1)]"}, Row{"Subscript", "pythonic", "x[f(a=1)]", "x[f(a=1)]"},
        Row{"NoLiteral", "pythonic", "[f(a=b)]", "[f(a=b)]"}, Row{"Positional", "pythonic", "[f(1)]", "[f(1)]"},
        Row{"CutOff", "pythonic", "[f(a='x", "[f(a='x"}, Row{"List", "pythonic", "[1, 2]", "[1, 2]"}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Qwen3Coder, ToolCallTest,
    ::testing::Values(
        Row{"One",
            "qwen3_coder",
            "I look.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n3\n"
            "</parameter>\n</function>\n</tool_call>",
            "I look.\n",
            {{"get_weather", R"({"city": "Oslo", "days": 3})"}}},
        Row{"Types",
            "qwen3_coder",
            "<tool_call>\n<function=get_weather>\n<parameter=metric>\nTrue\n</parameter>\n<parameter=share>\n0.5\n"
            "</parameter>\n<parameter=tags>\n['a', 1]\n</parameter>\n<parameter=place>\n{\"x\": null}\n</parameter>\n"
            "<parameter=note>\nnull\n</parameter>\n<parameter=limit>\nnull\n</parameter>\n<parameter=days>\nsoon\n"
            "</parameter>\n<parameter=other>\n5\n</parameter>\n</function>\n</tool_call>",
            "",
            {{"get_weather",
              R"({"metric": true, "share": 0.5, "tags": ["a", 1], "place": {"x": null}, "note": null, "limit": null, "days": "soon", "other": "5"})"}}},
        Row{"Several",
            "qwen3_coder",
            "<tool_call>\n<function=g>\n</function>\n</tool_call>\n<tool_call>\n<function=f>\n<parameter=x>\na\n\nb\n"
            "</parameter>\n</function>\n</tool_call>",
            "",
            {{"g", "{}"}, {"f", R"({"x": "a\n\nb"})"}}},
        Row{"NoOuterTag",
            "qwen3_coder",
            "<function=f>\n<parameter=x>\n1\n</parameter>\n</function>",
            "",
            {{"f", R"({"x": "1"})"}},
            "ggml-org/llama.cpp#15012"},
        Row{"MissingEndOfParameter",
            "qwen3_coder",
            "<tool_call>\n<function=f>\n<parameter=x>\n1\n<parameter=y>\n2\n</function>\n</tool_call>",
            "",
            {{"f", R"({"x": "1", "y": "2"})"}}},
        Row{"MarkupInValue",
            "qwen3_coder",
            "<tool_call>\n<function=f>\n<parameter=x>\n<a b=\"c\">{</a> "
            "</tool_call>\n</parameter>\n</function>\n</tool_call>",
            "",
            {{"f", R"({"x": "<a b=\"c\">{</a> </tool_call>"})"}}},
        Row{"ZeroByteInNumber",
            "qwen3_coder",
            "<function=get_weather>\n<parameter=days>\n3\0</parameter>\n</function>"sv,
            "",
            {{"get_weather", R"({"days": "3\u0000"})"}}},
        Row{"ToolOfNoOne", "qwen3_coder", "<tool_call>\n<function=h>\n</function>\n</tool_call>",
            "<tool_call>\n<function=h>\n</function>\n</tool_call>"},
        Row{"CutOff", "qwen3_coder", "<tool_call>\n<function=f>\n<parameter=x>\n1",
            "<tool_call>\n<function=f>\n<parameter=x>\n1"},
        Row{"Text", "qwen3_coder", "a <function> b", "a <function> b"}),
    NameOf);

TEST(ToolCallStreamTest, ArgumentsComeInParts) {
  int calls = 0;
  Parsed parsed = ParseStream(FormatNamed("hermes"),
                              Bytes(R"(<tool_call>{"name": "f", "arguments": {"text": "long"}}</tool_call>)"), &calls);
  EXPECT_EQ(parsed.parts, 16); // one part per byte; the last brace is sent when the call is complete
  EXPECT_EQ(calls, 1);
}

TEST(ToolCallStreamTest, NothingIsSentBeforeTheToolIsKnown) {
  AnswerParser parser(FormatNamed("hermes"));
  Choice choice;
  parser.Push(GeneratedText(R"(<tool_call>{"arguments": {"x": 1}, "name": "h)"), choice);
  EXPECT_TRUE(choice.tool_calls.empty());
  EXPECT_EQ(choice.text, "");
  parser.Push(GeneratedText(R"(")"), choice);
  EXPECT_EQ(choice.text, R"(<tool_call>{"arguments": {"x": 1}, "name": "h")");
}

// A client that received the beginning of a call must not mistake it for a complete call.
TEST(ToolCallStreamTest, ACallThatBreaksOffIsNoJson) {
  for (std::string_view rest : {"", " oops", "}, 5}", "}"}) {
    AnswerParser parser(FormatNamed("hermes"));
    Choice choice;
    std::string text = R"(<tool_call>{"name": "f", "arguments": {"x": 1)";
    parser.Push(GeneratedText(text), choice);
    ASSERT_EQ(choice.tool_calls.size(), 1u);
    std::string arguments = choice.tool_calls[0].arguments;
    choice = {};
    parser.Push(GeneratedText(rest), choice);
    parser.Finish(choice);
    for (const ToolCall &call : choice.tool_calls)
      arguments += call.arguments;
    EXPECT_FALSE(Json::accept(arguments)) << arguments;
    EXPECT_EQ(choice.text, text + std::string(rest));
    EXPECT_EQ(parser.calls(), 0);
  }
}

TEST(ToolCallStreamTest, TheIndexOfACallThatWasTakenBackIsUsedAgain) {
  AnswerParser parser(FormatNamed("hermes"));
  Choice choice;
  parser.Push(
      GeneratedText(R"(<tool_call>{"name": "f", "arguments": {"x": oops}} <tool_call>{"name": "g", "arguments": {}})"),
      choice);
  ASSERT_EQ(choice.tool_calls.size(), 1u);
  EXPECT_EQ(choice.tool_calls[0].index, 0);
  EXPECT_EQ(choice.tool_calls[0].name, "g");
}

// vLLM keeps the first call if parallel_tool_calls is false.
TEST(ToolCallStreamTest, OneCallWhereSeveralAreNotWanted) {
  AnswerFormat format = FormatNamed("llama3_json");
  format.parallel_tool_calls = false;
  std::string_view text = R"({"name": "f", "parameters": {}}; {"name": "g", "parameters": {}})";
  Parsed expected{.content = "", .reasoning = {}, .calls = {{"f", "{}"}}};
  EXPECT_EQ(ParseWhole(format, {GeneratedText(text)}), expected);
  int calls = 0;
  EXPECT_EQ(ParseStream(format, Bytes(text), &calls), expected);
}

// Special tokens are parsed, and are not part of the content unless the client asks for them.
TEST(ToolCallStreamTest, SpecialTokens) {
  GeneratedText text;
  text.Append("Hi", false);
  text.Append("<|x|>", true);
  text.Append("<tool_call>", true);
  text.Append(R"({"name": "f", "arguments": {"a": "<|x|>"}})", false);
  text.Append("</tool_call>", true);
  text.Append("<tool_call>", true);
  text.Append("no", false);
  text.Append("</tool_call>", true);
  AnswerFormat format = FormatNamed("hermes");
  EXPECT_EQ(ParseWhole(format, {text}),
            (Parsed{.content = "Hino", .reasoning = {}, .calls = {{"f", R"({"a": "<|x|>"})"}}}));
  format.shows_special_tokens = true;
  EXPECT_EQ(ParseWhole(format, {text}).content, "Hi<|x|><tool_call>no</tool_call>");
}

TEST(ToolCallIdTest, MistralsTemplatesTakeNineLetters) {
  std::string id = RandomCallId(*FindToolCallFormat("mistral"));
  EXPECT_EQ(id.size(), 9u);
  EXPECT_TRUE(RandomCallId(*FindToolCallFormat("hermes")).starts_with("call_"));
}

TEST(ToolCallFormatTest, NamesAreVllms) {
  EXPECT_EQ(ToolCallFormatNames(),
            (std::vector<std::string>{"hermes", "mistral", "llama3_json", "pythonic", "qwen3_coder"}));
  EXPECT_EQ(FindToolCallFormat("none"), nullptr);
}

// Parts of calls in random order: no text is lost, and a stream gives the same result as the whole answer.
TEST(ToolCallPropertyTest, StreamsEqualWholeAnswers) {
  constexpr std::string_view kParts[] = {"<tool_call>",
                                         "</tool_call>",
                                         "{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
                                         "{\"name\": \"g\", ",
                                         "\"arguments\": ",
                                         "{\"x\": \"</tool_call>\"}",
                                         "}",
                                         "{",
                                         "[",
                                         "]",
                                         ",",
                                         ";",
                                         " ",
                                         "\n",
                                         "text",
                                         "\"",
                                         "[TOOL_CALLS]",
                                         "[ARGS]",
                                         "f",
                                         "g",
                                         "h",
                                         "<|python_tag|>",
                                         "(",
                                         ")",
                                         "a=1",
                                         "b='x'",
                                         "[f(a=1)",
                                         "<function=f>",
                                         "<parameter=x>\n1\n</parameter>",
                                         "</function>",
                                         "<parameter=y>",
                                         "\\",
                                         "'",
                                         "\"name\": \"h\"",
                                         "<"};
  std::mt19937 random(7);
  for (int round = 0; round < 1500; ++round) {
    std::string text;
    for (unsigned n = 1 + random() % 14; n > 0; --n)
      text += kParts[random() % std::size(kParts)];
    for (const ToolCallFormat &one : ToolCallFormats()) {
      AnswerFormat format = FormatNamed(one.name);
      Parsed whole = ParseWhole(format, {GeneratedText(text)});
      std::vector<GeneratedText> pieces;
      for (size_t at = 0, size = 0; at < text.size(); at += size) {
        size = std::min<size_t>(1 + random() % 6, text.size() - at);
        pieces.emplace_back(std::string_view(text).substr(at, size));
      }
      int calls = 0;
      ASSERT_EQ(ParseStream(format, pieces, &calls), whole) << one.name << ": " << text;
      ASSERT_EQ(static_cast<size_t>(calls), whole.calls.size()) << one.name << ": " << text;
      for (const auto &[name, arguments] : whole.calls)
        ASSERT_TRUE(Json::parse(arguments, nullptr, false).is_object()) << one.name << ": " << text;
      if (whole.calls.empty()) {
        ASSERT_EQ(whole.content, text) << one.name;
      }
    }
  }
}

} // namespace
} // namespace inlay::serve
