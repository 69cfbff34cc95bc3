// Checks JSON one byte at a time (RFC 8259), for text that is still being generated.
#ifndef INLAY_RUNTIME_SERVE_JSON_SCANNER_H_
#define INLAY_RUNTIME_SERVE_JSON_SCANNER_H_

#include <string_view>
#include <vector>

namespace inlay::serve {

// Scans one object or array. White space before it is an error.
class JsonScanner {
public:
  static constexpr int kMaxDepth = 64;

  // The effect of a byte. kKeyBegin, kKeyEnd: the opening and closing quote of a member's name. kValueBegin: the first
  // byte of any value. kStringEnd, kContainerEnd: the last byte of a string, or of an object or array. The end of
  // numbers and literals has no event.
  enum class Event { kNone, kKeyBegin, kKeyEnd, kValueBegin, kStringEnd, kContainerEnd, kBad };

  // After kBad or the end of the outermost container every further byte is kBad.
  Event Take(char c);
  // How many containers are open.
  int depth() const { return static_cast<int>(open_.size()); }

private:
  enum class State {
    kStart,
    kValue,
    kValueOrEnd,
    kKey,
    kKeyOrEnd,
    kColon,
    kCommaOrEnd,
    kString,
    kEscape,
    kHex,
    kMinus,
    kZero,
    kInteger,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
    kLiteral,
    kEnd
  };

  Event Bad() {
    state_ = State::kEnd;
    return Event::kBad;
  }
  Event BeginValue(char c);
  Event Open(char c);
  Event Close(char c);
  Event TakeString(char c);
  // Whether `c` continues the number; sets the next state. Returns false if the number ended before `c`, or sets
  // `is_bad` if it cannot end there.
  bool TakeNumber(char c, bool &is_bad);

  State state_ = State::kStart;
  std::vector<char> open_; // '{' or '['
  std::string_view literal_;
  int hex_left_ = 0;
  bool is_key_ = false;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_JSON_SCANNER_H_
