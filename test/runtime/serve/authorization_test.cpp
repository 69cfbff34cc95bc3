#include "runtime/serve/authorization.h"

#include "gtest/gtest.h"

#include <fstream>

using namespace inlay::serve;

namespace {

std::string FileWith(const std::string &text) {
  std::string path = testing::TempDir() + "/inlay_api_keys";
  std::ofstream(path) << text;
  return path;
}

TEST(ApiKeysTest, KeysAreFoundInBothSchemes) {
  ApiKeys keys({"abc", "a:b"});
  for (const char *authorization : {"Bearer abc", "bearer abc", "BEARER a:b", "Basic dTphOmI="}) // u:a:b
    EXPECT_TRUE(keys.Admit(authorization)) << authorization;
  for (const char *authorization : {"", "abc", "Bearer", "Bearer ", "Bearer ab", "Bearer abcd", "Bearer  abc",
                                    "Basic !", "Basic dTo=", "Token abc"}) // u:
    EXPECT_FALSE(keys.Admit(authorization)) << authorization;
}

TEST(ApiKeysTest, AnEmptyKeyIsNoKey) {
  EXPECT_TRUE(ApiKeys().empty());
  EXPECT_FALSE(ApiKeys({""}).Admit("Bearer "));
}

TEST(CollectApiKeysTest, FlagsAndFileCountTogether) {
  std::string file = FileWith("# keys of the team\r\none\r\n\n  two \nthree");
  auto keys = CollectApiKeys({"zero"}, file, "environment");
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(*keys, (std::vector<std::string>{"zero", "one", "two", "three"}));
}

TEST(CollectApiKeysTest, TheEnvironmentCountsWithoutThem) {
  EXPECT_EQ(*CollectApiKeys({}, "", "environment"), std::vector<std::string>{"environment"});
  EXPECT_TRUE(CollectApiKeys({}, "", "")->empty());
  EXPECT_TRUE(CollectApiKeys({}, "", nullptr)->empty());
}

TEST(CollectApiKeysTest, WhatIsWrongIsNamed) {
  auto message = [](const absl::StatusOr<std::vector<std::string>> &keys) {
    return std::string(keys.status().message());
  };
  EXPECT_NE(message(CollectApiKeys({""}, "", nullptr)).find("--api-key is empty"), std::string::npos);
  EXPECT_NE(message(CollectApiKeys({"a b"}, "", nullptr)).find("--api-key contains a character"), std::string::npos);
  EXPECT_NE(message(CollectApiKeys({}, "/none/keys", nullptr)).find("--api-key-file: /none/keys"), std::string::npos);
  EXPECT_NE(message(CollectApiKeys({}, FileWith("# none\n\n"), nullptr)).find("contains no key"), std::string::npos);
  EXPECT_NE(message(CollectApiKeys({}, FileWith("a\nb\x01\n"), nullptr)).find("line 2 of"), std::string::npos);
  EXPECT_NE(message(CollectApiKeys({}, "", "a\nb")).find("INLAY_API_KEY"), std::string::npos);
}

} // namespace
