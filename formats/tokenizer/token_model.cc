#include "formats/tokenizer/token_model.h"

#include "absl/strings/string_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

namespace inlay::tokenizer {
namespace {

constexpr size_t kCachedWords = 1 << 15;
constexpr size_t kCachedWordBytes = 256;

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

} // namespace

TokenModel::TokenModel(const TokenIds &vocabulary) {
  ids_.reserve(vocabulary.size());
  for (const auto &[token, id] : vocabulary)
    ids_.emplace(token, id);
  for (int byte = 0; byte < 256; ++byte)
    byte_ids_[byte] = Find(fmt::format("<0x{:02X}>", byte));
}

int32_t TokenModel::Find(std::string_view token) const {
  auto it = ids_.find(Absl(token));
  return it == ids_.end() ? -1 : it->second;
}

bool TokenModel::AppendBytes(std::string_view text, std::vector<int32_t> &ids) const {
  if (!std::all_of(text.begin(), text.end(), [&](char c) { return byte_ids_[static_cast<uint8_t>(c)] >= 0; }))
    return false;
  for (char c : text)
    ids.push_back(byte_ids_[static_cast<uint8_t>(c)]);
  return true;
}

void TokenModel::Encode(std::string_view word, std::vector<int32_t> &ids) const {
  if (word.empty())
    return;
  if (word.size() > kCachedWordBytes)
    return EncodeWord(word, ids);
  {
    std::shared_lock<std::shared_mutex> lock(cache_mutex_);
    auto it = cache_.find(Absl(word));
    if (it != cache_.end()) {
      ids.insert(ids.end(), it->second.begin(), it->second.end());
      return;
    }
  }
  size_t before = ids.size();
  EncodeWord(word, ids);
  std::unique_lock<std::shared_mutex> lock(cache_mutex_);
  if (cache_.size() < kCachedWords)
    cache_.emplace(std::string(word), std::vector<int32_t>(ids.begin() + before, ids.end()));
}

} // namespace inlay::tokenizer
