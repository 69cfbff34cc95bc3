//===- NumberTypes.cpp - what compile-model and check-model ask of numbers -===//

#include "compiler/pipelines/NumberTypes.h"

#include "llvm/ADT/StringSwitch.h"

using namespace inlay;

static hf::QuantizerOptions quantizerOf(const NumberTypes &types) {
  hf::QuantizerOptions options;
  options.fp8_head = types.quantizeLmHead;
  if (!types.quantization.empty())
    options.layers = llvm::StringSwitch<hf::Codes>(types.quantization)
                         .Case("int4", hf::Codes::kU4)
                         .Case("int8", hf::Codes::kI8)
                         .Default(hf::Codes::kF8E4M3);
  return options;
}

void inlay::setNumberTypes(const NumberTypes &types, hf::CheckpointOptions &options) {
  if (types.dtype != "auto")
    options.dtype = hf::ParseDType(types.dtype);
  options.quantizer = quantizerOf(types);
  options.kv_cache = llvm::StringSwitch<hf::CacheType>(types.kvCacheDtype)
                         .Case("fp8", hf::CacheType::kFp8)
                         .Case("bfloat16", hf::CacheType::kBFloat16)
                         .Default(hf::CacheType::kAuto);
  options.activations = llvm::StringSwitch<hf::ActivationQuantization>(types.activations)
                            .Case("none", hf::ActivationQuantization::kNone)
                            .Case("dynamic", hf::ActivationQuantization::kDynamic)
                            .Default(hf::ActivationQuantization::kAuto);
}
