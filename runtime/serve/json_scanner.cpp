#include "runtime/serve/json_scanner.h"

namespace inlay::serve {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

} // namespace

JsonScanner::Event JsonScanner::Open(char c) {
  if (depth() == kMaxDepth)
    return Bad();
  open_.push_back(c);
  state_ = c == '{' ? State::kKeyOrEnd : State::kValueOrEnd;
  return Event::kValueBegin;
}

JsonScanner::Event JsonScanner::Close(char c) {
  if (open_.empty() || open_.back() != (c == '}' ? '{' : '['))
    return Bad();
  open_.pop_back();
  state_ = open_.empty() ? State::kEnd : State::kCommaOrEnd;
  return Event::kContainerEnd;
}

JsonScanner::Event JsonScanner::BeginValue(char c) {
  switch (c) {
  case '{':
  case '[':
    return Open(c);
  case '"':
    state_ = State::kString;
    is_key_ = false;
    return Event::kValueBegin;
  case 't':
    literal_ = "rue";
    break;
  case 'f':
    literal_ = "alse";
    break;
  case 'n':
    literal_ = "ull";
    break;
  default:
    if (c != '-' && !IsDigit(c))
      return Bad();
    state_ = c == '-' ? State::kMinus : c == '0' ? State::kZero : State::kInteger;
    return Event::kValueBegin;
  }
  state_ = State::kLiteral;
  return Event::kValueBegin;
}

JsonScanner::Event JsonScanner::TakeString(char c) {
  if (state_ == State::kHex) {
    if (!IsHex(c))
      return Bad();
    if (--hex_left_ == 0)
      state_ = State::kString;
    return Event::kNone;
  }
  if (state_ == State::kEscape) {
    if (c == 'u')
      hex_left_ = 4;
    else if (std::string_view("\"\\/bfnrt").find(c) == std::string_view::npos)
      return Bad();
    state_ = c == 'u' ? State::kHex : State::kString;
    return Event::kNone;
  }
  if (c == '"') {
    state_ = is_key_ ? State::kColon : State::kCommaOrEnd;
    return is_key_ ? Event::kKeyEnd : Event::kStringEnd;
  }
  if (static_cast<unsigned char>(c) < 0x20)
    return Bad();
  if (c == '\\')
    state_ = State::kEscape;
  return Event::kNone;
}

bool JsonScanner::TakeNumber(char c, bool &is_bad) {
  bool is_digit = IsDigit(c), is_point = c == '.', is_exponent = c == 'e' || c == 'E';
  auto go = [&](State next) {
    state_ = next;
    return true;
  };
  switch (state_) {
  case State::kMinus:
    if (is_digit)
      return go(c == '0' ? State::kZero : State::kInteger);
    break;
  case State::kZero:
  case State::kInteger:
    if (is_digit && state_ == State::kInteger)
      return true;
    if (is_point)
      return go(State::kPoint);
    if (is_exponent)
      return go(State::kExponent);
    return false;
  case State::kPoint:
    if (is_digit)
      return go(State::kFraction);
    break;
  case State::kFraction:
    if (is_exponent)
      return go(State::kExponent);
    return is_digit;
  case State::kExponent:
    if (c == '+' || c == '-')
      return go(State::kExponentSign);
    [[fallthrough]];
  case State::kExponentSign:
    if (is_digit)
      return go(State::kExponentDigits);
    break;
  default: // kExponentDigits
    return is_digit;
  }
  is_bad = true;
  return false;
}

JsonScanner::Event JsonScanner::Take(char c) {
  switch (state_) {
  case State::kString:
  case State::kEscape:
  case State::kHex:
    return TakeString(c);
  case State::kMinus:
  case State::kZero:
  case State::kInteger:
  case State::kPoint:
  case State::kFraction:
  case State::kExponent:
  case State::kExponentSign:
  case State::kExponentDigits: {
    bool is_bad = false;
    if (TakeNumber(c, is_bad))
      return Event::kNone;
    if (is_bad)
      return Bad();
    state_ = State::kCommaOrEnd; // `c` comes after the number
    break;
  }
  case State::kLiteral:
    if (literal_.front() != c)
      return Bad();
    literal_.remove_prefix(1);
    if (literal_.empty())
      state_ = State::kCommaOrEnd;
    return Event::kNone;
  case State::kStart:
    return c == '{' || c == '[' ? Open(c) : Bad();
  case State::kEnd:
    return Bad();
  default:
    break;
  }
  if (IsSpace(c))
    return Event::kNone;
  switch (state_) {
  case State::kValue:
    return BeginValue(c);
  case State::kValueOrEnd:
    return c == ']' ? Close(c) : BeginValue(c);
  case State::kKey:
  case State::kKeyOrEnd:
    if (c == '}' && state_ == State::kKeyOrEnd)
      return Close(c);
    if (c != '"')
      return Bad();
    state_ = State::kString;
    is_key_ = true;
    return Event::kKeyBegin;
  case State::kColon:
    if (c != ':')
      return Bad();
    state_ = State::kValue;
    return Event::kNone;
  default: // kCommaOrEnd
    if (c != ',')
      return c == '}' || c == ']' ? Close(c) : Bad();
    state_ = open_.back() == '{' ? State::kKey : State::kValue;
    return Event::kNone;
  }
}

} // namespace inlay::serve
