#include "formats/tokenizer/added_tokens.h"

#include "formats/tokenizer/unicode.h"

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

#include <fmt/format.h>

#include <algorithm>

namespace inlay::tokenizer {

absl::Status AddTokens(const std::vector<TokenizerConfig::Addition> &additions, TokenizerDefinition &definition,
                       std::vector<std::string> &notes) {
  if (additions.empty() && definition.added_tokens.empty())
    return absl::OkStatus();
  absl::flat_hash_map<absl::string_view, int32_t> vocabulary;
  int32_t vocabulary_end = 0;
  for (const auto &[token, id] : definition.vocabulary) {
    vocabulary.emplace(token, id);
    vocabulary_end = std::max(vocabulary_end, id + 1);
  }
  std::vector<AddedToken> &tokens = definition.added_tokens;
  absl::flat_hash_map<std::string, size_t> known; // index in `tokens`
  // The `tokenizers` library gives new tokens ids from the size of the vocabulary on. If the vocabulary's ids have
  // gaps, new ids may be below its largest id.
  int32_t next = static_cast<int32_t>(definition.vocabulary.size());
  bool holes = next < vocabulary_end;
  for (size_t i = 0; i < tokens.size(); ++i) {
    AddedToken &token = tokens[i];
    known.emplace(token.content, i);
    if (!vocabulary.contains(token.content) && token.id != next && !holes) {
      notes.push_back(
          fmt::format("tokenizer.json: added_tokens[{}].id: ignored: the tokenizers library gives {} the id {} "
                      "instead of {}",
                      i, Quoted(token.content), next, token.id));
      token.id = next;
    }
    if (!vocabulary.contains(token.content))
      next = std::max(next, token.id + 1);
  }
  for (const auto &[addition, key] : additions) {
    if (addition.content.empty())
      continue;
    if (auto it = known.find(addition.content); it != known.end()) {
      AddedToken &token = tokens[it->second];
      bool special = token.special || addition.special;
      int32_t id = token.id;
      token = addition;
      token.id = id;
      token.special = special;
    } else {
      AddedToken token = addition;
      auto in_vocabulary = vocabulary.find(token.content);
      token.id = in_vocabulary != vocabulary.end() ? in_vocabulary->second : next++;
      if (in_vocabulary == vocabulary.end()) {
        if (token.id < vocabulary_end)
          return absl::UnimplementedError(fmt::format(
              "{}: found the new token {} and gaps in the vocabulary's ids, supported: tokens of tokenizer.json", key,
              Quoted(token.content)));
        notes.push_back(fmt::format("{}: adds the token {}, which is not in tokenizer.json, with the id {}", key,
                                    Quoted(token.content), token.id));
      }
      known.emplace(token.content, tokens.size());
      tokens.push_back(std::move(token));
    }
    if (int32_t id = tokens[known[addition.content]].id; addition.id >= 0 && addition.id != id)
      notes.push_back(fmt::format("{}: the id {} is ignored: the tokenizers library gives {} the id {}", key,
                                  addition.id, Quoted(addition.content), id));
  }
  return absl::OkStatus();
}

} // namespace inlay::tokenizer
