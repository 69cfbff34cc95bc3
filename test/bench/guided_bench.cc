// Time to fill a token mask for a vocabulary of 128,256 tokens, with cold and with warm caches, and time to compile a
// schema. The vocabulary is generated, with lengths and characters similar to those of byte-level vocabularies.
#include "runtime/guided/guided.h"

#include <benchmark/benchmark.h>

#include <map>
#include <random>
#include <set>

namespace inlay::guided {
namespace {

const char *const kSchema = R"({"type":"object","properties":{
  "name":{"type":"string"},"age":{"type":"integer","minimum":0,"maximum":150},
  "tags":{"type":"array","items":{"type":"string","maxLength":200}},
  "address":{"type":"object","properties":{"street":{"type":"string"},"zip":{"type":"string","pattern":"^[0-9]{5}$"}},
             "required":["street","zip"]}},"required":["name","age","tags","address"]})";

const std::shared_ptr<const Vocabulary> &MakeVocabulary() {
  static const std::shared_ptr<const Vocabulary> vocabulary = [] {
    std::mt19937 random(1);
    std::set<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte)
      tokens.insert(std::string(1, static_cast<char>(byte)));
    const std::string letters = "eeeeetttaaooiinnsshhrrddllcumwfgypbvk",
                      marks = "\"{}[]():,.;!?-_/\\<>=+*&%$#@'0123456789\n";
    auto pick = [&](const std::string &from) { return from[random() % from.size()]; };
    while (tokens.size() < 128'000) {
      std::string token = random() % 2 ? " " : "";
      size_t length = 1 + random() % 10;
      bool is_mark = random() % 12 == 0;
      for (size_t i = 0; i < length; ++i) {
        if (!is_mark && random() % 40 == 0) {
          token += '\xC3';
          token += static_cast<char>(0x80 + random() % 64);
        } else {
          token += pick(is_mark ? marks : letters);
        }
      }
      tokens.insert(token);
    }
    std::vector<std::string> list(tokens.begin(), tokens.end());
    std::shuffle(list.begin(), list.end(), random);
    list.push_back("");
    int32_t end = static_cast<int32_t>(list.size() - 1);
    return *Vocabulary::Create(std::move(list), {end}, 128'256);
  }();
  return vocabulary;
}

// The generated text. It is accepted byte by byte, and the mask is filled before each byte.
const std::string kText = R"({"name": "Ada Lovelace", "age": 36, "tags": ["mathematics", "first programmer"], )"
                          R"("address": {"street": "12 St James's Square", "zip": "12345"}})";

void Masks(benchmark::State &state, bool is_warm) {
  const auto &vocabulary = MakeVocabulary();
  auto grammar = *Grammar::FromJsonSchema(kSchema, vocabulary, {});
  std::vector<uint32_t> mask(vocabulary->mask_words());
  auto generate = [&] {
    Matcher matcher = *Matcher::Create(grammar);
    for (char byte : kText) {
      if (!matcher.FillMask(mask).ok() || !*matcher.AcceptBytes(std::string_view(&byte, 1)))
        state.SkipWithError("the text does not follow the schema");
    }
  };
  if (is_warm)
    generate();
  for (auto _ : state) {
    if (!is_warm) {
      state.PauseTiming();
      grammar = *Grammar::FromJsonSchema(kSchema, vocabulary, {});
      state.ResumeTiming();
    }
    generate();
  }
  state.counters["s_per_mask"] = benchmark::Counter(static_cast<double>(kText.size() * state.iterations()),
                                                    benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK_CAPTURE(Masks, warm, true)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Masks, cold, false)->Unit(benchmark::kMicrosecond);

void CompileSchema(benchmark::State &state) {
  const auto &vocabulary = MakeVocabulary();
  for (auto _ : state)
    benchmark::DoNotOptimize(Grammar::FromJsonSchema(kSchema, vocabulary, {}));
}
BENCHMARK(CompileSchema)->Unit(benchmark::kMicrosecond);

} // namespace
} // namespace inlay::guided

BENCHMARK_MAIN();
