#include "runtime/serve/json_call.h"

namespace inlay::serve {
namespace {

// The value of a JSON string literal (with quotes) that the scanner accepted. Empty if it has lone surrogates.
std::string TextOf(const std::string &string) {
  Json json = Json::parse(string, /*cb=*/nullptr, /*allow_exceptions=*/false);
  return json.is_string() ? json.get<std::string>() : std::string();
}

} // namespace

CallReader::Status JsonCall::NoCall() {
  if (state_.has_begun)
    return CallReader::Status::kRejected;
  state_.is_no_call = true;
  return state_.scanner.depth() == 0 ? CallReader::Status::kContentEnd : CallReader::Status::kContent;
}

// Handles the end of a string that is a direct member of the call object. Returns false if the object is not a call.
bool JsonCall::TakeStringEnd() {
  if (state_.role == Role::kName) {
    state_.name = TextOf(state_.string);
    state_.has_name = true;
    return tools_.Find(state_.name) != nullptr;
  }
  if (state_.role == Role::kArguments) {
    state_.arguments = TextOf(state_.string);
    while (!state_.arguments.empty() && IsCallSpace(state_.arguments.back()))
      state_.arguments.pop_back();
    Json parsed;
    return !ParseObject(state_.arguments, JsonScanner::kMaxDepth, parsed);
  }
  return true;
}

// Sends the arguments read so far, except the last byte of complete arguments.
void JsonCall::Send(CallSink &sink) {
  if (!state_.has_name || !state_.has_arguments)
    return;
  if (!std::exchange(state_.has_begun, true))
    sink.Begin(state_.name);
  size_t kept = state_.reads_arguments ? 0 : std::min<size_t>(1, state_.arguments.size());
  size_t sent = state_.arguments.size() - kept;
  sink.Arguments(std::string_view(state_.arguments).substr(0, sent));
  state_.arguments.erase(0, sent);
}

CallReader::Status JsonCall::Take(char c, CallSink &sink) {
  using Event = JsonScanner::Event;
  Event event = state_.scanner.Take(c);
  int depth = state_.scanner.depth();
  if (event == Event::kBad)
    return state_.is_no_call ? CallReader::Status::kContentEnd : CallReader::Status::kRejected;
  if (state_.is_no_call)
    return depth == 0 ? CallReader::Status::kContentEnd : CallReader::Status::kContent;
  if (state_.reads_string)
    state_.string += c;
  if (state_.reads_arguments) {
    state_.arguments += c;
    state_.reads_arguments = !(event == Event::kContainerEnd && depth == 1);
    Send(sink);
    return CallReader::Status::kMore;
  }
  bool opens = event == Event::kValueBegin && (c == '{' || c == '[');
  if (depth - (opens ? 1 : 0) > 1) // inside another member
    return CallReader::Status::kMore;
  switch (event) {
  case Event::kKeyBegin:
    state_.reads_string = true;
    state_.string = c;
    break;
  case Event::kKeyEnd: {
    state_.reads_string = false;
    std::string key = TextOf(state_.string);
    state_.role = key == "name"                               ? Role::kName
                  : key == "arguments" || key == "parameters" ? Role::kArguments
                                                              : Role::kOther;
    break;
  }
  case Event::kValueBegin:
    if (depth == 1 && opens) // the object itself
      break;
    if (state_.role == Role::kOther)
      break;
    if (state_.role == Role::kName ? state_.has_name || c != '"' : state_.has_arguments || (c != '"' && c != '{'))
      return NoCall();
    if (c == '"') {
      state_.reads_string = true;
      state_.string = c;
      break;
    }
    state_.has_arguments = state_.reads_arguments = true;
    state_.arguments = c;
    Send(sink);
    break;
  case Event::kStringEnd:
    if (!std::exchange(state_.reads_string, false))
      break;
    if (!TakeStringEnd())
      return NoCall();
    state_.has_arguments |= state_.role == Role::kArguments;
    Send(sink);
    break;
  case Event::kContainerEnd:
    if (depth > 0)
      break;
    if (!state_.has_begun)
      return NoCall();
    sink.Arguments(state_.arguments);
    sink.End();
    return CallReader::Status::kAccepted;
  default:
    break;
  }
  return CallReader::Status::kMore;
}

// --- Around the objects ---------------------------------------------------------

bool JsonCallReader::CanBegin(char c, const Place &place) const {
  bool goes_on = place.is_adjacent && group_.any();
  return c == spec_.open.front() || (c == '{' && (spec_.is_bare || goes_on)) || (c == '[' && spec_.is_bare) ||
         (c == ']' && group_.list && place.is_adjacent) || (group_.tag && c == spec_.close.front());
}

void JsonCallReader::Begin(const Place &place) {
  step_ = Step::kMark;
  next_ = group_;
  call_.Reset();
  marks_.Reset();
  marks_.Add(kOpen, spec_.open);
  if (spec_.is_bare || (place.is_adjacent && group_.any()))
    marks_.Add(kObject, "{");
  if (spec_.is_bare)
    marks_.Add(kList, "[");
  if (group_.tag)
    marks_.Add(kClose, spec_.close);
  if (group_.list && place.is_adjacent)
    marks_.Add(kEndOfList, "]");
}

CallReader::Status JsonCallReader::TakeMark(char c, CallSink &sink) {
  switch (marks_.Take(c)) {
  case MarkMatcher::kMore:
    return Status::kMore;
  case kOpen:
    group_ = {};
    next_ = {.tag = !spec_.close.empty(), .list = false};
    step_ = Step::kSpace;
    return Status::kMore;
  case kList:
    next_.list = true;
    step_ = Step::kSpace;
    return Status::kMore;
  case kObject:
    return TakeCall(c, sink);
  case kClose:
    group_ = {};
    return Status::kClosed;
  case kEndOfList:
    group_.list = false;
    return Status::kClosed;
  default:
    return Status::kRejected;
  }
}

CallReader::Status JsonCallReader::TakeCall(char c, CallSink &sink) {
  step_ = Step::kCall;
  Status status = call_.Take(c, sink);
  if (status == Status::kAccepted)
    group_ = next_;
  return status;
}

CallReader::Status JsonCallReader::TakeOther(char, CallSink &) { return Status::kRejected; }

CallReader::Status JsonCallReader::Take(char c, CallSink &sink) {
  switch (step_) {
  case Step::kMark:
    return TakeMark(c, sink);
  case Step::kCall:
    return TakeCall(c, sink);
  case Step::kSpace:
    if (IsCallSpace(c))
      return Status::kMore;
    if (c == '{')
      return TakeCall(c, sink);
    if (c == '[' && !next_.list) {
      next_.list = true;
      return Status::kMore;
    }
    if (next_.list) // the list contains other values than objects
      return Status::kRejected;
    step_ = Step::kOther;
    [[fallthrough]];
  default:
    return TakeOther(c, sink);
  }
}

} // namespace inlay::serve
