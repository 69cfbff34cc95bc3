#include "formats/tokenizer/template_engine.h"

#include "formats/tokenizer/template_tables.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace inlay::tokenizer {

const char *TypeName(const Value &value) {
  constexpr const char *kNames[] = {
      "undefined", "none",      "bool",     "int",  "float", "str",  "list",     "tuple",
      "dict",      "namespace", "callable", "loop", "range", "view", "iterator", "int of more than 64 bits"};
  if (value.kind == Value::Kind::kView)
    return value.view->type.data();
  if (value.kind == Value::Kind::kIterator)
    return value.iterator->type.data();
  return kNames[static_cast<int>(value.kind)];
}

Value Engine::Fail(std::string_view message, absl::StatusCode code) {
  if (!failed()) {
    std::string text = fmt::format("{}: line {}: {}", file_, line_, message);
    status_ = absl::Status(code, text);
  }
  return {};
}

Value Engine::FailUndefined(const Value &value) { return Fail(fmt::format("{} is undefined", Quoted(*value.text))); }

Value Engine::FailOutput() {
  return Fail(fmt::format("found more than {} bytes of text, expected a shorter prompt", limits_.output_bytes),
              absl::StatusCode::kResourceExhausted);
}

bool Engine::Charge(int64_t steps) {
  steps_ += steps;
  if (steps_ > limits_.steps)
    Fail(
        fmt::format("found more than {} steps, expected a template that finishes; fix: shorten the chat or correct the "
                    "template",
                    limits_.steps),
        absl::StatusCode::kResourceExhausted);
  return !failed();
}

void Engine::Append(std::string &out, std::string_view text) {
  if (text.size() > limits_.output_bytes - std::min(limits_.output_bytes, out.size()))
    FailOutput();
  else if (ChargeBytes(text.size()))
    out += text;
}

Value Engine::MakeString(std::string text, bool markup) {
  if (text.size() > limits_.output_bytes)
    return FailOutput();
  ChargeBytes(text.size());
  Value out = Value::String(std::move(text));
  out.markup = markup;
  return out;
}

Value Engine::MakeList(List items) {
  Charge(static_cast<int64_t>(items.size()));
  return arena.MakeList(std::move(items));
}

Value Engine::Call(const Value &callee, const Arguments &arguments) {
  Nested nested(*this);
  if (failed())
    return {};
  if (callee.undefined())
    return FailUndefined(callee);
  if (callee.kind == Value::Kind::kLoop) {
    if (arguments.positional.size() != 1 || !arguments.named.empty())
      return Fail("loop: expected one argument, the value to iterate over");
    return CallLoop(*callee.loop, arguments.positional[0]);
  }
  if (callee.kind != Value::Kind::kCallable)
    return Fail(fmt::format("found a call of a {}, expected a macro, a method or a function", TypeName(callee)));
  const Callable &callable = *callee.callable;
  if (callable.kind == Callable::Kind::kMacro)
    return CallMacro(callable, arguments);
  const Function *function =
      callable.kind == Callable::Kind::kGlobal ? FindGlobal(callable.name) : FindMethod(callable.self, callable.name);
  return CallFunction(*this, *function, callable.self, arguments);
}

} // namespace inlay::tokenizer
