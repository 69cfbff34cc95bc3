// The API keys of the server, and the check of a request's key.
#ifndef INLAY_RUNTIME_SERVE_AUTHORIZATION_H_
#define INLAY_RUNTIME_SERVE_AUTHORIZATION_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::serve {

// Keeps digests of the keys, not the keys.
class ApiKeys {
public:
  ApiKeys() = default; // no keys: all requests are allowed
  explicit ApiKeys(const std::vector<std::string> &keys);

  bool empty() const { return digests_.empty(); }
  // Whether `authorization`, the value of the Authorization header, contains one of the keys: as "Bearer KEY", or as
  // the password of "Basic ..." (which browsers send after they asked the user for a password). Compares the digest
  // with those of all keys in constant time, so that the duration reveals nothing about the keys.
  bool Admit(std::string_view authorization) const;

private:
  using Digest = std::array<unsigned char, 32>; // SHA-256
  static Digest DigestOf(std::string_view text);

  std::vector<Digest> digests_;
};

// Returns the keys of `flags` (--api-key) and the keys in `file` (--api-key-file; empty: no file), one per line. If
// both give no key, returns the key in `environment` (INLAY_API_KEY; null or empty: not set). Empty lines of the file
// and lines that begin with '#' are skipped. InvalidArgument: the file cannot be read or contains no key, or a key is
// empty or contains characters that a header cannot carry.
absl::StatusOr<std::vector<std::string>> CollectApiKeys(const std::vector<std::string> &flags, const std::string &file,
                                                        const char *environment);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_AUTHORIZATION_H_
