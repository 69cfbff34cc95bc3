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
  ApiKeys() = default; // none: everyone may
  explicit ApiKeys(const std::vector<std::string> &keys);

  bool empty() const { return digests_.empty(); }
  // Whether `authorization`, the value of the field, carries one of the keys: as "Bearer KEY", or as the password of
  // "Basic ..." (what a browser sends that was asked for one). Compares digests in constant time, with all keys, so
  // that the time tells nothing about them.
  bool Admit(std::string_view authorization) const;

private:
  using Digest = std::array<unsigned char, 32>; // SHA-256
  static Digest DigestOf(std::string_view text);

  std::vector<Digest> digests_;
};

// The keys of `flags` (--api-key) and of the lines of `file` (--api-key-file; empty: none). If both give none, the key
// in `environment` (INLAY_API_KEY; null or empty: none). In a file, empty lines and lines that begin with '#' do not
// count. InvalidArgument: a file that cannot be read or holds no key, a key that is empty or that no header can carry.
absl::StatusOr<std::vector<std::string>> CollectApiKeys(const std::vector<std::string> &flags, const std::string &file,
                                                        const char *environment);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_AUTHORIZATION_H_
