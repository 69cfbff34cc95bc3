// Calls written as JSON objects: {"name": ..., "arguments" or "parameters": {...}}.
#ifndef INLAY_RUNTIME_SERVE_JSON_CALL_H_
#define INLAY_RUNTIME_SERVE_JSON_CALL_H_

#include "runtime/serve/call_reader.h"
#include "runtime/serve/json_scanner.h"

namespace inlay::serve {

// Reads one object, from '{' to '}'. It is a call if its name is that of a tool and its arguments are an object or a
// string that contains one. Members may come in any order; other members are ignored. The call begins in the sink as
// soon as its name is known and its arguments have begun. The last '}' of the arguments is sent only when the whole
// object has ended, so the arguments of an incomplete call are never valid JSON.
class JsonCall {
public:
  explicit JsonCall(const ToolSet &tools) : tools_(tools) {}
  void Reset() { state_ = {}; }
  CallReader::Status Take(char c, CallSink &sink);
  bool has_begun() const { return state_.has_begun; }

private:
  enum class Role { kOther, kName, kArguments };
  struct State {
    JsonScanner scanner;
    std::string string; // the member name or string value being read, with its quotes
    Role role = Role::kOther;
    bool reads_string = false, reads_arguments = false;
    bool is_no_call = false, has_name = false, has_arguments = false, has_begun = false;
    std::string name;
    std::string arguments; // not yet sent
  };

  CallReader::Status NoCall();
  bool TakeStringEnd();
  void Send(CallSink &sink);

  const ToolSet &tools_;
  State state_;
};

// Reads calls that are JSON objects: single objects or lists of objects, with or without a mark before them.
class JsonCallReader : public CallReader {
public:
  struct Spec {
    std::string_view open;       // the mark before calls; not content if a call follows
    std::string_view close = {}; // the mark after calls; empty: none
    bool is_bare = false;        // calls may occur anywhere without the mark
    std::string_view separators = " \t\r\n,";
  };
  JsonCallReader(const ToolSet &tools, Spec spec) : CallReader(tools), spec_(spec), call_(tools) {}

  std::string_view separators() const override { return spec_.separators; }
  bool CanBegin(char c, const Place &place) const override;
  void Begin(const Place &place) override;
  Status Take(char c, CallSink &sink) override;
  bool has_begun() const override { return call_.has_begun(); }

protected:
  // Takes a byte after the opening mark that begins neither a list nor an object, and the bytes after it.
  virtual Status TakeOther(char c, CallSink &sink);

private:
  enum class Step { kMark, kSpace, kCall, kOther };
  enum Mark { kOpen, kObject, kList, kClose, kEndOfList };

  Status TakeMark(char c, CallSink &sink);
  Status TakeCall(char c, CallSink &sink);

  Spec spec_;
  JsonCall call_;
  MarkMatcher marks_;
  Step step_ = Step::kMark;
  OpenGroup group_; // around the last call
  OpenGroup next_;  // around the call being read
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_JSON_CALL_H_
