// Compiles JSON schemas and generates random texts from their grammars, for tests that compare with a validator. Each
// line of the input is {"schema": TEXT, "walks": N, "seed": N, "instances": [TEXT...]}. Each line of the output is
// {"error": TEXT} or {"ms": N, "texts": [TEXT...], "stuck": [REASON...], "accepts": [BOOL...]}. `texts` are chosen
// byte by byte among the bytes that the mask allows; `accepts` says which instances the grammar accepts.
#include "runtime/guided/guided.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <iostream>
#include <random>

using namespace inlay::guided;
using Json = nlohmann::ordered_json;

namespace {

constexpr int kFreeBytes = 300, kMaxBytes = 20'000;

std::shared_ptr<const Vocabulary> Bytes() {
  std::vector<std::string> tokens{""}; // 0 ends the text
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back(std::string(1, static_cast<char>(byte)));
  return *Vocabulary::Create(std::move(tokens), {0}, 257);
}

// A text of random bytes. After kFreeBytes bytes it ends as soon as possible: the end and closing characters are
// preferred.
absl::StatusOr<std::string> Walk(const Grammar::Pointer &grammar, std::mt19937 &random) {
  absl::StatusOr<Matcher> matcher = Matcher::Create(grammar);
  if (!matcher.ok())
    return matcher.status();
  std::vector<uint32_t> mask(grammar->vocabulary().mask_words());
  std::string text;
  while (text.size() < kMaxBytes) {
    if (absl::Status status = matcher->FillMask(mask); !status.ok())
      return absl::Status(status.code(), text + ": " + std::string(status.message()));
    std::vector<int32_t> allowed, closing, ascii;
    for (int32_t id = 0; id < 257; ++id)
      if (mask[id / 32] >> (id % 32) & 1) {
        allowed.push_back(id);
        char byte = id == 0 ? '\0' : static_cast<char>(id - 1);
        if (id == 0 || std::string_view("}]\"").find(byte) != std::string_view::npos)
          closing.push_back(id);
        if (byte >= 0x21 && byte < 0x7F)
          ascii.push_back(id);
      }
    const std::vector<int32_t> &from = !closing.empty() && (text.size() > kFreeBytes || random() % 8 == 0) ? closing
                                       : !ascii.empty() && random() % 8 != 0                               ? ascii
                                                                                                           : allowed;
    int32_t token = from[random() % from.size()];
    absl::StatusOr<bool> accepted = matcher->Accept(token);
    if (!accepted.ok() || !*accepted)
      return absl::InternalError(text + ": the matcher refused a token that the mask allows");
    if (token == 0)
      return text;
    text += static_cast<char>(token - 1);
  }
  return absl::OutOfRangeError("no end");
}

} // namespace

int main() {
  std::shared_ptr<const Vocabulary> vocabulary = Bytes();
  std::string line;
  while (std::getline(std::cin, line)) {
    Json request = Json::parse(line);
    auto begin = std::chrono::steady_clock::now();
    auto grammar = Grammar::FromJsonSchema(request["schema"].get<std::string>(), vocabulary, {});
    Json answer = Json::object();
    answer["ms"] = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    if (!grammar.ok()) {
      answer["error"] = std::string(grammar.status().message());
    } else {
      std::mt19937 random(request.value("seed", 1));
      answer["texts"] = Json::array();
      answer["stuck"] = Json::array();
      for (int walk = 0; walk < request.value("walks", 0); ++walk) {
        absl::StatusOr<std::string> text = Walk(*grammar, random);
        if (text.ok())
          answer["texts"].push_back(*text);
        else if (!absl::IsOutOfRange(text.status()))
          answer["stuck"].push_back(std::string(text.status().message()));
      }
      for (const Json &instance : request.value("instances", Json::array())) {
        Matcher matcher = *Matcher::Create(*grammar);
        absl::StatusOr<bool> accepted = matcher.AcceptBytes(instance.get<std::string>());
        answer["accepts"].push_back(accepted.ok() && *accepted && matcher.CanEnd());
      }
    }
    std::cout << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  }
}
