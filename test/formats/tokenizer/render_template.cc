// render_template: reads a JSON list of {"template": text, "context": object} from stdin and writes a JSON list of
// {"text": ...} or {"error": message}, for comparisons with jinja2. Not installed.
#include "formats/tokenizer/chat_template.h"

#include <nlohmann/json.hpp>

#include <iostream>
#include <iterator>
#include <string>

int main() {
  std::string input{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  auto requests = nlohmann::ordered_json::parse(input, nullptr, /*allow_exceptions=*/false);
  if (!requests.is_array()) {
    std::cerr << "render_template: stdin: expected a JSON list of objects with template and context\n";
    return 2;
  }
  auto answers = nlohmann::json::array();
  for (const auto &request : requests) {
    auto parsed = inlay::tokenizer::ChatTemplate::FromSource(request["template"].get<std::string>());
    inlay::tokenizer::ChatOptions options;
    options.variables_json = request["context"].dump();
    absl::StatusOr<std::string> text =
        parsed.ok() ? (*parsed)->RenderJson("[]", options) : absl::StatusOr<std::string>(parsed.status());
    if (text.ok())
      answers.push_back({{"text", *text}});
    else
      answers.push_back(
          {{"error", std::string(text.status().message())}, {"code", absl::StatusCodeToString(text.status().code())}});
  }
  std::cout << answers.dump() << "\n";
  return 0;
}
