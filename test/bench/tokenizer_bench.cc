// Throughput of Encode in bytes of text per second, for prose, where most words are cached, and for one long word.
#include "formats/tokenizer/tokenizer.h"

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

namespace inlay::tokenizer {
namespace {

constexpr size_t kTextBytes = 1 << 18;

void Encode(benchmark::State &state, const char *family, const std::string &text) {
  auto tokenizer = Tokenizer::Load(std::string("test/fixtures/tokenizers/") + family);
  if (!tokenizer.ok()) {
    state.SkipWithError(tokenizer.status().ToString().c_str());
    return;
  }
  for (auto _ : state)
    benchmark::DoNotOptimize((*tokenizer)->Encode(text));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

std::string Prose() {
  std::string text;
  while (text.size() < kTextBytes)
    text += "The quick brown fox jumps over the lazy dog, 12345 times; it's what they'd call naïve.\n";
  return text;
}

BENCHMARK_CAPTURE(Encode, llama3_prose, "llama3", Prose());
BENCHMARK_CAPTURE(Encode, qwen2_prose, "qwen2", Prose());
BENCHMARK_CAPTURE(Encode, llama2_prose, "llama2", Prose());
BENCHMARK_CAPTURE(Encode, mistral_prose, "mistral", Prose());
BENCHMARK_CAPTURE(Encode, llama3_long_word, "llama3", std::string(kTextBytes, 'a'));

} // namespace
} // namespace inlay::tokenizer

BENCHMARK_MAIN();
