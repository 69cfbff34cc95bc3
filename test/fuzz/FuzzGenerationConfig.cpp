// Arbitrary bytes as a generation_config.json: parsing gives a configuration or problems, never a crash.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "frontends/hf/GenerationConfig.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  inlay::hf::Problems problems;
  auto config = inlay::hf::ParseGenerationConfig(text, "generation_config.json", 1000, problems);
  if (config.has_value() == problems.HasErrors())
    __builtin_trap();
  if (config && config->eos)
    for (int64_t id : *config->eos)
      if (id < 0 || id >= 1000)
        __builtin_trap();
  for (const inlay::hf::Problem &problem : problems.items())
    if (problem.ToString().find('\n') != std::string::npos)
      __builtin_trap();
  for (const std::string &note : problems.notes())
    if (note.find('\n') != std::string::npos)
      __builtin_trap();
  return 0;
}
