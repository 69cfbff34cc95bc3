// Arbitrary bytes as a config.json: parsing gives a configuration or problems, never a crash.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "frontends/hf/Config.h"
#include "frontends/hf/Tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  inlay::hf::Problems problems;
  auto config = inlay::hf::ParseConfig(text, "config.json", inlay::hf::ModelOptions(), problems);
  if (config.has_value() == problems.HasErrors())
    __builtin_trap();
  if (config)
    inlay::hf::RequiredTensors(*config);
  for (const inlay::hf::Problem &problem : problems.items())
    if (problem.ToString().find('\n') != std::string::npos)
      __builtin_trap();
  return 0;
}
