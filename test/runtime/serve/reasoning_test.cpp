// Reasoning before an answer: where it begins and ends, and that streams give the same result as whole answers.
#include "tool_call_testing.h"

#include "gtest/gtest.h"

namespace inlay::serve {
namespace {

struct Row {
  std::string_view name, format;
  ReasoningStart start;
  std::string_view text, reasoning, content;
  std::string_view source = {}; // the report that the row is based on
};

std::ostream &operator<<(std::ostream &out, const Row &row) { return out << row.name << ' ' << row.source; }

class ReasoningTest : public ::testing::TestWithParam<Row> {};

TEST_P(ReasoningTest, WholeAndStreamed) {
  const Row &row = GetParam();
  AnswerFormat format;
  format.reasoning = FindReasoningFormat(row.format);
  format.reasoning_start = row.start;
  Parsed expected{.content = std::string(row.content), .reasoning = std::string(row.reasoning), .calls = {}};
  EXPECT_EQ(ParseWhole(format, {GeneratedText(row.text)}), expected);
  int calls = 0;
  EXPECT_EQ(ParseStream(format, Bytes(row.text), &calls), expected);
}

constexpr auto kUnknown = ReasoningStart::kUnknown, kOpen = ReasoningStart::kOpen, kClosed = ReasoningStart::kClosed;

// Based on vLLM's tests/reasoning/test_deepseekr1_reasoning_parser.py and test_qwen3_reasoning_parser.py, and on the
// named reports.
INSTANTIATE_TEST_SUITE_P(
    All, ReasoningTest,
    ::testing::Values(Row{"Tags", "qwen3", kUnknown, "<think>a < b</think>c", "a < b", "c"},
                      Row{"LinesAround", "qwen3", kUnknown, "<think>\na\n</think>\n\nc", "\na\n", "\n\nc"},
                      Row{"NoTags", "qwen3", kUnknown, "just text", "", "just text"},
                      Row{"OpenedByTheTemplate", "qwen3", kOpen, "a</think>c", "a", "c", "vllm-project/vllm#22507"},
                      Row{"ClosedByTheTemplate", "qwen3", kClosed, "c <think>d</think>", "", "c <think>d</think>"},
                      Row{"NotClosed", "qwen3", kUnknown, "<think>a</thin", "a</thin", ""},
                      Row{"NotOpened", "deepseek_r1", kUnknown, "a</think>c", "a", "c", "vllm-project/vllm#13125"},
                      Row{"OpenedTwice", "deepseek_r1", kOpen, "<think>a</think>c", "a", "c"},
                      Row{"OnlyReasoning", "deepseek_r1", kUnknown, "a", "a", ""},
                      Row{"Off", "deepseek_r1", kClosed, "c", "", "c",
                          "DeepSeek-V3.1's template closes the tag to turn reasoning off"},
                      Row{"Empty", "deepseek_r1", kUnknown, "<think></think>c", "", "c"},
                      Row{"SecondTag", "deepseek_r1", kUnknown, "a</think>c</think>d", "a", "c</think>d"},
                      Row{"Mistral", "mistral", kUnknown, "[THINK]a[/THINK]c", "a", "c"}),
    [](const auto &row) { return std::string(row.param.name); });

TEST(ReasoningStartTest, TheEndOfThePrompt) {
  const ReasoningFormat &format = *FindReasoningFormat("deepseek_r1");
  EXPECT_EQ(ReasoningStartOf(format, "<|assistant|><think>\n"), kOpen);
  EXPECT_EQ(ReasoningStartOf(format, "<|assistant|><think>\n\n</think>\n\n"), kClosed);
  EXPECT_EQ(ReasoningStartOf(format, "what does <think> mean?<|assistant|>"), kUnknown);
  EXPECT_EQ(ReasoningStartOf(format, ""), kUnknown);
}

// Call tags inside the reasoning are not calls; those after it are.
TEST(ReasoningTest, CallsBehindReasoning) {
  AnswerFormat format;
  format.reasoning = FindReasoningFormat("qwen3");
  format.tool_calls = FindToolCallFormat("hermes");
  format.tools = ToolsOf(R"([{"type": "function", "function": {"name": "f"}}])");
  std::string_view text =
      "<think>\nI use <tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>.\n</think>\n\n<tool_call>\n"
      "{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>";
  Parsed expected{.content = "",
                  .reasoning = "\nI use <tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>.\n",
                  .calls = {{"f", R"({"a": 1})"}}};
  EXPECT_EQ(ParseWhole(format, {GeneratedText(text)}), expected);
  int calls = 0;
  EXPECT_EQ(ParseStream(format, Bytes(text), &calls), expected);
}

} // namespace
} // namespace inlay::serve
