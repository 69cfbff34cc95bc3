// Arbitrary bytes as a hf_quant_config.json: parsing gives schemes or problems, never a crash.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "frontends/hf/ConfigReader.h"
#include "frontends/hf/Quantization.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  inlay::hf::Problems problems;
  if (auto object = inlay::hf::ParseJson(text, "hf_quant_config.json", problems)) {
    inlay::hf::ConfigReader keys(*object, "hf_quant_config.json", "", problems);
    auto quantization = inlay::hf::Quantization::ReadModelOptFile(keys, problems, "hf_quant_config.json");
    quantization.SchemeOf("model.layers.0.mlp.down_proj", /*is_head=*/false);
  }
  for (const inlay::hf::Problem &problem : problems.items())
    if (problem.ToString().find('\n') != std::string::npos)
      __builtin_trap();
  return 0;
}
