// Whether a request carries the server's key.
#ifndef INLAY_RUNTIME_SERVE_AUTHORIZATION_H_
#define INLAY_RUNTIME_SERVE_AUTHORIZATION_H_

#include <string>
#include <string_view>
#include <vector>

namespace inlay::serve {

// The key of "Bearer KEY", or the password of "Basic ..." (what a browser sends that was asked for one); else empty.
std::string KeyOf(std::string_view authorization);

// Compares digests in constant time, with all keys, so that the time tells nothing of them.
bool IsOneOf(std::string_view key, const std::vector<std::string> &keys);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_AUTHORIZATION_H_
