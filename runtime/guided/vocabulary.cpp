#include "runtime/guided/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>

namespace inlay::guided {

namespace {
constexpr size_t kMaxTokenBytes = 4096;
} // namespace

bool Vocabulary::IsEnd(int32_t id) const { return std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end(); }

absl::StatusOr<std::shared_ptr<const Vocabulary>> Vocabulary::Create(std::vector<std::string> tokens,
                                                                     std::vector<int32_t> end_ids, int32_t size) {
  if (size <= 0 || tokens.size() > static_cast<size_t>(size))
    return absl::InvalidArgumentError(
        fmt::format("found {} tokens for {} logits, expected at most one per logit; fix: use the model's own tokenizer",
                    tokens.size(), size));
  if (end_ids.empty())
    return absl::InvalidArgumentError("found no end-of-sequence token, which guided decoding needs; fix: set "
                                      "eos_token_id in generation_config.json");
  std::shared_ptr<Vocabulary> result(new Vocabulary());
  tokens.resize(size);
  for (int32_t id : end_ids) {
    if (id < 0 || id >= size)
      return absl::InvalidArgumentError(
          fmt::format("found the end token {}, expected one below {}; fix: correct eos_token_id", id, size));
    tokens[id].clear();
  }
  result->size_ = size;
  result->tokens_ = std::move(tokens);
  result->end_ids_ = std::move(end_ids);
  const std::vector<std::string> &bytes = result->tokens_;
  std::vector<int32_t> &order = result->ordered_ids_;
  for (int32_t id = 0; id < size; ++id) {
    // Longer tokens are left out, so they are never allowed.
    if (!bytes[id].empty() && bytes[id].size() <= kMaxTokenBytes) {
      order.push_back(id);
      if (bytes[id].find_first_of(",]") != std::string::npos)
        result->item_ends_.push_back(id);
      result->max_token_bytes_ = std::max(result->max_token_bytes_, static_cast<int32_t>(bytes[id].size()));
    }
  }
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return bytes[a] < bytes[b]; });
  std::vector<Node> &nodes = result->nodes_;
  std::vector<int32_t> open; // the nodes from the root to the last token
  auto close_to = [&](size_t depth) {
    for (; open.size() > depth; open.pop_back())
      nodes[open.back()].skip = static_cast<int32_t>(nodes.size());
  };
  std::string_view last;
  for (size_t i = 0; i < order.size(); ++i) {
    std::string_view token = bytes[order[i]];
    size_t shared = std::mismatch(last.begin(), last.end(), token.begin(), token.end()).first - last.begin();
    close_to(shared);
    for (size_t depth = shared; depth < token.size(); ++depth) {
      open.push_back(static_cast<int32_t>(nodes.size()));
      nodes.push_back({0, static_cast<int32_t>(i), static_cast<uint16_t>(depth), static_cast<uint8_t>(token[depth])});
    }
    last = token;
  }
  close_to(0);
  nodes.push_back({static_cast<int32_t>(nodes.size() + 1), static_cast<int32_t>(order.size()), 0, 0});
  return std::shared_ptr<const Vocabulary>(std::move(result));
}

absl::StatusOr<std::shared_ptr<const Vocabulary>>
Vocabulary::FromTokenizer(const tokenizer::Tokenizer &tokenizer, std::vector<int32_t> end_ids, int32_t size) {
  std::vector<std::string> tokens(std::min(tokenizer.vocab_size(), size));
  for (int32_t id = 0; id < static_cast<int32_t>(tokens.size()); ++id)
    tokens[id] = tokenizer.TokenBytes(id);
  return Create(std::move(tokens), std::move(end_ids), size);
}

} // namespace inlay::guided
