// The tools that a request offers, parsed once.
#ifndef INLAY_RUNTIME_SERVE_TOOL_SET_H_
#define INLAY_RUNTIME_SERVE_TOOL_SET_H_

#include "runtime/serve/fields.h"

#include <string_view>
#include <utility>

namespace inlay::serve {

class ToolSet {
public:
  ToolSet() : tools_(Json::array()) {}
  // `tools` is a list that ReadTools() accepts.
  explicit ToolSet(Json tools) : tools_(std::move(tools)) {}

  // The function with this name: {"name", "description", "parameters", ...}. Null if it is not offered.
  const Json *Find(std::string_view name) const {
    for (const Json &tool : tools_)
      if (const Json &function = tool["function"]; function["name"].get_ref<const std::string &>() == name)
        return &function;
    return nullptr;
  }
  const Json &list() const { return tools_; }
  bool empty() const { return tools_.empty(); }

private:
  Json tools_;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_TOOL_SET_H_
