// The error message for a model directory without tokenizer.json.
#include "formats/tokenizer/tokenizer_json.h"

#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

namespace inlay::tokenizer {

std::string ExplainMissingTokenizer(const std::string &directory) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const char *name : {"vocab.json", "merges.txt", "tokenizer.model", "vocab.txt", "tekken.json", "spiece.model"})
    if (std::filesystem::exists(std::filesystem::path(directory) / name, ignored))
      found.push_back(name);
  if (found.empty())
    return fmt::format("{}/tokenizer.json: found no such file, so prompts can only be token ids; fix: download it with "
                       "the checkpoint",
                       directory);
  return fmt::format("{0}/tokenizer.json: found no such file but {1}, so prompts can only be token ids; fix: write it "
                     "with transformers: python -c \"from transformers import AutoTokenizer; "
                     "AutoTokenizer.from_pretrained('{0}').save_pretrained('{0}')\"",
                     directory, fmt::join(found, ", "));
}

} // namespace inlay::tokenizer
