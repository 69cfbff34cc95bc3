// A model directory of a test, which is opened as a checkpoint.

#ifndef INLAY_TEST_FRONTENDS_HF_CHECKPOINT_TESTING_H
#define INLAY_TEST_FRONTENDS_HF_CHECKPOINT_TESTING_H

#include "frontends/hf/Checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

namespace inlay::hf {

// An empty directory for each test.
class DirectoryTest : public ::testing::Test {
protected:
  void SetUp() override {
    directory_ =
        std::filesystem::path(::testing::TempDir()) / ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // Copies the files of a fixture, in place of those that are there.
  void Copy(const std::filesystem::path &fixture) {
    for (const auto &entry : std::filesystem::directory_iterator(fixture))
      if (entry.is_regular_file())
        std::filesystem::copy(entry.path(), directory_, std::filesystem::copy_options::overwrite_existing);
  }

  // The problems of the directory, a line each.
  std::vector<std::string> OpenDirectory(const CheckpointOptions &options = {}) {
    Problems problems;
    std::optional<Checkpoint> checkpoint = OpenCheckpoint(directory_.string(), options, problems);
    EXPECT_EQ(checkpoint.has_value(), !problems.HasErrors());
    std::vector<std::string> lines;
    for (const Problem &problem : problems.items())
      lines.push_back(problem.ToString());
    return lines;
  }

  std::filesystem::path directory_;
};

} // namespace inlay::hf

#endif // INLAY_TEST_FRONTENDS_HF_CHECKPOINT_TESTING_H
