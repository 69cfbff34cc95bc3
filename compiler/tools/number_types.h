// The options of compile-model and check-model that say which types numbers have.
#ifndef INLAY_COMPILER_TOOLS_NUMBER_TYPES_H
#define INLAY_COMPILER_TOOLS_NUMBER_TYPES_H

#include "compiler/pipelines/NumberTypes.h"
#include "runtime/tools/command_line.h"

namespace inlay::tools {

// Adds the options to `app`, which sets `types` when it parses a command line.
inline void addNumberTypes(CLI::App &app, NumberTypes &types) {
  app.add_option("--dtype", types.dtype, "Type of weights and activations; auto uses the type in the checkpoint")
      ->check(CLI::IsMember({"auto", "bfloat16", "float16", "float32"}))
      ->default_val("auto");
  app.add_option("--quantization", types.quantization,
                 "Quantize the matrices of the layers of a checkpoint with floats: fp8 or int8 (a scale for each row), "
                 "int4 (a scale for each group of 128, 64 or 32 columns)")
      ->check(CLI::IsMember({"fp8", "int8", "int4"}));
  app.add_option("--activation-quantization", types.activations,
                 "How steps with prompts quantize what is multiplied by quantized weights: auto (on a GPU, as the "
                 "checkpoint says, and for each token with --quantization fp8), none (activations stay floats), "
                 "dynamic (a scale for each token, for all fp8 and int8 weights and on all targets)")
      ->check(CLI::IsMember({"auto", "none", "dynamic"}))
      ->default_val("auto");
  app.add_option(
         "--kv-cache-dtype", types.kvCacheDtype,
         "Type of cached keys and values: fp8 (e4m3, with the checkpoint's k_scale and v_scale, or 1), bfloat16, "
         "or auto: what the checkpoint says, else the type of the model")
      ->check(CLI::IsMember({"auto", "bfloat16", "fp8"}))
      ->default_val("auto");
  app.add_option_function<std::string>(
         "--quantize-lm-head", [&types](const std::string &) { types.quantizeLmHead = true; },
         "Quantize the matrix that makes the logits: fp8")
      ->check(CLI::IsMember({"fp8"}));
}

} // namespace inlay::tools

#endif // INLAY_COMPILER_TOOLS_NUMBER_TYPES_H
