#include "runtime/serve/tool_calls.h"

#include "fmt/format.h"
#include "runtime/serve/fields.h"

#include <algorithm>
#include <random>

namespace inlay::serve {
namespace {

constexpr int kDepth = 64;

// {"name": ..., "arguments" or "parameters": {...}}.
bool ReadCall(const Json &json, std::vector<ToolCall> &calls) {
  if (!json.is_object() || !json.contains("name") || !json["name"].is_string())
    return false;
  ToolCall call{RandomId("call_"), json["name"].get<std::string>(), "{}"};
  for (const char *key : {"arguments", "parameters"})
    if (json.contains(key)) {
      const Json &arguments = json[key];
      if (!arguments.is_object())
        return false;
      call.arguments = arguments.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
    }
  calls.push_back(std::move(call));
  return true;
}

// ParseObject takes objects only, so a list is put into one.
bool ReadCalls(std::string_view text, std::vector<ToolCall> &calls) {
  Json holder;
  if (ParseObject(fmt::format("{{\"calls\":{}}}", text), kDepth, holder) || holder.size() != 1)
    return false;
  const Json &found = holder["calls"];
  if (!found.is_array())
    return ReadCall(found, calls);
  std::vector<ToolCall> read;
  if (found.empty() || !std::all_of(found.begin(), found.end(), [&](const Json &one) { return ReadCall(one, read); }))
    return false;
  calls.insert(calls.end(), read.begin(), read.end());
  return true;
}

class HermesParser : public ToolCallParser {
public:
  Output Push(std::string_view text) override {
    held_ += text;
    Output out;
    while (true) {
      std::string_view marker = in_call_ ? kClose : kOpen;
      size_t at = held_.find(marker);
      if (at == std::string::npos)
        break;
      Pass(at, out);
      held_.erase(0, marker.size());
      in_call_ = !in_call_;
    }
    if (!in_call_)
      Pass(held_.size() - Overlap(), out);
    return out;
  }
  Output Finish() override {
    Output out;
    // A call that the end of the answer cut off may still be whole.
    Pass(held_.size(), out);
    in_call_ = false;
    return out;
  }

private:
  static constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>";

  // What could be the beginning of the marker.
  size_t Overlap() const {
    for (size_t n = std::min(kOpen.size() - 1, held_.size()); n > 0; --n)
      if (held_.ends_with(kOpen.substr(0, n)))
        return n;
    return 0;
  }
  void Pass(size_t size, Output &out) {
    std::string_view text = std::string_view(held_).substr(0, size);
    if (in_call_) {
      if (!ReadCalls(text, out.calls))
        (out.content += kOpen) += text;
    } else if (size_t word = text.find_first_not_of(" \n"); !after_call_ || word != std::string_view::npos) {
      out.content += text; // white space between calls is no content
    }
    after_call_ = in_call_ || (after_call_ && out.content.empty());
    held_.erase(0, size);
  }

  std::string held_;
  bool in_call_ = false, after_call_ = false;
};

class WholeAnswerParser : public ToolCallParser {
public:
  Output Push(std::string_view text) override {
    held_ += text;
    size_t first = held_.find_first_not_of(" \n");
    if (first != std::string::npos && held_[first] != '{' && held_[first] != '[')
      is_text_ = true;
    return is_text_ ? Output{.content = std::exchange(held_, {}), .calls = {}} : Output();
  }
  Output Finish() override {
    Output out;
    if (is_text_ || held_.empty())
      return {.content = std::exchange(held_, {}), .calls = {}};
    if (ReadCalls(held_, out.calls) || ReadSeparated(out.calls))
      return out;
    return {.content = std::exchange(held_, {}), .calls = {}};
  }

private:
  // {...}; {...}
  bool ReadSeparated(std::vector<ToolCall> &calls) const {
    std::vector<ToolCall> read;
    size_t begin = 0;
    int tries = 0;
    for (size_t at = 0; ++tries < kMaxSeparated && (at = held_.find(';', at)) != std::string::npos; ++at)
      if (ReadCalls(std::string_view(held_).substr(begin, at - begin), read))
        begin = at + 1;
    if (!ReadCalls(std::string_view(held_).substr(begin), read))
      return false;
    calls = std::move(read);
    return true;
  }

  static constexpr int kMaxSeparated = 64;
  std::string held_;
  bool is_text_ = false;
};

} // namespace

std::unique_ptr<ToolCallParser> MakeToolCallParser(std::string_view name) {
  if (name == "hermes")
    return std::make_unique<HermesParser>();
  return std::make_unique<WholeAnswerParser>();
}

namespace {

// Lets references into a schema find their places where it stands at `path` of another one.
void MoveReferences(Json &schema, const std::string &path) {
  if (schema.is_object())
    if (auto found = schema.find("$ref"); found != schema.end() && found->is_string())
      if (const auto &target = found->get_ref<const std::string &>(); target.starts_with('#'))
        *found = path + target.substr(1);
  if (schema.is_structured())
    for (Json &inner : schema)
      MoveReferences(inner, path);
}

} // namespace

std::string ForcedCallSchema(const std::string &tools, std::string_view name, bool several) {
  Json calls = Json::array(), parameters = Json::object();
  for (const Json &tool : Json::parse(tools)) {
    const Json &function = tool["function"];
    if (!name.empty() && function["name"] != name)
      continue;
    std::string key = fmt::to_string(calls.size()), path = "#/$defs/" + key;
    Json schema = function.contains("parameters") && function["parameters"].is_object() ? function["parameters"]
                                                                                        : Json{{"type", "object"}};
    // A call without an object of arguments is none.
    if (!schema.contains("type") && !schema.contains("$ref"))
      schema["type"] = "object";
    MoveReferences(schema, path);
    parameters[key] = std::move(schema);
    calls.push_back({{"type", "object"},
                     {"properties", {{"name", {{"const", function["name"]}}}, {"arguments", {{"$ref", path}}}}},
                     {"required", {"name", "arguments"}},
                     {"additionalProperties", false}});
  }
  Json schema = {{"type", "array"}, {"items", {{"anyOf", std::move(calls)}}}, {"minItems", 1}};
  if (!several)
    schema["maxItems"] = 1;
  schema["$defs"] = std::move(parameters);
  return schema.dump();
}

std::string RandomId(std::string_view prefix) {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return fmt::format("{}{:016x}{:08x}", prefix, random(), static_cast<uint32_t>(random()));
}

} // namespace inlay::serve
