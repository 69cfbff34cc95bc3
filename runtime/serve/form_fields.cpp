#include "runtime/serve/form_fields.h"

#include "fmt/format.h"

namespace inlay::serve {
namespace {

constexpr const char *kAnyObject = R"({"type":"object"})";

// {"type": "json_schema", "json_schema": {"name", "schema"}}, {"type": "json_object"} or {"type": "text"}. As in
// llama.cpp's server, json_object may have a `schema`, which is enforced too.
void ReadResponseFormat(Fields &fields, GuidedParams &guided) {
  const Json *format = fields.Find("response_format");
  if (!format)
    return;
  if (!format->is_object())
    return fields.Fail("response_format",
                       fmt::format("'response_format' is {}, expected an object", Describe(*format)));
  Fields inner(*format, "response_format", fields.ignored());
  std::string type;
  inner.String("type", type, kName);
  const Json *json_schema = inner.Find("json_schema"), *schema = inner.Find("schema");
  if (std::optional<ApiError> wrong = inner.Finish())
    return fields.Fail(*std::move(wrong));
  if (schema && (type != "json_object" || !schema->is_object()))
    return fields.Fail(
        "response_format",
        fmt::format("'response_format.schema' is {} with type '{}', expected a JSON Schema with type json_object",
                    Describe(*schema), type.substr(0, 60)));
  if (type == "json_object") {
    guided.json_schema = schema ? schema->dump() : kAnyObject;
  } else if (type == "json_schema") {
    if (!json_schema || !json_schema->is_object() || !json_schema->contains("schema") ||
        !(*json_schema)["schema"].is_object())
      return fields.Fail("response_format",
                         "'response_format.json_schema' must be an object with 'name' and 'schema', a JSON Schema");
    guided.json_schema = (*json_schema)["schema"].dump();
  } else if (type != "text") {
    fields.Fail(
        "response_format",
        fmt::format("'response_format.type' is '{}', expected text, json_object or json_schema", type.substr(0, 60)));
  }
}

// Reads the constraints whose names begin with `prefix`. Returns how many were given.
int ReadNamedForms(Fields &fields, const std::string &prefix, const Limits &limits, GuidedParams &guided) {
  const std::string json = prefix + "json", regex = prefix + "regex", grammar = prefix + "grammar",
                    choices = prefix + "choice", any_object = prefix + "json_object";
  const Json *schema = fields.Find(json), *choice = fields.Find(choices);
  if (schema && !schema->is_object() && !schema->is_string())
    fields.Fail(json, fmt::format("'{}' is {}, expected a JSON Schema", fields.PathTo(json), Describe(*schema)));
  else if (schema)
    guided.json_schema = schema->is_string() ? schema->get<std::string>() : schema->dump();
  fields.String(regex, guided.regex, kAnyText);
  fields.String(grammar, guided.grammar, kAnyText);
  if (choice && (!choice->is_array() || choice->empty() || choice->size() > static_cast<size_t>(limits.choices)))
    fields.Fail(choices, fmt::format("'{}' is {}, expected a list of 1 to {} strings", fields.PathTo(choices),
                                     Describe(*choice), limits.choices));
  for (const Json &one : choice && choice->is_array() ? *choice : Json::array()) {
    if (!one.is_string())
      fields.Fail(choices, fmt::format("'{}' contains {}, expected strings", fields.PathTo(choices), Describe(one)));
    else
      guided.choice.push_back(one.get<std::string>());
  }
  // An empty source would count as no constraint.
  for (const std::string &name : {json, regex, grammar})
    if (const Json *source = fields.Find(name);
        source && source->is_string() && source->get_ref<const std::string &>().empty())
      fields.Fail(name, fmt::format("'{}' is empty; give a value or remove it", fields.PathTo(name)));
  bool wants_object = false;
  fields.Bool(any_object, wants_object);
  int given = wants_object;
  for (const std::string &name : {json, regex, grammar, choices})
    given += fields.Find(name) != nullptr;
  if (wants_object && given == 1)
    guided.json_schema = kAnyObject;
  return given;
}

// vLLM's structured_outputs: exactly one of {"json": ..., "regex": ..., "choice": [...], "grammar": ..., "json_object":
// true}.
void ReadStructuredOutputs(Fields &fields, const Limits &limits, GuidedParams &guided) {
  const Json *outputs = fields.Find("structured_outputs");
  if (!outputs)
    return;
  if (!outputs->is_object() || !guided.empty())
    return fields.Fail("structured_outputs",
                       guided.empty()
                           ? "'structured_outputs' must be an object"
                           : "'structured_outputs' and 'response_format' are both given; remove one of them");
  Fields inner(*outputs, "structured_outputs", fields.ignored());
  int given = ReadNamedForms(inner, "", limits, guided);
  inner.OnlyDefault("disable_any_whitespace", false, "the whitespace of JSON output is fixed");
  inner.OnlyDefault("disable_additional_properties", false, "set additionalProperties in the schema instead");
  inner.OnlyDefault("whitespace_pattern", Json(), "white space cannot be chosen");
  inner.OnlyDefault("structural_tag", Json(), "structural tags are not supported");
  if (std::optional<ApiError> wrong = inner.Finish())
    return fields.Fail(*std::move(wrong));
  if (given != 1)
    fields.Fail("structured_outputs", fmt::format("'structured_outputs' has {} constraints, expected exactly one of "
                                                  "json, regex, choice, grammar, json_object",
                                                  given));
}

// vLLM's older names for the same constraints: guided_json, guided_regex, ...
void ReadGuided(Fields &fields, const Limits &limits, GuidedParams &guided) {
  bool has_form = !guided.empty();
  int given = ReadNamedForms(fields, "guided_", limits, guided);
  if (given + int{has_form} > 1)
    fields.Fail("guided_json",
                "more than one constraint on the answer is given, expected one of response_format, structured_outputs, "
                "guided_json, guided_regex, guided_grammar, guided_choice and guided_json_object");
  fields.Ignore("guided_decoding_backend");
  fields.OnlyDefault("guided_whitespace_pattern", Json(), "white space cannot be chosen");
}

} // namespace

void ReadForms(Fields &fields, const Limits &limits, GuidedParams &guided) {
  ReadResponseFormat(fields, guided);
  ReadStructuredOutputs(fields, limits, guided);
  ReadGuided(fields, limits, guided);
}

} // namespace inlay::serve
