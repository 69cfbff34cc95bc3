// Files of measurements: what is written is read back, and what is wrong is named.
#include "passes/tile/tuning/TuningFile.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace inlay {
namespace {

using ::testing::HasSubstr;

TuningFile SmallFile() {
  TuningFile file;
  file.path = ::testing::TempDir() + "/tuning_file_test.json";
  file.target = "sm_90a";
  file.chip = "a chip";
  file.entries[{"swap_ab", 64, 4096, 2048, "bf16", "none", "residual"}] = {
      {{"split", 2}, {"stages", 7}}, 12.5, "abc", "2026-11-29"};
  file.attention[{"decode_attention", 4, 8, 128, 16, 32, "bf16"}] = {{{"warps", 8}}, 3.25, "abc", "2026-11-29"};
  file.libraries[{4096, 2048, "bf16", "store"}][2048] = {2048, 300, 310, "abc"};
  return file;
}

std::string ParseError(const std::string &text) {
  return std::string(TuningFile::parse(text, "file.json").status().message());
}

TEST(TuningFileTest, WhatIsWrittenIsReadBack) {
  TuningFile file = SmallFile();
  ASSERT_TRUE(file.write().ok());
  absl::StatusOr<TuningFile> read = TuningFile::open(file.path, "sm_90a");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->toText(), file.toText());
  EXPECT_EQ(read->attention.begin()->second.date, "2026-11-29");
  std::filesystem::remove(file.path);
}

TEST(TuningFileTest, AnEntryIsALine) {
  EXPECT_THAT(
      SmallFile().toText(),
      HasSubstr("  \"attention\": [\n    {\"family\":\"decode_attention\",\"heads\":4,\"kv_heads\":8,\"head_dim\":128,"
                "\"page_size\":16,\"sequences\":32,\"dtype\":\"bf16\",\"config\":{\"warps\":8},\"microseconds\":3.25,"
                "\"compiler\":\"abc\",\"date\":\"2026-11-29\"}\n  ],\n"));
}

TEST(TuningFileTest, FilesOfFormat2HaveNoDates) {
  absl::StatusOr<TuningFile> file =
      TuningFile::parse(R"({"format":2,"target":"sm_90a","chip":"a","libraries":[],"entries":[
        {"family":"gemm","rows":128,"columns":8,"k":8,"dtype":"bf16","prologue":"none","epilogue":"store",
         "config":{},"microseconds":1,"compiler":"abc"}]})",
                        "file.json");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->entries.begin()->second.date, "");
}

TEST(TuningFileTest, WeightsAreNumbersOrCodes) {
  auto parse = [](const std::string &weights) {
    return TuningFile::parse(R"({"format":3,"target":"sm_90a","chip":"a","libraries":[],"entries":[
        {"family":"gemm","rows":128,"columns":8,"k":8,"dtype":")" +
                                 weights + R"(","prologue":"none","epilogue":"store",
         "config":{},"microseconds":1,"compiler":"abc","date":"2026-11-30"}]})",
                             "file.json");
  };
  for (const char *weights : {"bf16", "f8e4m3", "u4 of 128", "u4 of 32 with zeros", "u8 with zeros", "i8 x i8"})
    EXPECT_TRUE(parse(weights).ok()) << weights;
  for (const char *weights : {"", "u5", "u4 of ", "u4 of x", "u4 of 128 with", "i8 x u4", "bf16 x"})
    EXPECT_THAT(std::string(parse(weights).status().message()),
                HasSubstr("expected one of bf16, f16, f8e4m3, i8, u8, u4, or codes as in 'u4 of 128 with zeros' or "
                          "'i8 x i8'"))
        << weights;
}

TEST(TuningFileTest, OtherFormatsAreRefused) {
  EXPECT_EQ(ParseError(R"({"format":4,"target":"sm_90a","chip":"a","entries":[],"libraries":[]})"),
            "file.json: format is 4, expected 2 or 3, those of this compiler; correct it, or remove the file");
}

TEST(TuningFileTest, AttentionIsCheckedLikeLinearLayers) {
  std::string text = SmallFile().toText();
  auto with = [&](const std::string &from, const std::string &to) {
    std::string changed = text;
    return changed.replace(changed.find(from), from.size(), to);
  };
  EXPECT_THAT(ParseError(with("\"heads\":4", "\"heads\":0")),
              HasSubstr("attention[0].heads is 0, expected an integer from 1"));
  EXPECT_THAT(ParseError(with("decode_attention", "attention")),
              HasSubstr("attention[0].family is \"attention\", expected one of decode_attention, prefill_attention"));
  EXPECT_THAT(ParseError(with("\"page_size\":16,", "")), HasSubstr("attention[0].page_size is missing"));
  EXPECT_THAT(ParseError(with("\"warps\":8", "\"warps\":\"8\"")), HasSubstr("attention[0].config.warps is \"8\""));
}

TEST(TuningFileTest, AFolderThatIsMissingIsNamed) {
  TuningFile file = SmallFile();
  file.path = "/nonexistent/tuning.json";
  EXPECT_THAT(std::string(file.write().message()), HasSubstr("/nonexistent/tuning.json"));
}

} // namespace
} // namespace inlay
