#include "runtime/serve/http_parser.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "fmt/format.h"

#include <algorithm>
#include <vector>

namespace inlay::serve {
namespace {

// The maximum length of a line with a chunk's size and its extensions, in bytes.
constexpr size_t kChunkLine = 4096;

bool IsToken(std::string_view text) {
  constexpr std::string_view kSymbols = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || kSymbols.find(c) != std::string_view::npos;
  });
}

bool IsDigits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Whether all characters may occur in a field's value (RFC 9110, 5.5): no control characters except the tab.
bool IsFieldValue(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

// Removes the optional white space (OWS, RFC 9110, 5.6.3) at both ends.
std::string_view Trim(std::string_view text) {
  size_t first = text.find_first_not_of(" \t");
  return first == std::string_view::npos ? std::string_view()
                                         : text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return absl::EqualsIgnoreCase(absl::string_view(a.data(), a.size()), absl::string_view(b.data(), b.size()));
}

// The members of a comma-separated list, trimmed, including empty ones.
std::vector<std::string_view> Members(std::string_view list) {
  std::vector<std::string_view> members;
  for (size_t begin = 0; begin <= list.size();) {
    size_t comma = std::min(list.find(',', begin), list.size());
    members.push_back(Trim(list.substr(begin, comma - begin)));
    begin = comma + 1;
  }
  return members;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

} // namespace

void RequestParser::Fail(std::string_view what, int status) {
  if (error_)
    return;
  const char *code = status == 413 ? "body_too_large" : status == 431 ? "header_too_large" : "invalid_http";
  std::string_view prefix = status == 400 ? "the request is not valid HTTP: " : "";
  error_ = ApiError{.status = status, .message = fmt::format("{}{}", prefix, what), .code = code};
}

size_t RequestParser::Feed(std::string_view data) {
  size_t size = data.size();
  const bool had_head = has_head();
  while (!error_ && !is_done() && (has_head() == had_head) && Step(data)) {
  }
  return size - data.size();
}

bool RequestParser::Step(std::string_view &data) {
  std::string_view line;
  switch (state_) {
  case State::kRequestLine:
  case State::kFields: {
    size_t before = data.size();
    if (!TakeLine(data, limits_.header_bytes - std::min<size_t>(head_bytes_, limits_.header_bytes), line))
      return false;
    head_bytes_ += before - data.size();
    if (state_ == State::kRequestLine &&
        !line.empty()) // RFC 9112, 2.2: empty lines before the request line are ignored
      ReadRequestLine(line);
    else if (state_ == State::kFields && line.empty())
      FinishHead();
    else if (state_ == State::kFields)
      ReadField(line, /*is_trailer=*/false);
    return true;
  }
  case State::kLength:
  case State::kChunkData:
    return TakeData(data);
  case State::kChunkSize:
    if (!TakeLine(data, kChunkLine, line))
      return false;
    ReadChunkSize(line);
    return true;
  case State::kChunkEnd:
    if (data.empty())
      return false;
    if (data.front() != '\r' || (data.size() > 1 && data[1] != '\n'))
      Fail("the data of a chunk does not end where its size says");
    if (data.size() < 2)
      return false;
    data.remove_prefix(2);
    state_ = State::kChunkSize;
    return true;
  case State::kTrailers:
    if (!TakeLine(data, limits_.header_bytes - std::min<size_t>(overhead_bytes_, limits_.header_bytes), line))
      return false;
    overhead_bytes_ += line.size() + 2;
    if (line.empty())
      state_ = State::kDone;
    else
      ReadField(line, /*is_trailer=*/true);
    return true;
  case State::kDone:
    return false;
  }
  return false;
}

// Takes a line that ends in CRLF from `data`. `line` excludes the CRLF; `limit` (bytes) includes it.
bool RequestParser::TakeLine(std::string_view &data, size_t limit, std::string_view &line) {
  size_t end = data.find('\n');
  size_t carriage = data.find('\r');
  // A carriage return at the end of the received bytes may be the first half of a CRLF.
  bool is_half = end == std::string_view::npos && carriage + 1 == data.size();
  if (carriage < end && carriage + 1 != end && !is_half)
    Fail("a carriage return is not followed by a line feed");
  else if (end != std::string_view::npos && carriage > end)
    Fail("a line ends in a bare line feed; lines must end in CR LF");
  else if ((end == std::string_view::npos ? data.size() : end + 1) > limit && state_ == State::kChunkSize)
    Fail(fmt::format("the line of a chunk's size has more than {} bytes", limit));
  else if ((end == std::string_view::npos ? data.size() : end + 1) > limit)
    Fail(fmt::format("the header is larger than {} bytes", limits_.header_bytes), 431);
  if (error_ || end == std::string_view::npos)
    return false;
  line = data.substr(0, end - 1);
  data.remove_prefix(end + 1);
  return true;
}

bool RequestParser::TakeData(std::string_view &data) {
  auto size = static_cast<size_t>(std::min<uint64_t>(remaining_, data.size()));
  request_.body.append(data.substr(0, size));
  data.remove_prefix(size);
  remaining_ -= size;
  if (remaining_ > 0)
    return false;
  state_ = state_ == State::kLength ? State::kDone : State::kChunkEnd;
  return true;
}

void RequestParser::ReadRequestLine(std::string_view line) {
  size_t first = line.find(' '), second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || line.find(' ', second + 1) != std::string_view::npos)
    return Fail("the first line is not 'METHOD TARGET HTTP/1.1' with single spaces");
  std::string_view method = line.substr(0, first), target = line.substr(first + 1, second - first - 1),
                   version = line.substr(second + 1);
  if (!IsToken(method))
    return Fail("the method is not a token");
  if (version.size() != 8 || !version.starts_with("HTTP/") || !IsDigits(version.substr(5, 1)) || version[6] != '.' ||
      !IsDigits(version.substr(7)))
    return Fail("the first line does not end in an HTTP version such as HTTP/1.1");
  if (version != "HTTP/1.1" && version != "HTTP/1.0")
    return Fail(fmt::format("this server speaks HTTP/1.1, not {}; clients with HTTP/2 prior knowledge must be set to "
                            "HTTP/1.1",
                            version),
                505);
  minor_version_ = version.back() - '0';
  request_.method = std::string(method);
  ReadTarget(target);
  state_ = State::kFields;
}

// RFC 9112, 3.2: origin form, absolute form, authority form (CONNECT) or asterisk form (OPTIONS).
void RequestParser::ReadTarget(std::string_view target) {
  if (target.empty() || !std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
    return Fail("the target contains characters that must be percent-encoded");
  if (target.find('#') != std::string_view::npos)
    return Fail("the target has a fragment");
  if (request_.method == "CONNECT" || (request_.method == "OPTIONS" && target == "*")) {
    request_.path = std::string(target);
    return;
  }
  for (std::string_view scheme : {"http://", "https://"})
    if (EqualsIgnoreCase(target.substr(0, scheme.size()), scheme)) {
      target.remove_prefix(scheme.size());
      size_t end = std::min(target.find_first_of("/?"), target.size());
      if (end == 0)
        return Fail("the target is a URL without a host");
      target.remove_prefix(end);
      request_.path = target.starts_with('/') ? "" : "/";
      request_.path += target.substr(0, target.find('?'));
      return;
    }
  if (!target.starts_with('/'))
    return Fail("the target neither begins with '/' nor is a URL");
  request_.path = std::string(target.substr(0, target.find('?')));
}

void RequestParser::ReadField(std::string_view line, bool is_trailer) {
  if (line.front() == ' ' || line.front() == '\t')
    return Fail("a line of the header begins with white space (obsolete line folding)");
  size_t colon = line.find(':');
  if (colon == std::string_view::npos)
    return Fail("a line of the header has no colon");
  std::string_view name = line.substr(0, colon), value = Trim(line.substr(colon + 1));
  if (!name.empty() && (name.back() == ' ' || name.back() == '\t'))
    return Fail("there is white space between a field's name and its colon");
  if (!IsToken(name))
    return Fail("the name of a field is not a token");
  if (!IsFieldValue(value))
    return Fail("the value of a field contains control characters");
  // RFC 9110, 6.5.1: trailers may be ignored, and are never merged into the header.
  if (!is_trailer)
    request_.headers.emplace_back(absl::AsciiStrToLower(absl::string_view(name.data(), name.size())), value);
}

void RequestParser::FinishHead() {
  state_ = State::kDone; // a request without a body
  for (std::string_view name : {"host", "content-length", "content-type", "authorization", "expect"})
    if (std::count_if(request_.headers.begin(), request_.headers.end(), [&](auto &f) { return f.first == name; }) > 1)
      Fail(fmt::format("the field {} is given more than once", name));
  CheckHost();
  CheckFraming();
  CheckConnection();
}

// RFC 9112, 3.2: HTTP/1.1 requires exactly one Host field. Its value may be empty.
void RequestParser::CheckHost() {
  const std::string *host = request_.Find("host");
  if (!host && minor_version_ == 1)
    return Fail("the header has no Host");
  constexpr std::string_view kSymbols = "-._~%!$&'()*+;=:[]";
  if (host && !std::all_of(host->begin(), host->end(), [&](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || kSymbols.find(c) != std::string_view::npos;
      }))
    Fail("the value of Host is not HOST or HOST:PORT");
}

// RFC 9112, 6.1 to 6.3.
void RequestParser::CheckFraming() {
  const std::string *length = request_.Find("content-length");
  std::string codings;
  bool is_coded = false;
  for (const auto &[name, value] : request_.headers)
    if (name == "transfer-encoding")
      codings += (std::exchange(is_coded, true) ? "," : "") + value;
  if (is_coded && length)
    return Fail("Content-Length and Transfer-Encoding are both given");
  if (is_coded)
    return CheckTransferEncoding(codings);
  if (length)
    CheckContentLength(*length);
}

void RequestParser::CheckTransferEncoding(std::string_view codings) {
  if (minor_version_ == 0)
    return Fail("Transfer-Encoding is not allowed with HTTP/1.0");
  std::vector<std::string_view> members = Members(codings);
  if (!EqualsIgnoreCase(members.back(), "chunked"))
    return Fail("the last transfer coding is not chunked");
  members.pop_back();
  for (std::string_view coding : members)
    if (!IsToken(coding) || EqualsIgnoreCase(coding, "chunked"))
      return Fail("Transfer-Encoding is not a list of codings that ends in one 'chunked'");
  if (!members.empty())
    return Fail("chunked is the only transfer coding that this server supports", 501);
  state_ = State::kChunkSize;
}

void RequestParser::CheckContentLength(std::string_view length) {
  if (!IsDigits(length))
    return Fail("Content-Length is not one decimal number");
  uint64_t size = 0;
  for (char digit : length)
    if (size <= limits_.body_bytes) // stop adding digits above the limit; avoids an overflow
      size = size * 10 + static_cast<uint64_t>(digit - '0');
  if (size > limits_.body_bytes)
    return Fail(fmt::format("the body is larger than {} bytes (--max-body-bytes)", limits_.body_bytes), 413);
  remaining_ = size;
  if (size > 0)
    state_ = State::kLength;
}

void RequestParser::CheckConnection() {
  bool closes = minor_version_ == 0;
  for (const auto &[name, value] : request_.headers)
    if (name == "connection")
      for (std::string_view option : Members(value)) {
        if (EqualsIgnoreCase(option, "keep-alive") && minor_version_ == 0)
          closes = false;
        if (EqualsIgnoreCase(option, "close")) {
          keep_alive_ = false;
          return;
        }
      }
  keep_alive_ = !closes;
  if (const std::string *expect = request_.Find("expect"); expect && minor_version_ == 1) {
    expects_continue_ = EqualsIgnoreCase(*expect, "100-continue");
    if (!expects_continue_)
      Fail("100-continue is the only Expect value that this server supports", 417);
  }
}

// RFC 9112, 7.1: 1*HEXDIG [ chunk-ext ].
void RequestParser::ReadChunkSize(std::string_view line) {
  constexpr size_t kDigits = 16; // hexadecimal digits of 64 bits
  size_t digits = 0;
  uint64_t size = 0;
  for (; digits < line.size() && HexDigit(line[digits]) >= 0; ++digits) {
    if (digits >= kDigits)
      return Fail("the size of a chunk has more than 16 digits");
    size = size * 16 + static_cast<uint64_t>(HexDigit(line[digits]));
  }
  std::string_view rest = line.substr(digits), extension = Trim(rest);
  if (digits == 0 || (!extension.empty() && extension.front() != ';') || !IsFieldValue(extension))
    return Fail("the size of a chunk is not a hexadecimal number");
  overhead_bytes_ += rest.size();
  if (overhead_bytes_ > limits_.header_bytes)
    return Fail(fmt::format("the extensions of chunks have more than {} bytes", limits_.header_bytes));
  if (size > limits_.body_bytes - std::min<uint64_t>(request_.body.size(), limits_.body_bytes))
    return Fail(fmt::format("the body is larger than {} bytes (--max-body-bytes)", limits_.body_bytes), 413);
  remaining_ = size;
  state_ = size == 0 ? State::kTrailers : State::kChunkData;
}

} // namespace inlay::serve
