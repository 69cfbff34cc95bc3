// docs/api.md lists exactly the fields that the parsers know.
#include "runtime/serve/openai_request.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace inlay::serve {
namespace {

using ::testing::ContainerEq;

// The names in backquotes in the first column of each table, by the heading above the table.
std::map<std::string, std::set<std::string>> FieldsOfPage() {
  std::ifstream file(INLAY_API_PAGE);
  EXPECT_TRUE(file) << INLAY_API_PAGE << " cannot be read";
  std::map<std::string, std::set<std::string>> fields;
  std::string line, heading;
  while (std::getline(file, line)) {
    if (line.starts_with("##"))
      heading = line.substr(line.find_first_not_of("# "));
    if (!line.starts_with("| `"))
      continue;
    std::istringstream column(line.substr(2, line.find(" |", 2) - 2));
    for (std::string text, name; std::getline(column, text, '`') && std::getline(column, name, '`');)
      EXPECT_TRUE(fields[heading].insert(name).second) << heading << " lists '" << name << "' twice";
  }
  return fields;
}

std::set<std::string> Known(Endpoint endpoint) {
  std::vector<std::string> names = KnownFields(endpoint);
  return {names.begin(), names.end()};
}

std::set<std::string> Union(std::set<std::string> a, const std::set<std::string> &b) {
  a.insert(b.begin(), b.end());
  return a;
}

TEST(ApiPageTest, ListsTheFieldsOfTheParsers) {
  std::map<std::string, std::set<std::string>> page = FieldsOfPage();
  const std::set<std::string> &both = page["POST /v1/completions and /v1/chat/completions"];
  ASSERT_FALSE(both.empty());
  EXPECT_THAT(Union(both, page["Only /v1/completions"]), ContainerEq(Known(Endpoint::kCompletions)));
  EXPECT_THAT(Union(both, page["Only /v1/chat/completions"]), ContainerEq(Known(Endpoint::kChat)));
  EXPECT_THAT(page["POST /tokenize"], ContainerEq(Known(Endpoint::kTokenize)));
  EXPECT_THAT(page["POST /detokenize"], ContainerEq(Known(Endpoint::kDetokenize)));
}

} // namespace
} // namespace inlay::serve
