//===- NumberTypes.h - what compile-model and check-model ask of numbers ---===//
//
// The types of a bundle's weights, activations and caches, as both tools read them from
// their command lines.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_NUMBERTYPES_H
#define INLAY_COMPILER_PIPELINES_NUMBERTYPES_H

#include "frontends/hf/Checkpoint.h"

#include <string>

namespace inlay {

struct NumberTypes {
  std::string dtype = "auto";        // of weights and activations: auto, bfloat16, float16 or float32
  std::string quantization;          // fp8, int8 or int4: what matrices of floats become; empty: they stay floats
  std::string activations = "auto";  // auto, none or dynamic: how activations are quantized in steps with prompts
  std::string kvCacheDtype = "auto"; // keys and values: auto, bfloat16 or fp8 (e4m3)
  bool quantizeLmHead = false;       // the matrix that makes the logits becomes fp8
};

/// Makes `options` ask for these types.
void setNumberTypes(const NumberTypes &types, hf::CheckpointOptions &options);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_NUMBERTYPES_H
