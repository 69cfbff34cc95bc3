#include "formats/tokenizer/regex.h"

#include "formats/tokenizer/regex_unicode.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>
#include <oniguruma.h>

#include <mutex>
#include <utility>

namespace inlay::tokenizer {
namespace {

constexpr size_t kMaxPatternBytes = 1 << 16;
constexpr unsigned kMaxParseDepth = 256;
constexpr unsigned kMaxStackEntries = 4'000'000; // about 160 MB at the worst
constexpr unsigned long kMaxRetries = 10'000'000;

const OnigUChar *Bytes(std::string_view text) { return reinterpret_cast<const OnigUChar *>(text.data()); }

std::string OnigMessage(int code, OnigErrorInfo *info) {
  OnigUChar buffer[ONIG_MAX_ERROR_MESSAGE_LEN];
  int length = info ? onig_error_code_to_str(buffer, code, info) : onig_error_code_to_str(buffer, code);
  return std::string(reinterpret_cast<char *>(buffer), static_cast<size_t>(length));
}

} // namespace

Regex::Regex(std::shared_ptr<void> compiled, std::string pattern, std::string key)
    : compiled_(std::move(compiled)), pattern_(std::move(pattern)), key_(std::move(key)) {}

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern, std::string key) {
  // Compiling accesses Oniguruma's tables of names and properties, which are not thread-safe.
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  static const bool initialized = [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    onig_initialize(encodings, 1);
    onig_set_parse_depth_limit(kMaxParseDepth);
    return true;
  }();
  (void)initialized;
  if (pattern.size() > kMaxPatternBytes)
    return absl::InvalidArgumentError(
        fmt::format("{}: found a pattern of {} bytes, expected at most {}", key, pattern.size(), kMaxPatternBytes));
  if (!IsValidUtf8(pattern))
    return absl::InvalidArgumentError(fmt::format("{}: found a pattern that is not UTF-8", key));
  absl::StatusOr<std::string> written = WriteOutUnicodeSets(pattern, key);
  if (!written.ok())
    return written.status();
  regex_t *compiled = nullptr;
  OnigErrorInfo info;
  int code = onig_new(&compiled, Bytes(*written), Bytes(*written) + written->size(), ONIG_OPTION_NONE,
                      ONIG_ENCODING_UTF8, ONIG_SYNTAX_RUBY, &info);
  if (code != ONIG_NORMAL)
    return absl::InvalidArgumentError(fmt::format("{}: found {}, expected a regular expression of Oniguruma: {}", key,
                                                  Quoted(pattern), OnigMessage(code, &info)));
  return Regex(std::shared_ptr<void>(compiled, [](void *p) { onig_free(static_cast<regex_t *>(p)); }),
               std::string(pattern), std::move(key));
}

absl::StatusOr<std::vector<TextRange>> Regex::FindAll(std::string_view text) const {
  std::unique_ptr<OnigRegion, void (*)(OnigRegion *)> region(onig_region_new(),
                                                             [](OnigRegion *r) { onig_region_free(r, 1); });
  std::unique_ptr<OnigMatchParam, void (*)(OnigMatchParam *)> param(onig_new_match_param(), onig_free_match_param);
  onig_initialize_match_param(param.get());
  onig_set_match_stack_limit_size_of_match_param(param.get(), kMaxStackEntries);
  onig_set_retry_limit_in_match_of_match_param(param.get(), kMaxRetries);
  onig_set_retry_limit_in_search_of_match_param(param.get(), kMaxRetries);

  std::vector<TextRange> matches;
  if (text.empty()) // the `tokenizers` library does not search an empty text
    return matches;
  const OnigUChar *begin = Bytes(text), *end = begin + text.size();
  for (size_t at = 0; at <= text.size();) {
    int found = onig_search_with_param(static_cast<regex_t *>(compiled_.get()), begin, end, begin + at, end,
                                       region.get(), ONIG_OPTION_NONE, param.get());
    if (found == ONIG_MISMATCH)
      break;
    if (found < 0)
      return absl::ResourceExhaustedError(fmt::format("{}: matching the pattern {} was stopped at byte {} of {} of the "
                                                      "text ({}), expected a pattern without nested "
                                                      "repetition; fix: correct the pattern or shorten the text",
                                                      key_, Quoted(pattern_), at, text.size(),
                                                      OnigMessage(found, nullptr)));
    TextRange match{static_cast<size_t>(region->beg[0]), static_cast<size_t>(region->end[0])};
    if (match.begin == match.end && !matches.empty() && matches.back().end == match.end) {
      if (at >= text.size())
        break;
      at += ReadUtf8(text.substr(at)).length;
      continue;
    }
    matches.push_back(match);
    at = match.end;
  }
  return matches;
}

} // namespace inlay::tokenizer
