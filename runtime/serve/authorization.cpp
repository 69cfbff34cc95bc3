#include "runtime/serve/authorization.h"

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <array>

namespace inlay::serve {
namespace {

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Digest DigestOf(std::string_view text) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char *>(text.data()), text.size(), digest.data());
  return digest;
}

// What follows the scheme's name, which may be written in any case.
bool TakeScheme(std::string_view &authorization, std::string_view scheme) {
  if (authorization.size() <= scheme.size() || authorization[scheme.size()] != ' ' ||
      !absl::EqualsIgnoreCase(absl::string_view(authorization.data(), scheme.size()),
                              absl::string_view(scheme.data(), scheme.size())))
    return false;
  authorization.remove_prefix(scheme.size() + 1);
  return true;
}

} // namespace

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

bool IsOneOf(std::string_view key, const std::vector<std::string> &keys) {
  Digest given = DigestOf(key);
  bool found = false;
  for (const std::string &known : keys)
    found |= CRYPTO_memcmp(given.data(), DigestOf(known).data(), given.size()) == 0;
  return found && !key.empty();
}

} // namespace inlay::serve
