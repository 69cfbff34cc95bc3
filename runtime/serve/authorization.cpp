#include "runtime/serve/authorization.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "fmt/format.h"
#include "runtime/support/files.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

namespace inlay::serve {
namespace {

// Removes "SCHEME " from the front of `authorization`. The case of the scheme does not matter. Returns false if the
// value has another scheme.
bool TakeScheme(std::string_view &authorization, std::string_view scheme) {
  if (authorization.size() <= scheme.size() || authorization[scheme.size()] != ' ' ||
      !absl::EqualsIgnoreCase(absl::string_view(authorization.data(), scheme.size()),
                              absl::string_view(scheme.data(), scheme.size())))
    return false;
  authorization.remove_prefix(scheme.size() + 1);
  return true;
}

// The key in an Authorization header. Empty if there is none.
std::string KeyOf(std::string_view authorization) {
  if (TakeScheme(authorization, "Bearer"))
    return std::string(authorization);
  std::string decoded;
  if (!TakeScheme(authorization, "Basic") ||
      !absl::Base64Unescape(absl::string_view(authorization.data(), authorization.size()), &decoded))
    return {};
  size_t colon = decoded.find(':');
  return colon == std::string::npos ? std::string() : decoded.substr(colon + 1);
}

absl::Status CheckKey(const std::string &key, const std::string &where) {
  if (key.empty())
    return absl::InvalidArgumentError(fmt::format("{} is empty; give a key or remove it", where));
  bool is_visible = std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (!is_visible)
    return absl::InvalidArgumentError(fmt::format("{} contains a character that is not visible ASCII and cannot be "
                                                  "sent in an Authorization header; use letters, digits and symbols",
                                                  where));
  return absl::OkStatus();
}

} // namespace

ApiKeys::ApiKeys(const std::vector<std::string> &keys) {
  for (const std::string &key : keys)
    digests_.push_back(DigestOf(key));
}

ApiKeys::Digest ApiKeys::DigestOf(std::string_view text) {
  static_assert(sizeof(Digest) == SHA256_DIGEST_LENGTH);
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char *>(text.data()), text.size(), digest.data());
  return digest;
}

bool ApiKeys::Admit(std::string_view authorization) const {
  std::string key = KeyOf(authorization);
  Digest given = DigestOf(key);
  bool found = false;
  for (const Digest &known : digests_)
    found |= CRYPTO_memcmp(given.data(), known.data(), given.size()) == 0;
  return found && !key.empty();
}

absl::StatusOr<std::vector<std::string>> CollectApiKeys(const std::vector<std::string> &flags, const std::string &file,
                                                        const char *environment) {
  std::vector<std::string> keys = flags;
  for (const std::string &key : flags)
    if (absl::Status status = CheckKey(key, "--api-key"); !status.ok())
      return status;
  if (!file.empty()) {
    absl::StatusOr<std::string> text = ReadFile(file);
    if (!text.ok())
      return absl::InvalidArgumentError(fmt::format("--api-key-file: {}", std::string(text.status().message())));
    std::vector<std::string> lines = absl::StrSplit(*text, '\n');
    for (size_t i = 0; i < lines.size(); ++i) {
      std::string key(absl::StripAsciiWhitespace(lines[i]));
      if (key.empty() || key.front() == '#')
        continue;
      if (absl::Status status = CheckKey(key, fmt::format("--api-key-file: line {} of {}", i + 1, file)); !status.ok())
        return status;
      keys.push_back(std::move(key));
    }
    if (keys.size() == flags.size())
      return absl::InvalidArgumentError(
          fmt::format("--api-key-file: {} contains no key; write one key per line", file));
  }
  if (keys.empty() && environment && *environment) {
    if (absl::Status status = CheckKey(environment, "the environment variable INLAY_API_KEY"); !status.ok())
      return status;
    keys.emplace_back(environment);
  }
  return keys;
}

} // namespace inlay::serve
