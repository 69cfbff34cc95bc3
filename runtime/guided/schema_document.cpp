#include "runtime/guided/schema_document.h"

#include "formats/json/json_shape.h"

#include <fmt/format.h>

#include <algorithm>

namespace inlay::guided {
namespace {

// The value at a JSON pointer relative to `at`, or null.
const Json *Walk(const Json *at, std::string_view pointer) {
  if (pointer.empty())
    return at;
  if (pointer[0] != '/')
    return nullptr;
  auto hex = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
  };
  for (size_t begin = 1; begin <= pointer.size();) {
    size_t end = std::min(pointer.find('/', begin), pointer.size());
    std::string key;
    for (size_t i = begin; i < end; ++i) {
      bool is_escape = pointer[i] == '~' && i + 1 < end && (pointer[i + 1] == '0' || pointer[i + 1] == '1');
      bool is_percent = pointer[i] == '%' && i + 2 < end && hex(pointer[i + 1]) >= 0 && hex(pointer[i + 2]) >= 0;
      if (is_escape) {
        key += pointer[++i] == '0' ? '~' : '/';
      } else if (is_percent) {
        key += static_cast<char>(hex(pointer[i + 1]) * 16 + hex(pointer[i + 2]));
        i += 2;
      } else {
        key += pointer[i];
      }
    }
    if (at->is_object() && at->contains(key))
      at = &(*at)[key];
    else if (at->is_array() && !key.empty() && key.size() < 7 &&
             std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
             std::stoul(key) < at->size())
      at = &(*at)[std::stoul(key)];
    else
      return nullptr;
    begin = end + 1;
  }
  return at;
}

// Resolves `reference` against the URI `base`. Supports the forms that schemas use: absolute URIs, absolute paths and
// paths relative to the base.
std::string Absolute(const std::string &base, const std::string &reference) {
  if (reference.find("://") != std::string::npos || reference.rfind("urn:", 0) == 0 || base.empty())
    return reference;
  size_t host = base.find("://");
  if (reference.rfind('/', 0) == 0)
    return host == std::string::npos ? reference : base.substr(0, base.find('/', host + 3)) + reference;
  size_t slash = base.rfind('/');
  bool has_path = slash != std::string::npos && (host == std::string::npos || slash > host + 2);
  return has_path ? base.substr(0, slash + 1) + reference : reference;
}

} // namespace

std::string EscapedPointer(std::string_view key) {
  std::string out;
  for (char c : key)
    out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

std::string Shortened(const Json &value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= 60)
    return text;
  size_t end = 60;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80)
    --end;
  return text.substr(0, end) + "...";
}

bool AreEqual(const Json &a, const Json &b) {
  if (a.is_number() && b.is_number())
    return a == b;
  if (a.type() != b.type() || a.size() != b.size())
    return false;
  if (a.is_array())
    return std::equal(a.begin(), a.end(), b.begin(), AreEqual);
  if (a.is_object()) {
    for (auto item = a.begin(); item != a.end(); ++item)
      if (auto other = b.find(item.key()); other == b.end() || !AreEqual(item.value(), *other))
        return false;
    return true;
  }
  return a == b;
}

absl::StatusOr<std::unique_ptr<SchemaDocument>> SchemaDocument::Parse(std::string_view text, const Limits &limits) {
  // One level of schemas usually takes two or three levels of JSON.
  if (ShapeOfJson(text).depth > limits.max_source_depth * 3)
    return absl::InvalidArgumentError(
        fmt::format("found values nested more than {} deep, expected less (max_source_depth); fix: move some to $defs",
                    limits.max_source_depth * 3));
  std::unique_ptr<SchemaDocument> document(new SchemaDocument());
  document->root_ = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document->root_.is_discarded())
    return absl::InvalidArgumentError("found text that is not JSON, expected a JSON Schema; fix: check its quotes and "
                                      "commas");
  const Json &root = document->root_;
  if (root.is_object() && root.contains("$schema") && root["$schema"].is_string()) {
    std::string dialect = root["$schema"].get<std::string>();
    document->has_nullable_ = dialect.find("json-schema.org") == std::string::npos;
    document->is_draft3_ = dialect.find("draft-03") != std::string::npos;
  }
  document->Index(root, root, "");
  return document;
}

// NOLINTNEXTLINE(misc-no-recursion): Parse() limits the depth
void SchemaDocument::Index(const Json &schema, const Json &resource, const std::string &base) {
  if (schema.is_array()) {
    for (const Json &item : schema)
      Index(item, resource, base);
    return;
  }
  if (!schema.is_object())
    return;
  const Json *here = &resource;
  std::string at = base;
  for (const char *key : {"$id", "id"}) {
    auto id = schema.find(key);
    if (id == schema.end() || !id->is_string())
      continue;
    std::string name = id->get<std::string>();
    if (name.rfind('#', 0) == 0) { // draft 7's form of an anchor
      ids_.try_emplace(at + name, &schema);
      continue;
    }
    // `id` may also be the name of a property. It is an identifier only if it is next to keywords of a schema.
    bool is_schema = key[0] == '$' || schema.contains("$schema") || schema.contains("type");
    if (!is_schema)
      continue;
    at = Absolute(base, name.substr(0, name.find('#')));
    here = &schema;
    ids_.try_emplace(at, &schema);
    break;
  }
  bases_.try_emplace(here, at);
  for (const char *key : {"$anchor", "$dynamicAnchor"})
    if (auto anchor = schema.find(key); anchor != schema.end() && anchor->is_string())
      ids_.try_emplace(at + "#" + anchor->get<std::string>(), &schema);
  if (schema.contains("$ref") || schema.contains("$recursiveRef") || schema.contains("$dynamicRef"))
    resources_[&schema] = here;
  for (const auto &[key, value] : schema.items())
    if (key != "enum" && key != "const" && key != "default" && key != "examples" && key != "example")
      Index(value, *here, at);
}

const Json *SchemaDocument::Resolve(const Json &schema, const std::string &reference) const {
  auto known = resources_.find(&schema);
  const Json *resource = known == resources_.end() ? &root_ : known->second;
  auto base_of = bases_.find(resource);
  std::string base = base_of == bases_.end() ? "" : base_of->second;
  size_t hash = std::min(reference.find('#'), reference.size());
  std::string document = reference.substr(0, hash);
  std::string fragment = hash < reference.size() ? reference.substr(hash + 1) : "";
  if (!document.empty()) {
    auto found = ids_.find(Absolute(base, document));
    if (found == ids_.end())
      return nullptr;
    resource = found->second;
    base = found->first;
  }
  if (fragment.empty() || fragment[0] == '/')
    return Walk(resource, fragment);
  auto anchor = ids_.find(base + "#" + fragment);
  return anchor == ids_.end() ? nullptr : anchor->second;
}

std::string SchemaDocument::PointerTo(const Json &value) const {
  std::string pointer;
  auto search = [&](auto &self, const Json &at) -> bool {
    if (&at == &value)
      return true;
    size_t size = pointer.size();
    size_t index = 0;
    if (at.is_structured())
      for (auto item = at.begin(); item != at.end(); ++item, ++index) {
        pointer += "/" + (at.is_object() ? EscapedPointer(item.key()) : std::to_string(index));
        if (self(self, *item))
          return true;
        pointer.resize(size);
      }
    return false;
  };
  search(search, root_);
  return pointer;
}

absl::Status SchemaDocument::Error(const Json &value, std::string_view key, std::string_view message) const {
  std::string pointer = PointerTo(value);
  if (!key.empty())
    pointer += "/" + EscapedPointer(key);
  return absl::InvalidArgumentError(fmt::format("{}: {}", pointer.empty() ? "#" : pointer, message));
}

const Json *SchemaDocument::Find(const Json &object, const std::string &name) const {
  auto [it, inserted] = members_.try_emplace(&object);
  if (inserted)
    for (const auto &[key, value] : object.items())
      it->second.try_emplace(key, &value);
  auto found = it->second.find(name);
  return found == it->second.end() ? nullptr : found->second;
}

} // namespace inlay::guided
