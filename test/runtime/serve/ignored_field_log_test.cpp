// Unknown fields from clients do not fill the log.
#include "runtime/serve/ignored_field_log.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inlay::serve {
namespace {

using ::testing::HasSubstr;

TEST(IgnoredFieldLogTest, NamesEachFieldOnceAndAFewOfThem) {
  std::vector<std::string> lines;
  IgnoredFieldLog log([&](std::string_view line) { lines.emplace_back(line); });
  log.Report(std::vector<std::string>{"messages[3].x", "a\nb"});
  log.Report(std::vector<std::string>{"messages[12].x", "a\nb"});
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr("'messages[].x'"));
  EXPECT_THAT(lines[1], HasSubstr(R"('a\x0ab')"));
  for (int i = 0; i < 1000; ++i)
    log.Report(std::vector<std::string>{"x" + std::to_string(i)});
  EXPECT_EQ(lines.size(), 257u); // the last line says that no more fields are logged
}

} // namespace
} // namespace inlay::serve
