#include "runtime/serve/tool_calls.h"

#include "fmt/format.h"

#include <algorithm>
#include <iterator>
#include <random>

namespace inlay::serve {
namespace {

constexpr ToolCallFormat kToolCallFormats[] = {
    {"hermes", R"(<tool_call>{"name": ..., "arguments": {...}}</tool_call>: Hermes, Qwen2.5, Qwen3)", MakeHermesParser},
    {"mistral", "[TOOL_CALLS]name[ARGS]{...} or [TOOL_CALLS][{...}]: Mistral", MakeMistralParser,
     /*has_short_ids=*/true},
    {"llama3_json", R"({"name": ..., "parameters": {...}}: Llama 3.1, 3.2, 3.3)", MakeLlama3JsonParser},
    {"pythonic", R"([f(a=1), g(b="x")]: Llama 3.2, Llama 4)", MakePythonicParser},
    {"qwen3_coder", "<tool_call><function=name><parameter=key>...: Qwen3-Coder", MakeQwen3CoderParser},
};

std::mt19937_64 &Random() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return random;
}

} // namespace

const ToolCallFormat *FindToolCallFormat(std::string_view name) {
  const auto *found = std::ranges::find(kToolCallFormats, name, &ToolCallFormat::name);
  return found == std::end(kToolCallFormats) ? nullptr : found;
}

std::span<const ToolCallFormat> ToolCallFormats() { return kToolCallFormats; }

std::vector<std::string> ToolCallFormatNames() {
  std::vector<std::string> names;
  for (const ToolCallFormat &format : kToolCallFormats)
    names.emplace_back(format.name);
  return names;
}

namespace {

// Rewrites the "$ref"s within a schema that is embedded at `path` of another schema.
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

std::string ForcedCallSchema(const ToolSet &tools, std::string_view name, bool several) {
  Json calls = Json::array(), parameters = Json::object();
  for (const Json &tool : tools.list()) {
    const Json &function = tool["function"];
    if (!name.empty() && function["name"] != name)
      continue;
    std::string key = fmt::to_string(calls.size()), path = "#/$defs/" + key;
    Json schema = function.contains("parameters") && function["parameters"].is_object() ? function["parameters"]
                                                                                        : Json{{"type", "object"}};
    // The arguments of a call must be an object.
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
  return fmt::format("{}{:016x}{:08x}", prefix, Random()(), static_cast<uint32_t>(Random()()));
}

std::string RandomCallId(const ToolCallFormat &format) {
  if (!format.has_short_ids)
    return RandomId("call_");
  constexpr std::string_view kLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string id;
  std::uniform_int_distribution<size_t> any(0, kLetters.size() - 1);
  while (id.size() < 9)
    id += kLetters[any(Random())];
  return id;
}

} // namespace inlay::serve
