// The chat templates of model families (test/fixtures/chat_templates/families) print the same text as in transformers
// and fail where it fails. test/fixtures/make_family_template_goldens.py writes the texts.
#include "formats/tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

namespace inlay::tokenizer {
namespace {

using Json = nlohmann::ordered_json;
using testing::Each;
using testing::Ge;
using testing::Pair;

const std::string kFixtures = "test/fixtures/chat_templates/";

std::string ReadFile(const std::string &path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// A case is [template, conversation, variables, prompt, text]. The text is null where transformers fails.
absl::StatusOr<std::string> Render(const Json &goldens, const Json &golden) {
  const std::string file = golden[0].get<std::string>() + ".jinja";
  auto chat_template = ChatTemplate::FromSource(ReadFile(kFixtures + "families/" + file), file);
  if (!chat_template.ok())
    return chat_template.status();
  const std::string variables = goldens["variables"][golden[2].get<std::string>()].dump();
  const ChatOptions options{golden[3].get<bool>(), "<s>", "</s>", {}, variables};
  return (*chat_template)->RenderJson(goldens["conversations"][golden[1].get<std::string>()].dump(), options);
}

TEST(FamilyTemplatesTest, PrintWhatTransformersPrints) {
  const Json goldens = Json::parse(ReadFile(kFixtures + "families.json"));
  std::map<std::string, int> printed;
  for (const auto &entry : std::filesystem::directory_iterator(kFixtures + "families"))
    printed[entry.path().stem()] = 0;
  EXPECT_GE(printed.size(), 20u);
  for (const Json &golden : goldens["cases"]) {
    const Json name = {golden[0], golden[1], golden[2]};
    absl::StatusOr<std::string> text = Render(goldens, golden);
    if (golden[4].is_null()) {
      EXPECT_FALSE(text.ok()) << name << *text;
      continue;
    }
    ASSERT_TRUE(text.ok()) << name << text.status();
    EXPECT_EQ(*text, golden[4].get<std::string>()) << name;
    ++printed[golden[0]];
  }
  EXPECT_THAT(printed, Each(Pair(testing::_, Ge(3))));
}

} // namespace
} // namespace inlay::tokenizer
